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

from dropbench.report.blocks import Judged, judge, least_squares
from dropbench.report.scale import DOUBLED, PLAIN, Scale
from dropbench.report.statistics import NOTHING, Estimate, spreads, students_quantile

LEVEL = 0.05
POWER = 0.8
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
    """How many times the reference's figure the setting's is; NaN on a scale without ratios."""
    p: float
    p_holm: float
    p_better: float
    """The share of seeds in which the setting has the lower figure, ties half."""
    same: bool
    """Whether the two have the same figure on every seed, two at least."""
    smallest_effect: float
    """The smallest difference that it finds with a chance of 80 %, before Holm's correction."""
    sees_doubling: bool
    """Whether it would find, with that chance, that a figure doubled or halved (see LogDensity)."""
    far: bool
    """Whether the setting's figure is over twice the reference's, or under half of it (see LogDensity)."""

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
    rest = least_squares(table)[0]
    size = float(np.nansum(np.square(table)))
    return bool(rest > 1e-18 * size) and spreads(table[~np.isnan(table)])


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
        return Tested(NOTHING, NOTHING, math.nan, math.nan, math.nan, False, math.nan, False, False)
    ours, theirs = (np.array([each[seed] for seed in seeds]) for each in (values, reference))
    steps = scale.whole(ours) - scale.whole(theirs)
    p_better = float(np.mean((steps < 0) + 0.5 * (steps == 0)))
    same = len(seeds) > 1 and not steps.any()
    start = float(theirs.mean())
    mean = float(ours.mean()) - start
    far = _far(mean, start, scale)
    none = Estimate(mean, math.nan, math.nan, len(seeds))
    if judged is None:
        ratio = _ratio(mean, math.nan, math.nan, start, len(seeds), scale)
        return Tested(none, ratio, math.nan, math.nan, p_better, same, math.nan, False, far)
    place = float(scale.forward(start))
    reach = students_quantile(judged.degrees) * judged.error
    low, high = (float(scale.back(place + judged.effect + side * reach)) for side in (-1, 1))
    seen = _seen(judged.tested_degrees) * judged.tested_error
    up, down = float(scale.back(place + seen)) - start, start - float(scale.back(place - seen))
    halves = scale.ratios and start > 0
    halved = place - float(scale.forward(start / DOUBLED)) if halves else math.log(DOUBLED)
    return Tested(
        Estimate(mean, min(low - start, mean), max(high - start, mean), len(seeds)),
        _ratio(mean, low, high, start, len(seeds), scale),
        judged.p,
        p_holm,
        p_better,
        same,
        up if mean >= 0 else down,
        seen <= halved,
        far,
    )


def _far(mean: float, start: float, scale: Scale) -> bool:
    """Whether a figure ``mean`` above the reference's, ``start``, is over twice that or under half of it."""
    if not scale.ratios:
        return abs(mean) > math.log(DOUBLED)
    return bool(start) and not 1 / DOUBLED <= (start + mean) / start <= DOUBLED


def _ratio(mean: float, low: float, high: float, start: float, seeds: int, scale: Scale) -> Estimate:
    """How many times the reference's mean, ``start``, a figure is that is ``mean`` above it."""
    if not start or not scale.ratios:
        return NOTHING
    ratio = (start + mean) / start
    if math.isnan(low):
        return Estimate(ratio, math.nan, math.nan, seeds)
    return Estimate(ratio, min(low / start, ratio), max(high / start, ratio), seeds)


def _seen(degrees: float) -> float:
    """The effect, in standard errors, that a two-sided t-test finds with a chance of POWER.

    The non-centrality of t (Johnson, Kotz & Balakrishnan 1995, chapter 31).
    """
    from scipy.special import nctdtrinc

    return float(nctdtrinc(degrees, 1 - POWER, students_quantile(degrees, LEVEL / 2)))


def test_examples_needed(one: float, other: float) -> int:
    """How many test examples tell two error rates apart, in percent, at 5 % with a chance of 80 %.

    The two-proportion formula (Fleiss, Levin & Paik 2003, equation 4.14, without continuity correction).
    Both nets predict the same examples, so that fewer may do. 0 where the rates are the same.
    """
    if one == other:
        return 0
    from scipy.special import ndtri

    p, q = one / 100, other / 100
    middle = (p + q) / 2
    at_level = float(ndtri(1 - LEVEL / 2)) * math.sqrt(2 * middle * (1 - middle))
    at_power = float(ndtri(POWER)) * math.sqrt(p * (1 - p) + q * (1 - q))
    return math.ceil(((at_level + at_power) / (p - q)) ** 2)
