"""``dropbench compare-bagging``: dropout and bagging at equal cost, side by side."""

from dataclasses import replace
from typing import Annotated

from dropbench.catalog.arms import ARMS, BUDGETS, DEFAULT_ARMS, check_arms, reference_under
from dropbench.cli.common_flags import DATA, DROPOUT, TRAINING, AsJson, option
from dropbench.cli.console import present, tell
from dropbench.cli.flags import P_HELP
from dropbench.cli.pool_flags import SweepFlags
from dropbench.cli.signature import with_flags
from dropbench.errors import UsageError
from dropbench.run.grammar import parse_names, parse_probability

COMPARISON = "Comparison"


@with_flags
def compare_bagging(
    p: Annotated[str, option("--p", help=f"{P_HELP} Of the dropout arms.", panel=DROPOUT)] = "0.5",
    arms: Annotated[
        str,
        option(
            "--arms",
            "What is compared with dropout: "
            + "; ".join(f"{name}: {kind.phrase.format(members='M')}" for name, kind in ARMS.items())
            + ".",
            COMPARISON,
        ),
    ] = ",".join(DEFAULT_ARMS),
    members: Annotated[
        int,
        option(
            "--members",
            "Nets of the arms that have several; every smaller number of them is read too.",
            COMPARISON,
            min=1,
        ),
    ] = 5,
    budget: Annotated[
        str,
        option(
            "--budget",
            "What is held equal: " + "; ".join(f"{name}: {what}" for name, what in BUDGETS.items()) + ".",
            COMPARISON,
        ),
    ] = "members",
    mc_samples: Annotated[
        int,
        option(
            "--mc-samples",
            "Thinned nets that Monte-Carlo dropout averages; 1, 2, 5, 10, 20, 50, … of them are read too. "
            "Under --budget inference there are as many as members.",
            COMPARISON,
            min=1,
        ),
    ] = 100,
    ood: Annotated[
        str,
        option(
            "--ood",
            "Foreign images that the predictive entropy is to tell from the test images: another data set "
            "of the same shape, or the test images rotated or permuted; or none.",
            DATA,
        ),
    ] = "rotated",
    seeds: Annotated[
        int,
        option(
            "--seeds",
            "How often the whole comparison is repeated, from seed 0 on, for the intervals.",
            TRAINING,
            min=1,
        ),
    ] = 2,
    as_json: AsJson = False,
    *,
    flags: SweepFlags,
) -> None:
    """Compare dropout with bagging and its relatives: error, likelihood, calibration, and what each costs.

    Bagging's members are nets without dropout, each on a bootstrap; an ensemble's train on all the data.
    Dropout boosting has dropout's noise and trains for the likelihood of the averaged prediction.

    Members are ordinary runs: they are resumed, and used again by other arms, numbers and budgets.
    Differences are to dropout read by weight scaling, with 95 % bootstrap intervals.

    Examples:

        dropbench compare-bagging

        dropbench compare-bagging --arms bagging,untied,boosting --budget train --seeds 6

        dropbench compare-bagging --data mnist --ood fashion-mnist --model mlp --p-input 0.2
    """
    from dropbench.cli.finish import exit_for, resumable
    from dropbench.cli.progress import watching
    from dropbench.experiments.bagging.compare import compare, ood_key, row_ids
    from dropbench.experiments.bagging.cost import boosting_step, narrowed
    from dropbench.experiments.bagging.plan import ComparisonPlan, runs_of
    from dropbench.report.folder import comparison_report
    from dropbench.report.pictures import save_pictures
    from dropbench.results.store import Store

    names = check_arms(parse_names(arms), reference_under(budget))
    if flags.schedule == "early" and "dropout-mc" in names:
        raise UsageError(
            "With early dropout the net ends without masks, so dropout-mc has nothing to average over.",
            f"Write --arms {','.join(name for name in names if name != 'dropout-mc')}.",
        )
    samples = 0 if flags.schedule == "early" else mc_samples
    unbound = flags.single_config(p_drop=parse_probability(p), mc_samples=samples)
    flags.tell_if_in_vain([unbound])
    plan = ComparisonPlan(
        unbound, members, seeds, names, budget
    )  # a fault is told before any data are fetched
    bench = flags.set_up()
    foreign = ood_key(ood, bench.data, flags.data_dir)
    (dropout,) = bench.bind([unbound])
    plan = replace(
        plan,
        base=dropout,
        narrow=narrowed(dropout, members, bench.data) if budget == "parameters" else 1.0,
        boosting_step=boosting_step(dropout, bench.data)
        if budget == "train" and "boosting" in names
        else 1.0,
        foreign=ood if foreign else "",
        ood_key=foreign,
    )
    runs = runs_of(plan.all_arms())
    bench.bind(runs)  # a member that does not fit the data is said before any is trained
    store = Store(flags.out)
    with watching() as watcher, resumable(flags.out, watcher):
        outcome = compare(plan, bench, store, watcher, flags.policy())
    with_panels = {run.run_id for run in runs} if flags.panel else ()
    report = comparison_report(flags.out, row_ids(plan), with_panels)
    present(report.tables, as_json)
    for picture in save_pictures(report, flags.out):
        tell(f"picture: {picture}")
    tell(f"arms: {flags.out / 'comparisons.csv'}; their runs: {flags.out / 'runs.csv'}")
    exit_for(outcome)
