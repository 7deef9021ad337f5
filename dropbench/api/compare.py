"""Comparisons of dropout with bagging and its relatives."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dropbench.api.keywords import Keywords, sort_out
from dropbench.api.sweep import check_seeds
from dropbench.api.work import Data, Done, Work, check_classifier
from dropbench.catalog.arms import DEFAULT_ARMS, check_arms, reference_under
from dropbench.errors import UsageError
from dropbench.experiments.bagging.compare import carry_out_comparison, default_ood, ood_key, row_ids
from dropbench.experiments.bagging.cost import boosting_step, narrowed
from dropbench.experiments.bagging.plan import ComparisonPlan, runs_of
from dropbench.experiments.watching import LogWatcher, Watcher
from dropbench.report.folder import comparison_report
from dropbench.results.store import Store
from dropbench.run.config import RunConfig


@dataclass(frozen=True, repr=False)
class ComparisonDone(Done):
    """A comparison that was carried out."""


def compare(
    data: Data = "mnist5k",
    *,
    arms: str | Iterable[str] = DEFAULT_ARMS,
    members: int = 5,
    p: float | str | None = None,
    budget: str = "members",
    mc_samples: int = 100,
    ood: str | None = None,
    seeds: int = 2,
    panel: bool = False,
    out: Path | str = "results",
    data_dir: Path | str | None = None,
    watcher: Watcher | None = None,
    **settings: Any,
) -> ComparisonDone:
    """Compare dropout with bagging and its relatives: error, likelihood, calibration, and what each costs.

    Members are ordinary runs: they are resumed, and used again by other arms, numbers and budgets.

    Args:
        data: a data set, or its name.
        arms: names of dropbench.catalog.arms.ARMS; dropout is always among them.
        members: nets of the arms that have several.
        p: probability of *dropping* a hidden unit, of the arms with dropout; 0.5 by default.
        budget: what is held equal, a name of dropbench.catalog.arms.BUDGETS.
        mc_samples: passes that Monte-Carlo dropout averages.
        ood: out-of-distribution images: ``rotated``, ``permuted``, another data set's name, or ``none``. None
            is ``rotated``, and for a table, which has no images, ``none``.
        seeds: how often the whole comparison is repeated, for the intervals.
        panel: also measure what dropout does to the hidden units.
        out: the folder of the results.
        data_dir: where torchvision's data sets are, or go when downloaded.
        watcher: sees the runs happen; they are logged unless given.
        settings: any setting of the runs by its name, of the machine, or of what is done again.

    Raises:
        UsageError: for an unknown name, or for what cannot be compared.
        DropbenchError: if data are not to be had, or a result cannot be written.

    """
    given = arms.split(",") if isinstance(arms, str) else arms
    names = check_arms((name.strip() for name in given), reference_under(budget))
    keywords = sort_out({"p": p, **settings}, p_drop=0.5)
    if keywords.machine.stack is None:  # the seconds of an arm are what it takes alone
        keywords = replace(keywords, machine=replace(keywords.machine, stack=1))
    check_seeds(seeds, keywords)
    told = keywords.single()
    early = told.get("dropout_schedule") == "early"
    if early and "dropout-mc" in names:
        raise UsageError(
            "With early dropout the net ends without masks, so dropout-mc has nothing to average over.",
            f"Write `arms={','.join(name for name in names if name != 'dropout-mc')}`.",
        )
    if "model" in told:
        check_classifier(told["model"])

    def plan_of(on_data: Keywords) -> ComparisonPlan:
        base = RunConfig(**on_data.single(), mc_samples=0 if early else mc_samples)
        return ComparisonPlan(base, members, seeds, names, budget)

    work = Work.prepare(lambda on_data: [plan_of(on_data).base], data, keywords, out, data_dir, panel)
    plan = ComparisonPlan(work.runs[0], members, seeds, names, budget)
    plan = _bound(plan, work, ood, data_dir)
    runs = runs_of(plan.all_arms())
    work.bench.bind(runs)  # a member that does not fit the data is told before any is trained
    outcome = carry_out_comparison(plan, work.bench, Store(work.out), watcher or LogWatcher(), work.policy)
    run_ids = frozenset(run.run_id for run in runs)
    report = partial(comparison_report, work.out, row_ids(plan), run_ids if panel else ())
    return ComparisonDone(work.out, run_ids, outcome, report)


def _bound(plan: ComparisonPlan, work: Work, told: str | None, data_dir: Path | str | None) -> ComparisonPlan:
    """The plan on the data of a bench, with what depends on these."""
    base, images = plan.base, work.bench.data
    ood = default_ood(images) if told is None else told
    key = ood_key(ood, images, None if data_dir is None else Path(data_dir))
    boosts = plan.budget == "train" and "boosting" in plan.arms
    return replace(
        plan,
        narrow=narrowed(base, plan.members, images) if plan.budget == "parameters" else 1.0,
        boosting_step=boosting_step(base, images) if boosts else 1.0,
        ood=ood if key else "",
        ood_key=key,
    )
