"""``dropbench sweep``: a run for every p and every seed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from dropbench.cli.common_flags import DROPOUT, OUTPUT, TRAINING, AsJson, option
from dropbench.cli.console import out, present, tell
from dropbench.cli.pool_flags import SweepFlags
from dropbench.cli.signature import with_flags
from dropbench.run import grammar

if TYPE_CHECKING:
    from dropbench.experiments.workbench import Workbench
    from dropbench.run.config import RunConfig


@with_flags
def sweep(
    p: Annotated[
        str,
        option(
            "--p",
            help="Probabilities of dropping a hidden unit: A..B (both included, step 0.1), A..B:STEP, lists.",
            panel=DROPOUT,
        ),
    ] = "0.1..0.8",
    convention: Annotated[
        str, option("--convention", help="inverted or weight-scaling.", panel=DROPOUT)
    ] = "inverted",
    baseline: Annotated[
        bool,
        option(
            "--baseline/--no-baseline",
            help="Add the net without any dropout, the reference of the differences.",
            panel=DROPOUT,
        ),
    ] = True,
    seeds: Annotated[
        int,
        option(
            "--seeds",
            help="How many seeds, from 0 on; every setting runs on the same, to be compared in pairs.",
            panel=TRAINING,
            min=1,
        ),
    ] = 3,
    dry_run: Annotated[
        bool,
        option("--dry-run", help="List what would run and what is done.", panel=OUTPUT),
    ] = False,
    as_json: AsJson = False,
    *,
    flags: SweepFlags,
) -> None:
    """Measure how the error depends on p, the probability of dropping a unit.

    --p-input, --p-conv and --train-size take lists like --p; --layers takes nets divided by a slash.
    Runs that are done already are skipped, so the same command goes on where it was stopped.

    Examples:

        dropbench sweep --p 0.1..0.8

        dropbench sweep --dropout bernoulli,gaussian --p 0.2,0.5

        dropbench sweep --model mlp --layers 800,800/1024,1024,1024 --p 0.5 --train-size 100,1000,all
    """
    from dropbench.experiments.sweep import Grid, expand

    grid = Grid(
        p_drop=grammar.parse_probabilities(p),
        p_drop_conv=grammar.parse_probabilities(flags.p_conv, "--p-conv"),
        layers=() if flags.layers is None else grammar.parse_layer_lists(flags.layers),
        seeds=seeds,
        baseline=baseline,
        **flags.swept_fields(),
    )
    unbound = expand(flags.base_config(convention=convention), grid)
    flags.tell_if_in_vain(unbound)

    from dropbench.cli.finish import exit_for, resumable
    from dropbench.cli.progress import watching
    from dropbench.experiments.workbench import carry_out
    from dropbench.report.folder import sweep_report
    from dropbench.report.pictures import save_pictures
    from dropbench.results.store import Store

    bench = flags.set_up()
    configs = bench.bind(unbound)
    if dry_run:
        _list_runs(configs, bench, flags)
        return
    store = Store(flags.out)
    with watching() as watcher, resumable(flags.out, watcher):
        outcome = carry_out(configs, bench, store, watcher, flags.policy())
    report = sweep_report(flags.out, {config.run_id for config in configs}, flags.panel)
    present(report.tables, as_json)
    pictures = save_pictures(report, flags.out)
    tell(f"runs: {flags.out / 'runs.csv'}" + "".join(f"; picture: {picture}" for picture in pictures))
    exit_for(outcome)


def _list_runs(configs: "Sequence[RunConfig]", bench: "Workbench", flags: SweepFlags) -> None:
    from dropbench.cli.progress import label
    from dropbench.experiments.workbench import make_agenda
    from dropbench.results.csv_file import read_rows
    from dropbench.results.read import latest
    from dropbench.results.schema import RUNS

    ended = {row["run_id"]: row["status"] for row in latest(read_rows(flags.out, RUNS), RUNS)}
    plan = make_agenda(configs, ended, flags.policy(), bench.keeps(flags.out))
    for state, runs in (("done", plan.done), ("failed", plan.left), ("to do", plan.todo)):
        for config in runs:
            out.print(f"{state:6}  {config.run_id}  {label(config)}", markup=False, soft_wrap=True)
    tell(f"{len(plan.todo)} runs to do, {len(plan.done)} done, {len(plan.left)} failed before")
