"""Finding sweeps among the rows of runs.csv: which runs belong together."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from dropbench.catalog.models import OF_OPTIMIZER
from dropbench.catalog.user_code import is_user_code
from dropbench.report import metrics
from dropbench.report.metrics import ERROR, RMSE, Metric, find_metric, metrics_of
from dropbench.report.overflows import are_many
from dropbench.report.scale import infer_examples
from dropbench.report.sweep.sweep import (
    AXES,
    EITHER,
    OF_DROPOUT,
    PROBABILITIES,
    SETTING,
    Setting,
    Sweep,
    axis_values,
    mean_of,
    reconstructs,
    sortable,
)
from dropbench.report.sweep.tuning import TUNED, Budget, Trial, alone, tuned_tables
from dropbench.run import telling
from dropbench.run.blocks.model import TORCH
from dropbench.run.config import SETTINGS
from dropbench.run.result import MOST_TRAINING_IMAGES

_ALIKE = tuple(name for name in SETTING if name not in TUNED)
RANDOM_NUMBERS = "random_numbers"
_COUNTS = {"train": "distinct_train_images", "val": "validation_images", "test": "test_images"}
"""The columns of runs.csv with the numbers of examples of each split."""


@dataclass(frozen=True)
class _Tried:
    """One setting at one trial."""

    cells: Mapping[str, Any]
    """Of TUNED."""
    setting: Setting
    ids: frozenset[str]
    """All its runs, ended well or not."""

    @property
    def val(self) -> Mapping[str, Mapping[int, float]]:
        """The metrics on validation, by column, then by seed."""
        return self.setting.val

    @property
    def diverged(self) -> frozenset[int]:
        """Seeds."""
        return self.setting.diverged


def find_sweeps(runs: pd.DataFrame, metric: str = "", tune: bool = True) -> list[Sweep]:
    """The sweeps among the rows of runs.csv; members of ensembles other than the first are no part.

    Each has the metric of this name, or the first one of its task if that has none of the name or it is
    empty. Settings that had the same two trials or more share a table, each at its own best in the metric on
    validation. A trial that was given to others, too, has a table of its own; without ``tune`` each has.

    Raises:
        UsageError: if no task has a metric of this name.

    """
    runs = with_defaults(runs[(runs["member"] == 0) & (runs["bootstrap"] != "True")])
    # With nothing dropped they are the same net, recorded under whichever variant or convention came first.
    nothing = (runs[list(PROBABILITIES)] == 0).all(axis=1)
    for name in OF_DROPOUT:
        runs.loc[nothing, name] = SETTINGS[name].read_back(SETTINGS[name].default)
    runs.loc[nothing & (runs["init"] != TORCH), "init"] = EITHER
    runs = _at_own_rates(_beside_all_masks(runs, nothing))
    sweeps = []
    for alike, group in _groups(runs, _ALIKE, sort=False):
        task = alike["task"]
        of_task = find_metric(metric, task) or metrics_of(task)[0]
        examples = {split: examples_of(group, split) for split in ("val", "test")}
        points = [
            {
                _trial(cells): _Tried(
                    cells, _setting(axes, of_trial, task, examples), frozenset(of_trial["run_id"])
                )
                for cells, of_trial in _groups(rows, TUNED, sort=False)
            }
            for axes, rows in _groups(group, AXES)
        ]
        tables = list(tuned_tables(points, of_task.column)) if tune and not reconstructs(alike) else []
        for budget, members in tables:
            shared = {name: cell for name, cell in members[0][1].cells.items() if name not in budget.names}
            settings = [replace(tried.setting, tuning=tuning) for _, tried, tuning in members]
            tried = [points[number][trial] for number, _, _ in members for trial in budget.trials]
            sweeps.append(_sweep({**alike, **shared}, settings, tried, of_task, budget))
        for trial in alone(points, tables):
            tried = [point[trial] for point in points if trial in point]
            fields = {**alike, **tried[0].cells}
            sweeps.append(_sweep(fields, [each.setting for each in tried], tried, of_task))
    return sweeps


def _beside_all_masks(runs: pd.DataFrame, nothing: "pd.Series[bool]") -> pd.DataFrame:
    """The rows, those that drop nothing once for each kind of random numbers that the others of theirs have.

    A net without dropout draws nothing, so that it is the reference of recorded masks and of those of today.
    """
    parts = []
    for _, alike in _groups(runs, [name for name in _ALIKE if name != RANDOM_NUMBERS], sort=False):
        plain = alike[nothing[alike.index]]
        dropping = alike.drop(plain.index)
        kinds = dropping[RANDOM_NUMBERS].unique() if len(dropping) else [SETTINGS[RANDOM_NUMBERS].untold]
        parts += [dropping, *(plain.assign(**{RANDOM_NUMBERS: kind}) for kind in kinds)]
    return pd.concat(parts).sort_index(kind="stable") if parts else runs


def _at_own_rates(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows, without what an optimizer has by default where that parts them from those of another alone.

    Runs of several optimizers are one sweep although each has a learning rate, a weight decay and a momentum
    of its own: what nobody told. A learning rate or a decay that was tuned stays.
    """
    runs = runs.copy()
    alike = [name for name in _ALIKE if name != "momentum"]
    for _, group in _groups(runs, alike):
        if group["optimizer"].nunique() < 2:
            continue
        for name in (name for name in OF_OPTIMIZER if group[name].nunique(dropna=False) > 1):
            told = group.groupby("optimizer")[name].nunique(dropna=False) > 1
            own = [
                number
                for number, row in group.iterrows()
                if name == "momentum" or not told[row["optimizer"]]
                if _is_usual(name, row)
            ]
            runs.loc[own, name] = math.nan
    return runs


def _is_usual(name: str, row: "pd.Series[Any]") -> bool:
    """Whether a setting is as it is where nobody tells it."""
    usual = telling.usual(name, row["model"], row["inputs"], row["optimizer"])
    return bool(SETTINGS[name].value(row[name]) == usual)


def _sweep(
    fields: Mapping[str, Any],
    settings: Iterable[Setting],
    tried: Iterable[_Tried],
    metric: Metric,
    budget: Budget | None = None,
) -> Sweep:
    in_order = sorted(settings, key=lambda s: tuple(sortable(s.axes[name]) for name in reversed(AXES)))
    varying = tuple(n for n in AXES if len(axis_values(in_order, n)) > 1)
    ids = frozenset(run_id for each in tried for run_id in each.ids)
    own = {name: fields[name] for name in SETTING if name in fields}
    fitted = metric.fitted(mean_of(setting.test[metric.column]) for setting in in_order)
    return Sweep(own, tuple(in_order), varying, ids, fitted, budget=budget)


def _groups(
    rows: pd.DataFrame, names: Sequence[str], sort: bool = True
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """The rows that are alike in the named columns, with their cells in these."""
    for values, group in rows.groupby(list(names), dropna=False, sort=sort):
        yield dict(zip(names, values if isinstance(values, tuple) else (values,), strict=True)), group


def _trial(cells: Mapping[str, Any]) -> Trial:
    return tuple(SETTINGS[name].value(cells[name]) for name in TUNED)


def examples_of(rows: pd.DataFrame, split: str) -> float:
    """How many examples the errors of runs are of: as recorded, or else as few as make them whole counts."""
    recorded = rows.get(_COUNTS[split])
    measured = rows[[f"{split}_{metric.column}" for metric in (ERROR, RMSE)]].notna().any(axis=1)
    if recorded is not None and recorded[measured].max() > 0:
        most = MOST_TRAINING_IMAGES if split == "train" else math.inf
        return min(float(recorded[measured].max()), most)
    return infer_examples(rows[f"{split}_{ERROR.column}"].dropna().unique())


def _setting(axes: dict[str, Any], rows: pd.DataFrame, task: str, examples: Mapping[str, float]) -> Setting:
    ok = rows[rows["status"] == "ok"]
    seeds = ok["seed"].astype(int).to_numpy()

    def by_seed(column: str) -> dict[int, float]:
        values = ok[column].to_numpy()
        there = np.isfinite(values)
        return dict(zip(seeds[there].tolist(), values[there].tolist(), strict=True))

    steps = by_seed("steps")
    return Setting(
        axes=axes,
        test={column: by_seed(f"test_{column}") for column in metrics.columns(task)},
        val={column: by_seed(f"val_{column}") for column in metrics.columns(task)},
        train={column: by_seed(f"train_{column}") for column in metrics.columns(task)},
        reconstruction_error=by_seed("test_reconstruction_error"),
        learned_p_drop=by_seed("learned_p_drop"),
        diverged=frozenset(rows.loc[rows["status"] == "diverged", "seed"].astype(int)),
        failed=frozenset(rows.loc[rows["status"] == "failed", "seed"].astype(int)),
        overflowing=frozenset(
            seed for seed, skipped in by_seed("overflowed_steps").items() if are_many(skipped, steps[seed])
        ),
        run_ids=dict(zip(seeds.tolist(), ok["run_id"], strict=True)),
        examples={**examples, "train": examples_of(rows, "train")},
    )


def with_defaults(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of runs or comparisons, with what an older dropbench did not write yet at its default."""
    defaults = {
        name: each.read_back(each.default)
        for name, each in SETTINGS.items()
        if each.groups and each.default not in (None, "")
    }
    rows = rows.assign(
        **{name: rows[name].replace("", default).fillna(default) for name, default in defaults.items()}
    )
    rows.loc[rows["model"].map(is_user_code), "init"] = TORCH  # such a model has always started by itself
    return rows
