"""Carry out a comparison: first its missing runs, then its missing rows."""

from dataclasses import replace
from pathlib import Path

from dropbench.catalog.forms import FORMS
from dropbench.catalog.models import TABLE
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.ood import DERIVED
from dropbench.datasets.registry import SOURCES, is_known, prepare
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
    """Translate the value of ``ood`` into the argument of dropbench.datasets.ood.ood_images; empty for none.

    Raises:
        UsageError: if there is no such set, its examples are of another kind, or it is ``data`` itself.
        DropbenchError: if it cannot be fetched.

    """
    if name == NO_OOD:
        return ""
    derived = () if data.inputs == TABLE else tuple(DERIVED)
    if name in derived:
        return name
    if name in DERIVED:
        raise UsageError(
            f"`ood={name}` is made of images, and {data.name} is a table.",
            f"Name a table with the same columns, or {NO_OOD}.",
        )
    if not is_known(name):
        raise unknown_name(
            "out-of-distribution data",
            name,
            [*derived, NO_OOD, *SOURCES, *(form.name for form in FORMS.values())],
        )
    ood = prepare(name, data_dir)
    others = " or ".join(derived or (NO_OOD,))
    if ood.inputs != data.inputs or ood.input_shape != data.input_shape:
        raise UsageError(
            f"`ood={name}` has {_kind(ood)}, but {data.name} has {_kind(data)}.",
            f"Name a data set of the same shape, or {others}.",
        )
    if unlike := [ours.name for ours, its in zip(data.columns, ood.columns, strict=True) if ours != its]:
        raise UsageError(
            f"`ood={name}` has other columns than {data.name}: {unlike[0]} is not the same.",
            f"Name a table with the same columns and categories, or {others}.",
        )
    if ood.test_inputs.dtype != data.test_inputs.dtype:
        raise UsageError(
            f"`ood={name}` has images of {ood.test_inputs.dtype}, {data.name} of {data.test_inputs.dtype}.",
            f"Name a data set with values of the same kind, or {' or '.join(DERIVED)}.",
        )
    if ood.key == data.key:
        raise UsageError(
            f"`ood={name}` is the training data itself, so its {data.noun} are not out-of-distribution.",
            f"Name another data set, or {others}.",
        )
    return ood.key


def _kind(data: DataSet) -> str:
    """What examples a data set has, in words."""
    if data.inputs == TABLE:
        return f"rows of {len(data.columns)} columns"
    return f"images of {'×'.join(map(str, data.input_shape))}"


def carry_out_comparison(
    plan: ComparisonPlan,
    bench: Workbench,
    store: Store,
    watcher: Watcher,
    policy: Policy = CAREFUL,
) -> Outcome:
    """Carry out the missing runs, then write a row for every average of every arm.

    Rows already on disk stay, unless they were made from other runs, or from runs that were repeated since.

    Raises:
        DropbenchError: if a result cannot be written.
        KeyboardInterrupt: if the watcher wanted to stop before all runs were done.

    """
    bench = replace(bench, extras=replace(bench.extras, ood=plan.ood_key))
    outcome = carry_out(runs_of(plan.all_arms()), bench, store, watcher, policy, with_predictions=True)
    reducer = Reducer(bench.data, store.finished(), lambda run_id: load(store.folder, run_id))
    Rows(plan, reducer, store).write()
    return outcome


def row_ids(plan: ComparisonPlan) -> set[str]:
    """The comparison_id of every row of a plan."""
    return {average.comparison_id for arm in plan.all_arms() for average in averages_of(arm)}
