"""Tests of differences between settings that were run on the same seeds, and what they could have found."""

import bisect
import functools
import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dropbench.report.statistics import Estimate, mean_interval, seed_differences

LEVEL = 0.05
POWER = 0.8
MEANINGFUL = 0.75
"""P(A better than B) from which on Bouthillier et al. (2021) call a difference meaningful."""


@dataclass(frozen=True)
class PairedTest:
    """A setting against another, by the differences of their seeds.

    ``p`` is that of the paired t-test, ``p_holm`` the same corrected for all tests of the family (Holm 1979);
    both NaN where there is no test: under two seeds, or if all differences are the same. ``p_better`` is the
    share of seeds in which the setting has the lower figure, ties half.
    """

    difference: Estimate
    p: float
    p_holm: float
    p_better: float
    deviation: float
    """Standard deviation of the differences."""

    @property
    def same(self) -> bool:
        """Whether the two have the same figure on every seed, two at least."""
        return self.deviation == self.difference.mean == 0

    @property
    def significant(self) -> bool:
        """Whether the corrected test finds a difference."""
        return self.p_holm < LEVEL

    @property
    def smallest_effect(self) -> float:
        """The smallest difference that this many seeds find with a chance of 80 %; NaN under two seeds."""
        if self.difference.count < 2:
            return math.nan
        return self.deviation * _effect_size(self.difference.count)

    @property
    def seeds_needed(self) -> float:
        """How many seeds would find a difference as large as the mean one; NaN where none is."""
        if not self.deviation > 0 or self.difference.mean == 0:
            return math.nan
        return _seeds(round(abs(self.difference.mean) / self.deviation, 3))


def paired_tests(pairs: Sequence[tuple[Mapping[int, float], Mapping[int, float]]]) -> list[PairedTest]:
    """Test each ``(values, reference)`` pair, both by seed, with Holm's correction over all of them."""
    found = [seed_differences(values, reference) for values, reference in pairs]
    raw = [_paired_t(each) for each in found]
    tested = [number for number, p in enumerate(raw) if not math.isnan(p)]
    corrected = list(raw)
    if len(tested) > 1:
        from statsmodels.stats.multitest import multipletests

        gc.freeze()  # it collects garbage at every call, which otherwise takes longer than all the rest
        try:
            _, adjusted, _, _ = multipletests([raw[number] for number in tested], method="holm")
        finally:
            gc.unfreeze()
        for number, p in zip(tested, adjusted, strict=True):
            corrected[number] = float(p)
    return [
        PairedTest(mean_interval(each), p, p_holm, _share_below(each), _deviation(each))
        for each, p, p_holm in zip(found, raw, corrected, strict=True)
    ]


def _paired_t(values: Sequence[float]) -> float:
    from scipy.stats import ttest_1samp

    if _deviation(values) > 0:
        return float(ttest_1samp(values, 0).pvalue)
    return math.nan


def _deviation(values: Sequence[float]) -> float:
    """NaN under two values; exactly 0 for equal ones, whatever the rounding of their mean."""
    if len(values) < 2:
        return math.nan
    if len(set(values)) == 1:
        return 0.0
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _share_below(values: Sequence[float]) -> float:
    if not values:
        return math.nan
    return sum((value < 0) + 0.5 * (value == 0) for value in values) / len(values)


@functools.cache
def _effect_size(seeds: int) -> float:
    """The smallest effect that so many seeds find, in standard deviations of the differences."""
    from statsmodels.stats.power import TTestPower

    return float(TTestPower().solve_power(nobs=seeds, alpha=LEVEL, power=POWER, alternative="two-sided"))


@functools.cache
def _seeds(effect_size: float) -> int:
    """The fewest that find an effect of so many standard deviations."""
    from statsmodels.stats.power import TTestPower

    def enough(seeds: int) -> bool:
        return bool(TTestPower().power(effect_size, seeds, LEVEL) >= POWER)

    most = 2
    while not enough(most):
        most *= 2
    return bisect.bisect_left(range(2, most + 1), True, key=enough) + 2
