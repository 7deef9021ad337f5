"""The metrics that settings are compared in, and the task that each belongs to."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dropbench.catalog.registry import Registry
from dropbench.errors import UsageError
from dropbench.run.blocks.data import CLASSIFICATION, REGRESSION

_SIGNIFICANT = 4
"""Digits of a figure whose unit is the target's."""
_MOST_DIGITS = 12


@dataclass(frozen=True)
class Metric:
    """One figure of runs.csv, lower is better: ``val_`` and ``test_`` stand before ``column``."""

    name: str
    """Its name on the command line and in the names of files."""
    column: str
    label: str
    """Its name with the unit, for the axis of a picture."""
    unit: str
    """The unit of a difference."""
    digits: int
    of_target: bool = False
    """Whether it is in the unit of the target, whatever that is."""
    of_density: bool = False
    """Whether it is the negative logarithm of a density, which has no lower bound and no ratios."""

    def value(self, number: float) -> str:
        """A figure in words, with its unit."""
        return f"{number:.{self.digits}f}{self.suffix}"

    @property
    def suffix(self) -> str:
        """The unit as it stands after a figure."""
        return " %" if self.unit == "points" else f" {self.unit}".rstrip()

    @property
    def what(self) -> str:
        """Its name without the unit, for sentences."""
        return self.label.partition(",")[0]

    @property
    def heading(self) -> str:
        """The same at the start of a title."""
        return f"{self.what[0].upper()}{self.what[1:]}"

    def fitted(self, values: Iterable[float]) -> "Metric":
        """The metric with the digits that figures like these need: four significant ones of the smallest.

        Only one in the unit of the target changes: prices and concentrations are of different sizes.
        """
        sizes = [abs(value) for value in values if math.isfinite(value) and value]
        if not self.of_target or not sizes:
            return self
        digits = _SIGNIFICANT - 1 - math.floor(math.log10(min(sizes)))
        return replace(self, digits=min(max(digits, 0), _MOST_DIGITS))


ERROR = Metric("error", "error_percent", "error, %", "points", 2)
RMSE = Metric("rmse", "rmse", "RMSE", "", 3, of_target=True)
COVERAGE = Metric("coverage", "coverage_error", "coverage error", "", 4)
OF_TASK = {
    CLASSIFICATION: (
        ERROR,
        Metric("nll", "nll", "NLL, nats", "nats", 3),
        Metric("brier", "brier", "Brier score", "", 4),
        Metric("ece", "ece", "ECE", "", 4),
    ),
    REGRESSION: (
        RMSE,
        Metric("nll", "nll", "NLL, nats", "nats", 3, of_density=True),
        COVERAGE,
    ),
}
"""The metrics of each task, its default first."""
METRICS = Registry("metric", {metric.name: metric for metric in (*OF_TASK[CLASSIFICATION], RMSE, COVERAGE)})
"""Every metric by its name; what tasks share is that of classification."""


def metrics_of(task: str) -> tuple[Metric, ...]:
    """The metrics of a task, its default first; of one that a later dropbench recorded those of classes."""
    return OF_TASK.get(task, OF_TASK[CLASSIFICATION])


def find_metric(name: str, task: str) -> Metric | None:
    """The metric of a task with this name, its default for an empty one; None where it has none of the name.

    Raises:
        UsageError: if no task has one of this name.

    """
    if not name:
        return metrics_of(task)[0]
    METRICS.find(name)
    return next((metric for metric in metrics_of(task) if metric.name == name), None)


def lacking(name: str, task: str) -> UsageError:
    """The error that a task has no metric of this name."""
    *others, last = (metric.name for metric in metrics_of(task))
    a_task = "A classification" if task == CLASSIFICATION else "A regression"
    return UsageError(f"{a_task} has no metric {name}.", f"It has {', '.join(others)} and {last}.")


def columns(task: str) -> Iterable[str]:
    """The names of a task's figures in runs.csv, without the split."""
    return (metric.column for metric in metrics_of(task))
