"""The test of differences between settings that were run on the same seeds, and what it could have found.

There is one, for sweeps, the paper's experiments and `--diff`. Settings that are compared with one another
form a table of settings × seeds, on the scale where their spreads are alike (`dropbench.report.scale`). The
seeds are blocks: what a seed does to all settings cancels. docs/statistics.md has its properties.
"""

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from dropbench.report.scale import PLAIN, Scale
from dropbench.report.statistics import NOTHING, Estimate, spreads, students_quantile

LEVEL = 0.05
POWER = 0.8
_ODD = 0.25
"""The level of the tests that look for a setting whose spread is larger than the others'."""
_TRUSTED = 0.8
"""The part of the pooled variance up to which a pair's own variance speaks for pooling."""
_DOUBLED = 2.0
_FEW_SEEDS = (3, 4)
_Array = np.ndarray[Any, Any]
_Name = TypeVar("_Name", bound=Hashable)


@dataclass(frozen=True)
class Tested:
    """A setting against another, over the seeds that both have.

    ``p`` is that of the test, ``p_holm`` the same corrected for all tests of the family (Holm 1979); both
    NaN where there is no test: under two seeds, or where nothing varies. The interval of the difference and
    of the ratio belong to ``p``: they exclude 0 and 1 where it is below 5 %.
    """

    difference: Estimate
    """In the unit of the figure; the interval is taken back from the scale at the reference's mean."""
    ratio: Estimate
    """How many times the reference's figure the setting's is."""
    p: float
    p_holm: float
    p_better: float
    """The share of seeds in which the setting has the lower figure, ties half."""
    same: bool
    """Whether the two have the same figure on every seed, two at least."""
    smallest_effect: float
    """The smallest difference that it finds with a chance of 80 %, before Holm's correction."""
    sees_doubling: bool
    """Whether it would find, with that chance, that a figure doubled or halved."""

    @property
    def significant(self) -> bool:
        """Whether the corrected test finds a difference."""
        return self.p_holm < LEVEL

    @property
    def alike(self) -> bool:
        """Whether nothing tells the two apart, though a figure of twice the size would have been seen."""
        if self.same:
            return True
        untold = not math.isnan(self.p_holm) and not self.significant and self.sees_doubling
        return untold and not self.far

    @property
    def far(self) -> bool:
        """Whether the setting's figure is over twice the reference's, or under half of it."""
        return self.ratio.mean > _DOUBLED or self.ratio.mean < 1 / _DOUBLED


def compare(
    series: Mapping[_Name, Mapping[int, float]], pairs: Sequence[tuple[_Name, _Name]], scale: Scale = PLAIN
) -> list[Tested]:
    """Test each pair (setting, reference) of ``series``, figures by seed, as one family.

    The table of a pair holds the settings that are compared with one of its two, directly or through others.
    """
    judged: list[Judged | None] = [None] * len(pairs)
    for names in _tables(pairs):
        inside = [number for number, (name, _) in enumerate(pairs) if name in names]
        found = _judge_table([series[name] for name in names], scale, [
            (names.index(pairs[number][0]), names.index(pairs[number][1])) for number in inside
        ])  # fmt: skip
        for number, one in zip(inside, found, strict=True):
            judged[number] = one
    corrected = holm(np.array([math.nan if one is None else one.p for one in judged]))
    return [
        _told(series[name], series[reference], one, float(p_holm), scale)
        for (name, reference), one, p_holm in zip(pairs, judged, corrected, strict=True)
    ]


def _tables(pairs: Sequence[tuple[_Name, _Name]]) -> list[list[_Name]]:
    """The names that pairs connect, directly or through others."""
    tables: list[list[_Name]] = []
    for pair in pairs:
        touched = [table for table in tables if not set(pair).isdisjoint(table)]
        merged = list(dict.fromkeys([*(name for table in touched for name in table), *pair]))
        tables = [*(table for table in tables if table not in touched), merged]
    return tables


@dataclass(frozen=True)
class Judged:
    """Differences on the scale with their standard errors, degrees of freedom and p-values."""

    effect: Any
    error: Any
    degrees: Any
    p: Any
    tested_error: Any
    """The standard error and the degrees of freedom that p is from; of few seeds the interval has others."""
    tested_degrees: Any


def _judge_table(
    rows: Sequence[Mapping[int, float]], scale: Scale, pairs: Sequence[tuple[int, int]]
) -> list[Judged | None]:
    """One table; None where a pair has under two seeds in common, or nothing in the table varies."""
    # A row or a seed with one value alone says nothing of residuals.
    kept = [number for number, row in enumerate(rows) if len(row) > 1]
    counts = Counter(seed for number in kept for seed in rows[number])
    seeds = sorted(seed for seed, count in counts.items() if count > 1)
    places = {number: place for place, number in enumerate(kept)}
    tested = [pair for pair in pairs if len(rows[pair[0]].keys() & rows[pair[1]].keys()) > 1]
    values = np.array([[rows[number].get(seed, math.nan) for seed in seeds] for number in kept])
    if not tested or not _varies(scale.whole(values)):
        return [None] * len(pairs)
    chosen = [(places[one], places[other]) for one, other in tested]
    found = judge(scale.forward(values), chosen, scale.rounding(np.nanmean(values, 1)))
    by_pair = {
        pair: Judged(*(float(each[number]) for each in vars(found).values()))
        for number, pair in enumerate(tested)
    }
    return [by_pair.get(pair) for pair in pairs]


def _varies(table: _Array) -> bool:
    """Whether anything remains when the means of settings and seeds are taken away."""
    rest = _least_squares(table)[0]
    size = float(np.nansum(np.square(table)))
    return bool(rest > 1e-18 * size) and spreads(table[~np.isnan(table)])


def judge(table: _Array, pairs: Sequence[tuple[int, int]], rounding: Any = 0.0) -> Judged:
    """Test the pairs of rows of a table of settings × seeds; each has two seeds in common, at least.

    ``table`` is ``(…, settings, seeds)``. One table may lack values (NaN); many are judged at once where
    nothing lacks. ``rounding``, one for all rows or one for each, is the least variance of a value.

    Under one spread for all, it is the t-test of randomised blocks: the residuals of the additive model give
    one variance, with (settings − 1)(seeds − 1) degrees of freedom where nothing lacks (Fisher 1935; least
    squares otherwise). A spread is odd where the residuals of a setting are larger than those of all others,
    by an F-test at 25 %: of the reference, or of any setting (Bonferroni). In a table with an odd spread, or
    for a pair of odd reference, it is the paired t-test. Elsewhere the variance is the pooled one, or that of
    the pair's own differences if it is larger; and from 0.8 times the pooled variance on, the degrees of
    freedom fall to seeds − 1, linearly over (seeds − 3)/4 times the pooled variance more, at most once.
    These numbers were found by simulation (tests/benchmarks/families.py).

    With 3 or 4 seeds neither an odd spread nor a pair's own variance tells much. There the test takes the
    larger of each setting's own variance and the pooled one (_of_few). The interval stays as said, since that
    variance would cover too often.
    """
    from scipy.special import stdtr

    ones, others = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    differences = table[..., ones, :] - table[..., others, :]
    common = (~np.isnan(differences)).sum(-1)
    own_degrees = common - 1
    paired_effect = np.nanmean(differences, -1)
    least = (np.broadcast_to(rounding, table.shape[:-1])[..., [ones, others]]).sum(-2)
    own = np.maximum(np.nanvar(differences, -1, ddof=1), least) / common
    if np.isnan(table).any():
        effect, weights, rest, degrees, unlike = _unbalanced(table, ones, others)
    else:
        effect, weights, rest, degrees, unlike = _balanced(table, ones, others)
    pooled = np.maximum(rest / degrees, least / 2) * weights
    odd = (unlike.min(-1, keepdims=True) * unlike.shape[-1] < _ODD) | (unlike[..., others] < _ODD)
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.maximum(own / pooled - _TRUSTED, 0)
        allowed = np.clip((common - 3) / 4, 0, 1)
        trust = np.where(excess > 0, np.clip(1 - excess / allowed, 0, 1), 1.0)
    variance = np.where(odd, own, np.maximum(pooled, own))
    degrees = np.where(odd, own_degrees, own_degrees + (degrees - own_degrees) * trust)
    effect, error = np.where(odd, paired_effect, effect), np.sqrt(variance)
    tested = error, degrees
    if table.shape[-2] > 2 and table.shape[-1] in _FEW_SEEDS and not np.isnan(table).any():
        tested = _of_few(table, ones, others, rounding)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(tested[0] > 0, 2 * stdtr(tested[1], -np.abs(effect / tested[0])), math.nan)
    return Judged(effect, error, degrees, p, *tested)


def _of_few(table: _Array, ones: _Array, others: _Array, rounding: Any) -> tuple[_Array, _Array]:
    """Standard errors and degrees of freedom (Satterthwaite 1946) with a variance for each setting.

    It is estimated from the setting's residuals (Grubbs 1948), and never taken as less than the pooled one.
    """
    settings, seeds = table.shape[-2:]
    centred = table - table.mean(-1, keepdims=True)
    by_row = np.square(centred - centred.mean(-2, keepdims=True)).sum(-1) / (seeds - 1)
    total = by_row.sum(-1, keepdims=True)
    pooled = np.maximum(total / (settings - 1), np.broadcast_to(rounding, table.shape[:-1]))
    own = settings / (settings - 2) * (by_row - total / (settings * (settings - 1)))
    variance = np.maximum(own, pooled)
    most = (settings - 1) * (seeds - 1)
    spread = np.square(variance) / np.where(own > pooled, seeds - 1, most)
    both = variance[..., ones] + variance[..., others]
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = np.square(both) / (spread[..., ones] + spread[..., others])
    return np.sqrt(both / seeds), np.clip(np.nan_to_num(degrees, nan=1.0), seeds - 1, most)


def _balanced(table: _Array, ones: _Array, others: _Array) -> tuple[_Array, Any, _Array, Any, _Array]:
    """Differences, their variance per residual variance, residuals, degrees of freedom, and oddities."""
    settings, seeds = table.shape[-2:]
    centred = table - table.mean(-1, keepdims=True)
    by_row = np.square(centred - centred.mean(-2, keepdims=True)).sum(-1)
    rest = by_row.sum(-1, keepdims=True)
    means = table.mean(-1)
    unlike = np.ones_like(by_row)
    if settings > 2:
        # Without a row, the residuals of the others lose settings/(settings − 1) times what the row has.
        share = by_row * settings / (settings - 1) / np.where(rest > 0, rest, 1)
        unlike = _larger(share, seeds - 1, (settings - 2) * (seeds - 1))
    return means[..., ones] - means[..., others], 2 / seeds, rest, (settings - 1) * (seeds - 1), unlike


def _unbalanced(table: _Array, ones: _Array, others: _Array) -> tuple[_Array, _Array, Any, Any, _Array]:
    """Return the same as _balanced, of one table, by least squares."""
    rest, degrees, effects, spread = _least_squares(table)
    unlike = np.ones(len(table))
    for row in range(len(table)):
        fewer, left, *_ = _least_squares(np.delete(table, row, 0))
        if 0 < left < degrees and rest > 0:
            unlike[row] = _larger(np.clip(1 - fewer / rest, 0, 1), degrees - left, left)
    weights = spread[ones, ones] + spread[others, others] - 2 * spread[ones, others]
    return effects[ones] - effects[others], weights, rest, degrees, unlike


def _larger(share: Any, degrees: float, others: float) -> Any:
    """The p-value of the F-test that a share of a sum of squares is no larger than its degrees of freedom."""
    from scipy.special import betaincc

    return betaincc(degrees / 2, others / 2, np.clip(share, 0, 1))


def _least_squares(table: _Array) -> tuple[float, int, _Array, _Array]:
    """Settings + seeds fitted to what is there: residuals, degrees of freedom, effects, their covariance."""
    there = ~np.isnan(table)
    values = np.where(there, table, 0.0)
    settings = len(table)
    corner = there.astype(float)
    normal = np.block([[np.diag(corner.sum(1)), corner], [corner.T, np.diag(corner.sum(0))]])
    inverse = np.linalg.pinv(normal, hermitian=True)
    fit = inverse @ np.concatenate([values.sum(1), values.sum(0)])
    residuals = np.where(there, table - fit[:settings, None] - fit[None, settings:], 0.0)
    degrees = int(there.sum() - np.linalg.matrix_rank(normal, hermitian=True))
    return float(np.square(residuals).sum()), degrees, fit[:settings], inverse[:settings, :settings]


def holm(p: _Array) -> _Array:
    """Correct p-values by Holm's step-down method along the last axis; NaN is no test (Holm 1979)."""
    order = np.argsort(p, -1)
    ranked = np.take_along_axis(p, order, -1)
    tests = np.isfinite(p).sum(-1, keepdims=True)
    steps = np.maximum.accumulate(np.minimum(1, ranked * (tests - np.arange(p.shape[-1]))), -1)
    corrected = np.full_like(p, math.nan)
    np.put_along_axis(corrected, order, np.where(np.isnan(ranked), math.nan, steps), -1)
    return corrected


def _told(
    values: Mapping[int, float],
    reference: Mapping[int, float],
    judged: Judged | None,
    p_holm: float,
    scale: Scale,
) -> Tested:
    """A judged pair in the unit of its figures."""
    seeds = sorted(values.keys() & reference.keys())
    if not seeds:
        return Tested(NOTHING, NOTHING, math.nan, math.nan, math.nan, False, math.nan, False)
    ours, theirs = (np.array([each[seed] for seed in seeds]) for each in (values, reference))
    steps = scale.whole(ours) - scale.whole(theirs)
    p_better = float(np.mean((steps < 0) + 0.5 * (steps == 0)))
    same = len(seeds) > 1 and not steps.any()
    start = float(theirs.mean())
    mean = float(ours.mean()) - start
    none = Estimate(mean, math.nan, math.nan, len(seeds))
    if judged is None:
        ratio = Estimate((start + mean) / start if start else math.nan, math.nan, math.nan, len(seeds))
        return Tested(none, ratio, math.nan, math.nan, p_better, same, math.nan, False)
    place = float(scale.forward(start))
    reach = students_quantile(judged.degrees) * judged.error
    low, high = (float(scale.back(place + judged.effect + side * reach)) for side in (-1, 1))
    seen = _seen(judged.tested_degrees) * judged.tested_error
    up, down = float(scale.back(place + seen)) - start, start - float(scale.back(place - seen))
    halved = place - float(scale.forward(start / _DOUBLED)) if start > 0 else math.log(_DOUBLED)
    return Tested(
        Estimate(mean, min(low - start, mean), max(high - start, mean), len(seeds)),
        _ratio(mean, low, high, start, len(seeds)),
        judged.p,
        p_holm,
        p_better,
        same,
        up if mean >= 0 else down,
        seen <= halved,
    )


def _ratio(mean: float, low: float, high: float, start: float, seeds: int) -> Estimate:
    """How many times the reference's mean, ``start``, a figure is that is ``mean`` above it."""
    if not start:
        return NOTHING
    ratio = (start + mean) / start
    return Estimate(ratio, min(low / start, ratio), max(high / start, ratio), seeds)


def _seen(degrees: float) -> float:
    """The effect, in standard errors, that a two-sided t-test finds with a chance of POWER.

    The non-centrality of t (Johnson, Kotz & Balakrishnan 1995, chapter 31).
    """
    from scipy.special import nctdtrinc

    return float(nctdtrinc(degrees, 1 - POWER, students_quantile(degrees, LEVEL / 2)))


def test_images_needed(one: float, other: float) -> int:
    """How many test images tell two error rates apart, in percent, at 5 % with a chance of 80 %.

    The two-proportion formula (Fleiss, Levin & Paik 2003, equation 4.14, without continuity correction).
    Both nets predict the same images, so that fewer may do. 0 where the rates are the same.
    """
    if one == other:
        return 0
    from scipy.special import ndtri

    p, q = one / 100, other / 100
    middle = (p + q) / 2
    at_level = float(ndtri(1 - LEVEL / 2)) * math.sqrt(2 * middle * (1 - middle))
    at_power = float(ndtri(POWER)) * math.sqrt(p * (1 - p) + q * (1 - q))
    return math.ceil(((at_level + at_power) / (p - q)) ** 2)
