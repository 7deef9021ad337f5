"""Means over seeds, and differences between settings that were run on the same seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dropbench.report.scale import PLAIN, Scale

CONFIDENCE = 0.95
ENOUGH_SEEDS = 6
"""The least number of seeds that is not called few."""
_NO_SPREAD = 1e-12
"""A variance this small a part of the squared values is what rounding leaves of none."""


@dataclass(frozen=True)
class Estimate:
    """A mean over ``count`` seeds with its 95 % interval; ``low`` and ``high`` are NaN if there is none."""

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
    def below(self) -> float:
        """How far the interval reaches below the mean; 0 where there is none."""
        return 0.0 if math.isnan(self.low) else self.mean - self.low

    @property
    def above(self) -> float:
        """How far the interval reaches above the mean; 0 where there is none."""
        return 0.0 if math.isnan(self.high) else self.high - self.mean

    def cells(self, name: str) -> dict[str, float]:
        """The numbers under names that start with ``name``, for exports."""
        return {name: self.mean, f"{name}_low": self.low, f"{name}_high": self.high}


NOTHING = Estimate(math.nan, math.nan, math.nan, 0)


def mean_interval(values: Sequence[float], scale: Scale = PLAIN) -> Estimate:
    """Mean and 95 % interval, with the seeds as the unit of replication.

    The interval is Student's t on the scale, taken back. There is none of one seed, nor of seeds that are
    all the same: what does not vary does not tell how much it would. The spread is never taken as less than
    what rounding to whole examples makes.
    """
    count = len(values)
    if count == 0:
        return NOTHING
    mean = sum(values) / count
    places = scale.forward(values)
    variance = float(np.var(places, ddof=1)) if count > 1 else math.nan
    if count == 1 or not spreads(scale.whole(values)):
        return Estimate(mean, math.nan, math.nan, count)
    error = math.sqrt(max(variance, float(scale.rounding(mean))) / count)
    reach = students_quantile(count - 1) * error
    low, high = (float(scale.back(places.mean() + side * reach)) for side in (-1, 1))
    return Estimate(mean, min(low, mean), max(high, mean), count)


def spreads(values: np.ndarray) -> bool:
    """Whether values differ by more than rounding makes them."""
    return bool(np.var(values) > _NO_SPREAD * np.mean(np.square(values)))


def students_quantile(degrees: float, tail: float = (1 - CONFIDENCE) / 2) -> float:
    """The quantile of Student's t with ``tail`` above it."""
    from scipy.special import stdtrit  # scipy.stats has the same quantile and takes 0.6 s to import

    return float(stdtrit(degrees, 1 - tail))


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Estimate:
    """Mean of ``values`` − ``reference`` over the seeds that both have, with its 95 % interval.

    Both map a seed to a figure without bounds. Runs of one seed share initial weights, splits and batch
    order, so their difference is freer of noise than the difference of two means.
    """
    return mean_interval(seed_differences(values, reference))


def seed_differences(values: Mapping[int, float], reference: Mapping[int, float]) -> list[float]:
    """``values`` − ``reference``, seed by seed."""
    return [values[seed] - reference[seed] for seed in sorted(values.keys() & reference.keys())]
