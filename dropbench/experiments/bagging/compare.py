"""Carrying out a comparison: the runs that are not done yet, then the rows that are not there yet."""

from dataclasses import replace
from pathlib import Path

from dropbench.datasets.dataset import DataSet
from dropbench.datasets.ood import DERIVED
from dropbench.datasets.registry import FOLDER_PREFIX, SOURCES, prepare
from dropbench.errors import UsageError, unknown_name
from dropbench.experiments.bagging.plan import ComparisonPlan, runs_of
from dropbench.experiments.bagging.reduce import Reducer, averages_of
from dropbench.experiments.bagging.rows import Rows
from dropbench.experiments.workbench import Outcome, Watcher, Workbench, carry_out
from dropbench.results.predictions import load
from dropbench.results.store import Store
from dropbench.run.machine import CAREFUL, Policy

NO_OOD = "none"


def ood_key(name: str, data: DataSet, data_dir: Path | None) -> str:
    """What dropbench.datasets.ood.ood_images takes for the set that ``--ood`` names; empty for none.

    Raises:
        UsageError: if there is no such set, or its images do not fit the nets.
        DropbenchError: if it cannot be fetched.

    """
    if name == NO_OOD:
        return ""
    if name in DERIVED:
        return name
    if not name.startswith(FOLDER_PREFIX) and name not in SOURCES:
        raise unknown_name(
            "out-of-distribution data", name, [*DERIVED, NO_OOD, *SOURCES, f"{FOLDER_PREFIX}PATH"]
        )
    foreign = prepare(name, data_dir)
    if foreign.image_shape != data.image_shape:
        theirs, ours = ("×".join(map(str, each.image_shape)) for each in (foreign, data))
        raise UsageError(
            f"`ood={name}` has images of {theirs}, and {data.name} of {ours}.",
            f"Take one of the same shape, or {' or '.join(DERIVED)}.",
        )
    if foreign.key == data.key:
        raise UsageError(f"`ood={name}` is the data set itself, which is in its own distribution.")
    return foreign.key


def carry_out_comparison(
    plan: ComparisonPlan,
    bench: Workbench,
    store: Store,
    watcher: Watcher,
    policy: Policy = CAREFUL,
) -> Outcome:
    """Carry out what is not done yet, then write a row for everything that the arms are read as.

    Rows that are there stay, unless they were made of other runs, or of runs that were done again since.
    """
    bench = replace(bench, extras=replace(bench.extras, ood=plan.ood_key))
    outcome = carry_out(runs_of(plan.all_arms()), bench, store, watcher, policy, with_predictions=True)
    reducer = Reducer(bench.data, store.finished(), lambda run_id: load(store.folder, run_id))
    Rows(plan, reducer, store).write()
    return outcome


def row_ids(plan: ComparisonPlan) -> set[str]:
    """The comparison_ids of all rows of a plan."""
    return {average.comparison_id for arm in plan.all_arms() for average in averages_of(arm)}
