"""Means over seeds, and differences between settings that were run on the same seeds."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over ``count`` seeds with its 95 % interval; ``low`` and ``high`` are NaN under two seeds."""

    mean: float
    low: float
    high: float
    count: int

    def text(self, digits: int = 2, signed: bool = False) -> str:
        """``1.23 [1.01, 1.45]``; without an interval where there is none, a dash where there is no mean."""
        if math.isnan(self.mean):
            return "–"
        sign = "+" if signed else ""
        mean = f"{self.mean:{sign}.{digits}f}"
        if math.isnan(self.low):
            return mean
        return f"{mean} [{self.low:{sign}.{digits}f}, {self.high:{sign}.{digits}f}]"

    @property
    def excludes_zero(self) -> bool:
        """Whether there is an interval, and 0 lies outside it."""
        return self.low > 0 or self.high < 0

    @property
    def half_width(self) -> float:
        """Of the interval; 0 where there is none."""
        return 0.0 if math.isnan(self.low) else self.mean - self.low

    def cells(self, name: str) -> dict[str, float]:
        """The numbers under names that start with ``name``, for exports."""
        return {name: self.mean, f"{name}_low": self.low, f"{name}_high": self.high}


def mean_interval(values: Sequence[float]) -> Estimate:
    """Mean and 95 % interval by Student's t, with the seeds as the unit of replication."""
    from scipy.special import stdtrit  # scipy.stats has the same quantile and takes 0.6 s to import

    count = len(values)
    if count == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = sum(values) / count
    if count == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    standard_error = statistics.stdev(values) / math.sqrt(count)
    half = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2)) * standard_error
    return Estimate(mean, mean - half, mean + half, count)


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Estimate:
    """Mean of ``values`` − ``reference`` over the seeds that both have, with its 95 % interval.

    Both map a seed to a figure. Runs of one seed share initial weights, splits and batch order, so their
    difference is freer of noise than the difference of two means.
    """
    return mean_interval(
        [values[seed] - reference[seed] for seed in sorted(values.keys() & reference.keys())]
    )
