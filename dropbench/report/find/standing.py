"""The test of a race: intervals of differences that hold at all looks together, and what follows from them.

docs/statistics.md has what they rest on.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dropbench.report.blocks import own_variances, satterthwaite, varies
from dropbench.report.metrics import ERROR, Metric

LEVEL = 0.05
"""The chance of any wrong statement in a whole race."""
FIRST_LOOK = 3
"""Seeds before the first test; two tell no spread."""
_LARGE, _SMALL = 5.0, 1.5
"""The sizes of differences, in standard deviations of a setting, that intervals are narrowest for: those by
which a setting is worse, and those by which it is no better."""
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Within:
    """A difference that does not matter: ``least``, in its unit, or a share of the figure if larger."""

    least: float = 0.0
    share: float = 0.0

    @classmethod
    def usual(cls, metric: Metric) -> "Within":
        """The one where nobody tells it: 0.2 points of an error, and 2 % of it; 0.02 nats of a density."""
        if metric.of_density:
            return cls(least=0.02)
        return cls(least=0.2 if metric == ERROR else 0.0, share=0.02)

    def at(self, figure: float) -> float:
        """The difference that does not matter beside a figure of this size."""
        return max(self.least, self.share * abs(figure))


@dataclass(frozen=True)
class Standing:
    """Where a race stands, or many at once: arrays ``(…, settings)`` and ``(…, settings, settings)``.

    - ``active``: the settings that are trained on: the best, and those that are open.
    - ``out``: those that are worse than one that was the best, or gave no result.
    - ``effects``: how far the first of two is above the second on the scale, at the last look at which both
      were active; NaN before.
    - ``reach``: how far the interval of that goes to both sides; infinite before.
    - ``short``: the same of the interval by which a setting is said to be no better.
    - ``best``: the number of the setting with the lowest mean, ``(…)``.
    - ``decided``: whether no setting is open, ``(…)``.
    """

    active: _Array
    out: _Array
    effects: _Array
    reach: _Array
    short: _Array
    best: _Array
    decided: _Array

    @classmethod
    def start(cls, *shape: int) -> "Standing":
        """The standing before the first look; the last number of ``shape`` is that of the settings."""
        pairs = (*shape, shape[-1])
        return cls(
            np.ones(shape, bool),
            np.zeros(shape, bool),
            np.full(pairs, math.nan),
            np.full(pairs, math.inf),
            np.full(pairs, math.inf),
            np.zeros(shape[:-1], int),
            np.zeros(shape[:-1], bool),
        )

    def to_best(self, pairs: _Array) -> _Array:
        """The values ``(…, settings)`` of each setting and the best, of values of all pairs."""
        return np.take_along_axis(pairs, self.best[..., None, None], -1)[..., 0]


def look(before: Standing, table: _Array, within: Any, rounding: Any = 0.0) -> Standing:
    """Look at a table ``(…, settings, seeds)`` on the scale, which has all seeds of the active settings.

    A setting that is worse than the best beyond doubt is out. One that is at most ``within`` better is no
    longer trained, but where another setting becomes the best, it may be open again. ``within`` is on the
    scale, ``rounding`` the least variance of a value.
    """
    active = before.active
    effects, reach, short = intervals(table, active, rounding)
    both = active[..., :, None] & active[..., None, :]
    best = np.where(active, table.mean(-1), math.inf).argmin(-1)
    found = Standing(
        active,
        before.out,
        np.where(both, effects, before.effects),
        np.where(both, reach, before.reach),
        np.where(both, short, before.short),
        best,
        before.decided,
    )
    own = np.arange(active.shape[-1]) == best[..., None]
    effect, reach, short = (found.to_best(each) for each in (found.effects, found.reach, found.short))
    out = before.out | (~own & (effect > reach))
    is_open = ~out & ~own & ~(effect + np.asarray(within)[..., None] >= short)
    return replace(found, active=own | is_open, out=out, decided=~is_open.any(-1))


def intervals(table: _Array, active: _Array, rounding: Any = 0.0) -> tuple[_Array, _Array, _Array]:
    """Return the differences of all pairs of active settings, and how far their intervals go to both sides.

    The interval of a pair has all differences d for which the e-value

        E(d) = (1 + m)^(−½) · [(1 + t²/ν) / (1 + t²/(ν (1 + m)))]^((ν + 1)/2),  t = (difference − d)/error,

    is below a bound B, with m = effect² · seeds/2: the Bayes factor of the t-test with a normal prior on the
    standardised difference (Lai 1976; Wang & Ramdas 2025, arXiv 2310.03722). Where d is true it is a
    non-negative martingale with mean 1, so that the chance that it ever reaches a bound B is at most 1/B
    (Ville 1939), whenever it is looked at. Each side has half of that, by symmetry. Error and degrees of
    freedom ν are those of the test of few seeds (dropbench.report.blocks.own_variances).

    There are two reaches. With B = (settings − 1)/LEVEL and the effect _LARGE all intervals between the best
    of all and the others hold together, by Bonferroni's inequality. The shorter one has the effect _SMALL and
    B = √(settings − 1)/(2 LEVEL), for the one side that matters where a setting is said to be no better:
    others threaten the best of all only while they lead, and the root was found to do by simulation
    (tests/benchmarks/races.py).
    """
    settings, seeds = table.shape[-2:]
    variance, freedom = own_variances(table, active, rounding)
    ones, others = variance[..., :, None], variance[..., None, :]
    most = (active.sum(-1) - 1)[..., None, None] * (seeds - 1)
    degrees = satterthwaite(ones, freedom[..., :, None], others, freedom[..., None, :])
    degrees = np.clip(degrees, seeds - 1, np.maximum(most, seeds - 1))

    def reach_of(bound: float, effect: float) -> _Array:
        grown = 1 + effect**2 * seeds / 2
        power = (math.sqrt(grown) * bound) ** (2 / (degrees + 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            squared = np.where(power < grown, degrees * (power - 1) / (1 - power / grown), math.inf)
            reach = np.sqrt(squared * (ones + others) / seeds)
        return np.where(told, reach, math.inf)

    # What does not vary at all does not tell how much it would.
    told = varies(table, active)[..., None, None]
    means = table.mean(-1)
    effects = means[..., :, None] - means[..., None, :]
    longer = reach_of((settings - 1) / LEVEL, _LARGE)
    shorter = reach_of(math.sqrt(settings - 1) / (2 * LEVEL), _SMALL)
    return effects, longer, np.minimum(longer, shorter)  # of very few seeds the latter may be infinite
