"""Sweeps out of the rows of runs.csv: which runs belong together, and what tells them apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from dropbench.report import metrics
from dropbench.report.apart import words_apart
from dropbench.report.metrics import ERROR, Metric
from dropbench.report.table import NONE, Column, Row
from dropbench.run import telling
from dropbench.run.config import SETTINGS

AXES = tuple(name for _, name in sorted((each.axis, name) for name, each in SETTINGS.items() if each.axis))
"""The settings that a sweep may vary, in the order of the table's columns."""
SETTING = tuple(name for name, each in SETTINGS.items() if each.groups and not each.axis)
"""Runs that differ in one of these belong to different experiments and never share a table."""
_PROBABILITIES = ("p_drop", "p_drop_input", "p_drop_conv")
_OF_DROPOUT = tuple(name for name, each in SETTINGS.items() if each.of_dropout)
# A net that is widened is compared with the one that it was made of.
_SAME_NET = tuple(axis for axis in AXES if axis not in (*_OF_DROPOUT, *_PROBABILITIES))


@dataclass(frozen=True)
class Setting:
    """The runs of one point of a sweep: its axes, and figures of its ok runs by seed."""

    axes: Mapping[str, Any]
    test: Mapping[str, Mapping[int, float]]
    """The metrics on the test images, by the column of a dropbench.report.metrics.Metric, then by seed."""
    val: Mapping[str, Mapping[int, float]]
    reconstruction_error: Mapping[int, float]
    """The error of an autoencoder on the test images, by seed; empty for classifiers."""
    learned_p_drop: Mapping[int, float]
    """The drop probability that the hidden sites learned, by seed; empty where none is learned."""
    diverged: frozenset[int]
    """Seeds."""
    failed: frozenset[int]
    run_ids: Mapping[int, str]
    """The ids of the runs that ended well, by seed."""

    @property
    def drops_nothing(self) -> bool:
        """Whether this is a net without any dropout."""
        return all(self.axes[name] == 0 for name in _PROBABILITIES)

    @property
    def net(self) -> tuple[Any, ...]:
        """The values that it shares with the settings that it can be compared with."""
        return tuple(sortable(self.axes[name]) for name in _SAME_NET)


@dataclass(frozen=True)
class Sweep:
    """All settings that differ in AXES alone; ``varying`` are the axes that really do."""

    fields: Mapping[str, Any]
    settings: tuple[Setting, ...]
    varying: tuple[str, ...]
    run_ids: frozenset[str]
    metric: Metric = ERROR
    """The metric that the settings are compared in."""
    reference_p: float = 0.0
    """p_drop of the setting that the others are compared with; 0 is the net without any dropout."""

    @property
    def reconstructs(self) -> bool:
        """Whether its nets are autoencoders, which have features and no test error."""
        return bool(self.fields["model"] == "autoencoder")

    def test(self, setting: Setting) -> Mapping[int, float]:
        """The sweep's metric on the test images, by seed."""
        return setting.test[self.metric.column]

    def val(self, setting: Setting) -> Mapping[int, float]:
        """The sweep's metric on the validation images, by seed."""
        return setting.val[self.metric.column]

    @property
    def nets(self) -> list[list[Setting]]:
        """The settings, those together that have the same net and as many training images."""
        groups: dict[tuple[Any, ...], list[Setting]] = {}
        for setting in self.settings:
            groups.setdefault(setting.net, []).append(setting)
        return list(groups.values())

    def reference(self, setting: Setting) -> Setting | None:
        """The setting that ``setting`` is compared with: of the same net, and without dropout unless told."""
        for other in self.settings:
            if other.net == setting.net and self._is_reference_of(other, setting):
                return other
        return None

    def _is_reference_of(self, other: Setting, setting: Setting) -> bool:
        if not self.reference_p:
            return other.drops_nothing
        others = (axis for axis in AXES if axis != "p_drop")
        alike = all(sortable(other.axes[axis]) == sortable(setting.axes[axis]) for axis in others)
        return alike and math.isclose(other.axes["p_drop"], self.reference_p)

    def best(self, settings: Sequence[Setting]) -> Setting | None:
        """The setting with the lowest mean on the validation images; the test images have no say."""
        with_runs = [setting for setting in settings if self.val(setting)]
        return min(with_runs, key=lambda setting: mean_of(self.val(setting)), default=None)

    @cached_property
    def _telling(self) -> list[str]:
        """The axes that differ among the settings that have them: without dropout there is no variant."""
        dropping = [setting for setting in self.settings if not setting.drops_nothing]
        return [
            axis
            for axis in self.varying
            if axis not in _OF_DROPOUT or len({sortable(setting.axes[axis]) for setting in dropping}) > 1
        ]

    def label(self, setting: Setting) -> str:
        """The values that tell a setting from the others, in words."""
        cells = ((axis, _axis_cell(axis)(setting.axes)) for axis in self._telling)
        return ", ".join(f"{axis} = {cell}" for axis, cell in cells if cell != NONE)


def mean_of(by_seed: Mapping[int, float]) -> float:
    """NaN of nothing."""
    return sum(by_seed.values()) / len(by_seed) if by_seed else math.nan


def find_sweeps(runs: pd.DataFrame) -> list[Sweep]:
    """The sweeps among the rows of runs.csv; members of ensembles other than the first are no part."""
    runs = with_defaults(runs[(runs["member"] == 0) & (runs["bootstrap"] != "True")])
    # With nothing dropped they are the same net, recorded under whichever variant or convention came first.
    nothing = (runs[list(_PROBABILITIES)] == 0).all(axis=1)
    for name in _OF_DROPOUT:
        runs.loc[nothing, name] = SETTINGS[name].read_back(SETTINGS[name].default)
    sweeps = []
    for values, group in runs.groupby(list(SETTING), dropna=False, sort=False):
        fields = dict(zip(SETTING, values if isinstance(values, tuple) else (values,), strict=True))
        settings = [
            _setting(dict(zip(AXES, axes if isinstance(axes, tuple) else (axes,), strict=True)), rows)
            for axes, rows in group.groupby(list(AXES), dropna=False, sort=True)
        ]
        settings.sort(key=lambda s: tuple(sortable(s.axes[name]) for name in reversed(AXES)))
        varying = tuple(n for n in AXES if len({sortable(s.axes[n]) for s in settings}) > 1)
        sweeps.append(Sweep(fields, tuple(settings), varying, frozenset(group["run_id"])))
    return sweeps


def axis_columns(sweep: Sweep) -> tuple[Column, ...]:
    """The columns that tell the settings apart, for rows that have the axes and p_keep."""
    extra = [axis for axis in sweep.varying if axis != "p_drop"]
    return (
        Column("p_drop", lambda row: axis_text(row["p_drop"])),
        Column("p_keep", lambda row: axis_text(row["p_keep"])),
        *(Column(SETTINGS[axis].title, _axis_cell(axis)) for axis in extra),
    )


def _setting(axes: dict[str, Any], rows: pd.DataFrame) -> Setting:
    ok = rows[rows["status"] == "ok"]
    seeds = ok["seed"].astype(int).to_numpy()

    def by_seed(column: str) -> dict[int, float]:
        values = ok[column].to_numpy()
        there = values == values  # NaN is not
        return dict(zip(seeds[there].tolist(), values[there].tolist(), strict=True))

    return Setting(
        axes=axes,
        test={column: by_seed(f"test_{column}") for column in metrics.columns()},
        val={column: by_seed(f"val_{column}") for column in metrics.columns()},
        reconstruction_error=by_seed("test_reconstruction_error"),
        learned_p_drop=by_seed("learned_p_drop"),
        diverged=frozenset(rows.loc[rows["status"] == "diverged", "seed"].astype(int)),
        failed=frozenset(rows.loc[rows["status"] == "failed", "seed"].astype(int)),
        run_ids=dict(zip(seeds.tolist(), ok["run_id"], strict=True)),
    )


def with_defaults(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of runs or comparisons, with what an older dropbench did not write yet at its default."""
    defaults = {
        name: each.read_back(each.default)
        for name, each in SETTINGS.items()
        if each.groups and each.default not in (None, "")
    }
    return rows.assign(
        **{name: rows[name].replace("", default).fillna(default) for name, default in defaults.items()}
    )


def typed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the cells of a row, as values."""
    return {name: each.value(fields[name]) for name, each in SETTINGS.items() if name in fields}


def sweep_title(sweep: Sweep) -> str:
    """The model and the data, and how the runs were trained."""
    return telling.title(typed(sweep.fields), SETTING, *words_apart(sweep.fields))


def _axis_cell(axis: str) -> Any:
    def cell(row: Row) -> str:
        if axis in _OF_DROPOUT and not any(row[name] for name in _PROBABILITIES):
            return NONE  # with nothing dropped it is all of them
        return axis_text(row[axis], SETTINGS[axis].empty or NONE)

    return cell


def axis_text(value: Any, empty: str = NONE) -> str:
    """The value of an axis as people write it; ``empty`` where it has none."""
    if isinstance(value, str):
        return value or empty
    return empty if math.isnan(value) else f"{value:.12g}"


def sortable(value: Any) -> Any:
    """A key that sorts and compares an axis value; no training size means all of it, the most."""
    return math.inf if isinstance(value, float) and math.isnan(value) else value
