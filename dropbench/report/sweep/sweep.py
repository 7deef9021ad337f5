"""Sweeps: their settings, what tells these apart, and what each is compared with."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dropbench.catalog.models import OF_OPTIMIZER
from dropbench.report.apart import words_apart
from dropbench.report.metrics import ERROR, Metric
from dropbench.report.scale import DOUBLED, Scale, scale_of
from dropbench.report.sweep.tuning import Budget, Tuning, tuned_columns
from dropbench.report.table import NONE, Column, Row
from dropbench.run import telling
from dropbench.run.blocks import dropout
from dropbench.run.blocks.model import TORCH
from dropbench.run.config import SETTINGS

AXES = tuple(name for _, name in sorted((each.axis, name) for name, each in SETTINGS.items() if each.axis))
"""The settings that a sweep may vary, in the order of the table's columns."""
SETTING = tuple(name for name, each in SETTINGS.items() if each.groups and not each.axis)
"""Runs that differ in one of these belong to different experiments and never share a table, but for TUNED."""
EITHER = ""
"""The initialisation of a net without dropout, where corrected and he are the same."""
PROBABILITIES = tuple(dropout.PROBABILITIES.values())
OF_DROPOUT = tuple(name for name, each in SETTINGS.items() if each.of_dropout)
# A net that is widened is compared with the one that it was made of.
_SAME_NET = tuple(axis for axis in AXES if axis not in (*OF_DROPOUT, *PROBABILITIES))


@dataclass(frozen=True)
class Setting:
    """The runs of one point of a sweep: its axes, and figures of its ok runs by seed."""

    axes: Mapping[str, Any]
    test: Mapping[str, Mapping[int, float]]
    """Its task's metrics on the test examples, by the column of a Metric, then by seed."""
    val: Mapping[str, Mapping[int, float]]
    train: Mapping[str, Mapping[int, float]]
    """The metrics on training examples, with dropout off; empty in what an older dropbench recorded."""
    reconstruction_error: Mapping[int, float]
    """The error of an autoencoder on the test images, by seed; empty for classifiers."""
    learned_p_drop: Mapping[int, float]
    """The drop probability that the hidden sites learned, by seed; empty where none is learned."""
    diverged: frozenset[int]
    """Seeds."""
    failed: frozenset[int]
    run_ids: Mapping[int, str]
    """The ids of the runs that ended well, by seed."""
    examples: Mapping[str, float]
    """How many examples its errors are of, for ``train``, ``val`` and ``test``."""
    overflowing: frozenset[int] = frozenset()
    """Seeds of runs that ended well, though many of their steps overflowed in fp16 and were skipped."""
    tuning: Tuning | None = None
    """How the trial was chosen that all of this is of, where it had several."""

    @property
    def cells(self) -> dict[str, Any]:
        """The cells that tell it from others in a row of a table."""
        return {**self.axes, **(self.tuning.cells if self.tuning else {})}

    @property
    def drops_nothing(self) -> bool:
        """Whether this is a net without any dropout."""
        return all(self.axes[name] == 0 for name in PROBABILITIES)

    @property
    def net(self) -> tuple[Any, ...]:
        """The values that it shares with the settings that it can be compared with."""
        values = {name: sortable(self.axes[name]) for name in _SAME_NET}
        # Where nothing is dropped, nothing is corrected: he and corrected have one reference.
        return tuple((values | {"init": values["init"] == TORCH}).values())


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
    budget: Budget | None = None
    """The trials that every setting had, where each is shown at its own; ``fields`` lacks what was tuned."""
    raced: bool = False
    """Whether runs of it belong to a find, so that results decided which settings have more seeds."""

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that tell it from other sweeps."""
        return {**self.fields, **({"trials": self.budget.trials} if self.budget else {})}

    @property
    def reconstructs(self) -> bool:
        """Whether its nets are autoencoders, which have features and no test error."""
        return reconstructs(self.fields)

    @property
    def task(self) -> str:
        """The kind of its target, one of TASKS of dropbench.run.blocks.data."""
        return str(self.fields["task"])

    def test(self, setting: Setting) -> Mapping[int, float]:
        """The sweep's metric on the test examples, by seed."""
        return setting.test[self.metric.column]

    def train(self, setting: Setting) -> Mapping[int, float]:
        """The sweep's metric on training examples with dropout off, by seed."""
        return setting.train[self.metric.column]

    def val(self, setting: Setting) -> Mapping[int, float]:
        """The sweep's metric on the validation examples, by seed."""
        return setting.val[self.metric.column]

    @property
    def twice(self) -> str:
        """Words for a figure twice that of another, or what stands in its place (see LogDensity)."""
        if self.metric.of_density:
            return f"{math.log(DOUBLED):.2f} {self.metric.unit} more"
        return f"twice its {self.metric.what}"

    def scale(self, split: str, setting: Setting | None = None) -> Scale:
        """Where its metric on ``train``, ``val`` or ``test`` examples is tested, of one setting or of all."""
        of = self.settings if setting is None else (setting,)
        return scale_of(self.metric, max(each.examples[split] for each in of))

    @property
    def nets(self) -> list[list[Setting]]:
        """The settings, those together that have the same net and as many training examples."""
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
        free = (*OF_DROPOUT, "init") if setting.drops_nothing else ()  # which it has none of
        others = (axis for axis in AXES if axis != "p_drop" and axis not in free)
        alike = all(sortable(other.axes[axis]) == sortable(setting.axes[axis]) for axis in others)
        return alike and math.isclose(other.axes["p_drop"], self.reference_p)

    def contenders(self, settings: Sequence[Setting]) -> list[Setting]:
        """The settings that the best is chosen among: those with more than half as many seeds as any has."""
        most = max((len(self.val(setting)) for setting in settings), default=0)
        return [setting for setting in settings if 2 * len(self.val(setting)) > most]

    def common_seeds(self, settings: Sequence[Setting]) -> frozenset[int]:
        """The seeds with a value on validation in each of these settings."""
        found = [frozenset(self.val(setting)) for setting in settings]
        return frozenset.intersection(*found) if found else frozenset()

    def best(self, settings: Sequence[Setting]) -> Setting | None:
        """The setting with the lowest mean on the validation examples; the test examples have no say.

        Means are of the seeds that all contenders have, if there are any.
        """
        contenders = self.contenders(settings)
        seeds = self.common_seeds(contenders)

        def mean(setting: Setting) -> float:
            values = self.val(setting)
            return mean_of({seed: values[seed] for seed in seeds or values})

        return min(contenders, key=mean, default=None)

    @cached_property
    def _telling(self) -> list[str]:
        """The axes that differ among the settings that have them: without dropout there is no variant."""
        dropping = [setting for setting in self.settings if not setting.drops_nothing]
        return [
            axis
            for axis in self.varying
            if axis not in OF_DROPOUT or len({sortable(setting.axes[axis]) for setting in dropping}) > 1
        ]

    def label(self, setting: Setting) -> str:
        """The values that tell a setting from the others, in words."""
        cells = ((axis, axis_cell(axis)(setting.axes)) for axis in self._telling)
        return ", ".join(f"{axis} = {cell}" for axis, cell in cells if cell != NONE)


def reconstructs(fields: Mapping[str, Any]) -> bool:
    """Whether runs with these settings are autoencoders."""
    return bool(fields["model"] == "autoencoder")


def mean_of(by_seed: Mapping[int, float]) -> float:
    """NaN of nothing."""
    return sum(by_seed.values()) / len(by_seed) if by_seed else math.nan


def axis_values(settings: Iterable[Setting], axis: str) -> set[Any]:
    """The values of an axis; a start that is either of two is none by itself."""
    either = {EITHER} if axis == "init" else set()
    return {sortable(setting.axes[axis]) for setting in settings} - either


def axis_columns(sweep: Sweep) -> tuple[Column, ...]:
    """The columns that tell the settings apart, for rows that have their cells and p_keep."""
    extra = [axis for axis in sweep.varying if axis != "p_drop"]
    return (
        Column("p_drop", lambda row: axis_text(row["p_drop"])),
        Column("p_keep", lambda row: axis_text(row["p_keep"])),
        *(Column(SETTINGS[axis].title, axis_cell(axis)) for axis in extra),
        *tuned_columns(sweep.budget),
    )


def typed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The settings among the cells of a row, as values."""
    return {name: each.value(fields[name]) for name, each in SETTINGS.items() if name in fields}


def sweep_title(sweep: Sweep) -> str:
    """The model and the data, and how the runs were trained."""
    values = typed(sweep.fields)
    inits = axis_values(sweep.settings, "init")
    if len(inits) == 1:  # where they differ, a column tells them
        values["init"] = inits.pop()
    optimizers = axis_values(sweep.settings, "optimizer")
    if len(optimizers) == 1:
        (values["optimizer"],) = optimizers
    told = (*SETTING, *(name for name in ("init", "optimizer") if name in values))
    apart = list(words_apart(sweep.fields))
    own = [name for name in OF_OPTIMIZER if len(optimizers) > 1 and name in values and values[name] is None]
    if own:
        apart.append(f"every optimizer at its own {SETTINGS[own[0]].title}")
    values = {name: value for name, value in values.items() if name not in own}
    if sweep.budget is None:
        return telling.title(values, told, *apart)
    place = max(SETTING.index(name) for name in sweep.budget.names)
    before, after = (telling.unusual(values, names) for names in (told[:place], told[place:]))
    return telling.title(values, (), *apart, *before, f"each at its own {sweep.budget.own()}", *after)


def axis_cell(axis: str) -> Callable[[Row], str]:
    """The text of an axis in a row that has the cells of a setting."""

    def cell(row: Row) -> str:
        if axis in OF_DROPOUT and not any(row[name] for name in PROBABILITIES):
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
