"""``dropbench compare-bagging``: one net, dropout, bagging and an ensemble side by side."""

from typing import Annotated

import typer

from dropbench.cli.console import present, tell
from dropbench.cli.flags import DROPOUT, P_HELP, TRAINING, AsJson
from dropbench.cli.pool_flags import SweepFlags
from dropbench.cli.signature import with_flags
from dropbench.grammar import parse_probability


@with_flags
def compare_bagging(
    p: Annotated[
        str, typer.Option("--p", help=f"{P_HELP} Of the dropout arms.", rich_help_panel=DROPOUT)
    ] = "0.5",
    mc_samples: Annotated[
        int,
        typer.Option(
            "--mc-samples",
            help="Thinned nets that Monte-Carlo averaging takes the mean of.",
            rich_help_panel=DROPOUT,
            min=1,
        ),
    ] = 50,
    members: Annotated[
        int,
        typer.Option(
            "--members",
            help="Nets in the bagging and in the ensemble arm.",
            rich_help_panel=TRAINING,
            min=1,
        ),
    ] = 5,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds",
            help="How often the whole comparison is repeated, from seed 0 on, for the intervals.",
            rich_help_panel=TRAINING,
            min=1,
        ),
    ] = 3,
    as_json: AsJson = False,
    *,
    flags: SweepFlags,
) -> None:
    """Compare dropout with bagging: error, likelihood, calibration, and what each costs.

    Five arms: a single net without dropout; dropout read by weight scaling; the same net read by
    Monte-Carlo averaging; bagging (each member on its own bootstrap); an ensemble on all the data.

    Examples:

        dropbench compare-bagging --members 5

        dropbench compare-bagging --model mlp --p 0.5 --p-input 0.2 --members 3 --seeds 1
    """
    from dropbench.cli.finish import exit_for, resumable
    from dropbench.cli.progress import watching
    from dropbench.experiments.bagging.compare import compare
    from dropbench.experiments.bagging.plan import Plan, runs_of
    from dropbench.report.build import comparisons_of, panels_of, sweeps_of
    from dropbench.report.panel import panel_tables
    from dropbench.results.store import Store

    dropout = flags.single_config(p_drop=parse_probability(p), mc_samples=mc_samples)
    Plan(dropout, members, seeds)  # what is wrong with it is said before any data are fetched
    bench = flags.set_up()
    (dropout,) = bench.bind([dropout])
    arms = Plan(dropout, members, seeds).all_arms()
    store = Store(flags.out, tell)
    with watching() as watcher, resumable(flags.out, watcher):
        outcome = compare(arms, bench, store, watcher, flags.policy())
    run_ids = {run.run_id for run in runs_of(arms)}
    panels = panels_of(flags.out, sweeps_of(flags.out, run_ids, tell), tell) if flags.panel else []
    tables = comparisons_of(
        flags.out, {arm.comparison_id("arithmetic", len(arm.runs), 1) for arm in arms}, tell
    )
    tables += [table for panel in panels for table in panel_tables(panel)]
    present(tables, as_json)
    tell(f"arms: {flags.out / 'comparisons.csv'}; their runs: {flags.out / 'runs.csv'}")
    exit_for(outcome)
