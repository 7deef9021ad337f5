"""The figures that settings are compared in."""

from collections.abc import Iterable
from dataclasses import dataclass

from dropbench.catalog.registry import Registry


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

    def value(self, number: float) -> str:
        """A figure in words, with its unit."""
        return f"{number:.{self.digits}f}{self.suffix}"

    @property
    def suffix(self) -> str:
        """The unit as it stands after a figure."""
        return " %" if self.unit == "points" else f" {self.unit}".rstrip()


METRICS = Registry(
    "metric",
    {
        metric.name: metric
        for metric in (
            Metric("error", "error_percent", "error, %", "points", 2),
            Metric("nll", "nll", "NLL, nats", "nats", 3),
            Metric("brier", "brier", "Brier score", "", 4),
            Metric("ece", "ece", "ECE", "", 4),
        )
    },
)
ERROR = METRICS["error"]


def columns() -> Iterable[str]:
    """The names of all figures in runs.csv, without the split."""
    return (metric.column for metric in METRICS.values())
