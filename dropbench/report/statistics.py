"""Means over seeds, and seed_differences between settings that were run on the same seeds."""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
ENOUGH_SEEDS = 6
"""The least number of seeds for intervals by the bootstrap, without a warning of too few."""
_RESAMPLES = 2000


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


def mean_interval(values: Sequence[float]) -> Estimate:
    """Mean and 95 % interval, with the seeds as the unit of replication.

    From ENOUGH_SEEDS on by the studentised bootstrap (Efron & Tibshirani 1993, section 12.5). Of fewer values
    no resampling makes an interval that holds (the percentiles of three cover 75 %): there it is Student's
    t, and also where most values are the same, so that too many resamples have no spread.
    """
    count = len(values)
    if count == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    mean = sum(values) / count
    if count == 1:
        return Estimate(mean, math.nan, math.nan, 1)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    quantiles = None if count < ENOUGH_SEEDS else _studentised_quantiles(np.asarray(values, float) - mean)
    low, high = quantiles or _students_quantiles(count)
    return Estimate(mean, mean - high * error, mean - low * error, count)


def _students_quantiles(count: int) -> tuple[float, float]:
    from scipy.special import stdtrit  # scipy.stats has the same quantile and takes 0.6 s to import

    reach = float(stdtrit(count - 1, (1 + CONFIDENCE) / 2))
    return -reach, reach


def _studentised_quantiles(deviations: np.ndarray) -> tuple[float, float] | None:
    """The quantiles of (mean of a resample)/(its own standard error), for deviations from a mean.

    None where so many resamples have no spread, being of one value, that the quantiles are among them.
    """
    count = len(deviations)
    weights = _resamples(count)
    means = weights @ deviations / count
    variances = (weights @ deviations**2 / count - means**2) * count / (count - 1)
    spread = variances > 1e-12 * np.square(deviations).max()
    tail = (1 - CONFIDENCE) / 2
    if 1 - spread.mean() >= tail:
        return None
    low, high = np.quantile(means[spread] / np.sqrt(variances[spread] / count), (tail, 1 - tail))
    return float(low), float(high)


@functools.cache
def _resamples(count: int) -> np.ndarray:
    """How often each of ``count`` values is drawn, ``(resamples, count)``: always the same draws."""
    generator = np.random.default_rng(count)
    return generator.multinomial(count, np.full(count, 1 / count), _RESAMPLES).astype(float)


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Estimate:
    """Mean of ``values`` − ``reference`` over the seeds that both have, with its 95 % interval.

    Both map a seed to a figure. Runs of one seed share initial weights, splits and batch order, so their
    difference is freer of noise than the difference of two means.
    """
    return mean_interval(seed_differences(values, reference))


def seed_differences(values: Mapping[int, float], reference: Mapping[int, float]) -> list[float]:
    """``values`` − ``reference``, seed by seed."""
    return [values[seed] - reference[seed] for seed in sorted(values.keys() & reference.keys())]
