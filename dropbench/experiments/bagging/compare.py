"""Carry out a comparison: first its missing runs, then its missing rows."""

from dataclasses import replace
from pathlib import Path

from dropbench.catalog.models import IMAGES
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.ood import DERIVED, columns_apart
from dropbench.datasets.options import SourceOptions
from dropbench.datasets.registry import inputs_of, is_known, prepare, takes, unknown_data
from dropbench.errors import UsageError
from dropbench.experiments.bagging.plan import ComparisonPlan, runs_of
from dropbench.experiments.bagging.reduce import Reducer, averages_of
from dropbench.experiments.bagging.rows import Rows
from dropbench.experiments.watching import Watcher
from dropbench.experiments.workbench import Outcome, Workbench, carry_out
from dropbench.results.predictions import load
from dropbench.results.store import Store
from dropbench.run.machine import CAREFUL, Policy

NO_OOD = "none"


def default_ood(data: DataSet) -> str:
    """Return what ``ood`` is where nobody tells it: test images can be rotated, rows cannot."""
    return NO_OOD if data.columns else next(iter(DERIVED))


def ood_key(name: str, data: DataSet, data_dir: Path | None) -> str:
    """Translate the value of ``ood`` into the argument of dropbench.datasets.ood.ood_images; empty for none.

    Raises:
        UsageError: if there is no such set, its images have another shape or its rows other columns, or it
            is ``data`` itself.
        DropbenchError: if it cannot be fetched.

    """
    if name == NO_OOD:
        return ""
    if name in DERIVED:
        if data.columns:
            raise UsageError(
                f"`ood={name}` needs images, and {data.name} is a table.",
                f"Write `ood={NO_OOD}`, or name another table with the same columns.",
            )
        return name
    if not is_known(name):
        raise unknown_data(name, "out-of-distribution data", "ood", *DERIVED, NO_OOD)
    others = DERIVED if not data.columns else (NO_OOD,)
    ood = None
    inputs = inputs_of(name)  # where the name tells it, nothing is fetched in vain
    if not inputs or inputs == data.inputs:
        ood = prepare(name, data_dir, _as_told(name, data))
        inputs = ood.inputs
    if ood is None or inputs != data.inputs:
        raise UsageError(
            f"`ood={name}` has {'images' if inputs == IMAGES else 'rows'}, but {data.name} has {data.noun}.",
            f"Name a data set of the same kind, or {' or '.join(others)}.",
        )
    if apart := columns_apart(data, ood):
        raise UsageError(
            f"`ood={name}` has no column {apart[0]!r} like that of {data.name}, or it is constant there.",
            "Name a table with the same columns.",
        )
    if not data.columns and ood.input_shape != data.input_shape:
        theirs, ours = ("×".join(map(str, each.input_shape)) for each in (ood, data))
        raise UsageError(
            f"`ood={name}` has images of {theirs}, but {data.name} has images of {ours}.",
            f"Name a data set of the same shape, or {' or '.join(DERIVED)}.",
        )
    if ood.test_inputs.dtype != data.test_inputs.dtype:
        raise UsageError(
            f"`ood={name}` has images of {ood.test_inputs.dtype}, {data.name} of {data.test_inputs.dtype}.",
            f"Name a data set with values of the same kind, or {' or '.join(DERIVED)}.",
        )
    if ood.key == data.key:
        raise UsageError(
            f"`ood={name}` is the training data itself, so its {ood.noun} are not out-of-distribution.",
            f"Name another data set, or {' or '.join(others)}.",
        )
    return ood.key


def _as_told(name: str, data: DataSet) -> SourceOptions:
    """The options of ``data`` for another data set that takes them; a file of test rows is its own.

    Images of any size get that of the images of ``data``.
    """
    told = {option: value for option, value in data.told.items() if takes(name, option)}
    told.pop("test_file", None)
    if not data.columns and takes(name, "image_size"):
        _, height, width = data.input_shape
        told["image_size"] = f"{height}x{width}"
    return SourceOptions.of(told)


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
