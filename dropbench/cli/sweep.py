"""``dropbench sweep``: a run for every p and every seed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from dropbench.cli.console import out, tell
from dropbench.cli.options import (
    DROPOUT,
    OF_MACHINE,
    OF_POLICY,
    OF_RUNS,
    OUTPUT,
    AsJson,
    Data,
    DataDir,
    Keywords,
    Out,
    Panel,
    Seeds,
    option,
    path_option,
    takes,
)  # fmt: skip

if TYPE_CHECKING:
    from dropbench.experiments.agenda import Agenda


@takes("sweep", OF_RUNS, OF_MACHINE, OF_POLICY, lists=True, p_drop="0.1..0.8")
def sweep(
    data: Data = "mnist5k",
    data_dir: DataDir = None,
    baseline: Annotated[
        bool,
        option(
            "--baseline/--no-baseline",
            "Also train without dropout, as the reference of all differences.",
            DROPOUT,
        ),
    ] = True,
    seeds: Seeds = 3,
    panel: Panel = False,
    save_best: Annotated[
        Path | None,
        path_option(
            "--save-best",
            "Write the net of the setting that is best on validation, of its first seed, into "
            "FILE.safetensors, for dropbench predict.",
            OUTPUT,
            metavar="FILE",
        ),
    ] = None,
    dry_run: Annotated[bool, option("--dry-run", "List what would run and what is done.", OUTPUT)] = False,
    folder: Out = Path("results"),
    as_json: AsJson = False,
    *,
    given: Keywords,
) -> None:
    """Measure how the error depends on p, the probability of dropping a unit.

    Options whose value ends in ,… take lists, and every combination is run. Write P as 0.5, 0.2,0.5, 0.1..0.8
    (steps of 0.1, both ends included) or 0.1..0.8:0.05. Separate the nets of --layers by slashes.

    Several values of --learning-rate, --weight-decay, --max-norm, --l1 or --kl-sparsity are trials: every
    setting has all of them and is shown at its own best on validation.

    Finished runs are skipped: repeat a command to continue it.

    Examples:

        dropbench sweep --p 0.1..0.8

        dropbench sweep --dropout bernoulli,gaussian --p 0.2,0.5

        dropbench sweep --p 0,0.5,0.8 --learning-rate 0.005,0.02,0.08

        dropbench sweep --model mlp --layers 800,800/1024,1024,1024 --p 0.5 --train-size 100,1000,all
    """
    import dropbench as db
    from dropbench.cli.finish import conclude, working

    told = {
        **given,
        "seeds": seeds,
        "baseline": baseline,
        "panel": panel,
        "out": folder,
        "data_dir": data_dir,
    }
    if dry_run:
        from dropbench.api.sweep import sweep_agenda

        _list(sweep_agenda(data, **told))
        return
    with working(folder) as watcher:
        done = db.sweep(data, watcher=watcher, save_best=save_best, **told)
    conclude(done, as_json, f"runs: {folder / 'runs.csv'}")


def _list(agenda: "Agenda") -> None:
    from dropbench.run import telling

    names = telling.telling([*agenda.done, *agenda.left, *agenda.todo])
    for state, runs in (("done", agenda.done), ("failed", agenda.left), ("to do", agenda.todo)):
        for run in runs:
            out.print(f"{state:6}  {run.run_id}  {telling.label(run, names)}", markup=False, soft_wrap=True)
    todo = telling.counted(len(agenda.todo), "run")
    tell(f"{todo} to do, {len(agenda.done):,} done, {len(agenda.left):,} failed before")
