"""The race of settings: all start on the same seeds, and after each seed those that are worse are left out.

It may be looked at after every seed, and go on for as many as there is time for: its intervals hold at all
looks together. docs/statistics.md has what they rest on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from dropbench.report.blocks import own_variances, satterthwaite, varies
from dropbench.report.metrics import ERROR, Metric
from dropbench.report.scale import PLAIN, Scale
from dropbench.report.statistics import Estimate

LEVEL = 0.05
"""The chance of any wrong statement in a whole race."""
FIRST_LOOK = 3
"""Seeds before the first test; two tell no spread."""
_EFFECT = 1.5
"""The size of differences, in standard deviations of a setting, that the intervals are narrowest for."""
_Array = np.ndarray[Any, Any]

State = Literal["best", "as good", "no better", "open", "behind", "worse", "no result"]
"""What a race says of a setting.

- ``best``: it has the lowest mean of those that are trained on.
- ``as good``: it differs from the best by at most ``within``, to either side.
- ``no better``: it is at most ``within`` better than the best, and may be worse.
- ``open``: it may be better than the best by more than ``within``; it is trained on.
- ``behind``: worse than the best, but perhaps by no more than ``within``.
- ``worse``: worse than the best by more than ``within``.
- ``no result``: a run of it diverged or failed.
"""


@dataclass(frozen=True)
class Within:
    """A difference that does not matter: ``least``, in the metric's unit, or a share of a figure if more."""

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

    is below a bound, with m = _EFFECT² · seeds/2: the Bayes factor of the t-test with a normal prior on the
    standardised difference (Lai 1976; Wang & Ramdas 2025, arXiv 2310.03722). Where d is true it is a
    non-negative martingale with mean 1, so that the chance that it ever reaches a bound B is at most 1/B
    (Ville 1939), whenever it is looked at. Each side has half of that, by symmetry. Error and degrees of
    freedom ν are those of the test of few seeds (dropbench.report.blocks.own_variances).

    The bound is √(settings − 1)/(2 LEVEL). With settings − 1 the best of all would be safe from each other
    setting by Bonferroni's inequality; but they only threaten it while they lead, and the root was found to
    do by simulation (tests/benchmarks/races.py).
    """
    settings, seeds = table.shape[-2:]
    variance, freedom = own_variances(table, active, rounding)
    ones, others = variance[..., :, None], variance[..., None, :]
    most = (active.sum(-1) - 1)[..., None, None] * (seeds - 1)
    degrees = satterthwaite(ones, freedom[..., :, None], others, freedom[..., None, :])
    degrees = np.clip(degrees, seeds - 1, np.maximum(most, seeds - 1))
    grown = 1 + _EFFECT**2 * seeds / 2

    def reach_of(others_that_threaten: float) -> _Array:
        power = (math.sqrt(grown) * others_that_threaten / (2 * LEVEL)) ** (2 / (degrees + 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            squared = np.where(power < grown, degrees * (power - 1) / (1 - power / grown), math.inf)
            reach = np.sqrt(squared * (ones + others) / seeds)
        return np.where(told, reach, math.inf)

    # What does not vary at all does not tell how much it would.
    told = varies(table, active)[..., None, None]
    means = table.mean(-1)
    effects = means[..., :, None] - means[..., None, :]
    return effects, reach_of(settings - 1), reach_of(math.sqrt(settings - 1))


@dataclass(frozen=True)
class Look:
    """The race after a number of seeds, all of which the settings ``among`` have."""

    seeds: int
    among: frozenset[int]
    within: float
    """The difference that does not matter, on the scale."""
    standing: Standing


@dataclass(frozen=True)
class Race:
    """A race as far as it came; settings have the numbers of their places."""

    figures: Sequence[Mapping[int, float]]
    """By seed; NaN of a run that gave none."""
    scale: Scale
    looks: tuple[Look, ...]
    broken: Mapping[int, int]
    """The settings that were left out since a run gave no figure, with its seed."""
    active: tuple[int, ...]
    """The settings that are to be trained on; the best alone where it is decided."""
    seeds: int
    """The number of seeds of the settings that are trained on."""
    decided: bool
    best: int | None
    """The setting with the lowest mean of the active ones; None where none is left."""

    @property
    def wanted(self) -> list[tuple[int, int]]:
        """The settings and seeds that the next look needs, seed by seed; none where it is decided."""
        if self.decided:
            return []
        return [
            (number, seed)
            for seed in range(self.seeds + 1)
            for number in self.active
            if seed not in self.figures[number]
        ]

    def mean(self, number: int, seeds: float = math.inf) -> float:
        """The mean of a setting over the seeds that it has, of the first so many; NaN of none."""
        known = [value for at, value in self.figures[number].items() if at < seeds and not math.isnan(value)]
        return sum(known) / len(known) if known else math.nan

    def last_look(self, number: int) -> Look | None:
        """The last look at which a setting was trained on."""
        return next((each for each in reversed(self.looks) if number in each.among), None)

    def state(self, number: int) -> State:
        """What the race says of a setting."""
        if number in self.broken:
            return "no result"
        if number == self.best:
            return "best"
        if not self.looks or number in self.active:
            return "open"
        last = self.looks[-1]
        standing = last.standing
        if not standing.out[number]:
            most = standing.effects[number, self.best] + standing.short[number, self.best]
            return "as good" if most <= last.within else "no better"
        # Beside each that may be the best of all: so the truth's best is among them.
        beside = [other for other in range(len(self.figures)) if not standing.out[other]]
        least = standing.effects[number, beside] - standing.reach[number, beside]
        return "worse" if (least > last.within).all() else "behind"

    def difference(self, number: int, to: int, at: Look | None = None) -> Estimate:
        """How far a setting is above another, in the unit of the metric, as of a look or of the last one.

        The interval is that of the last look at which both were trained on. It holds together with those of
        all looks; there is none before the first.
        """
        at = at or (self.looks[-1] if self.looks else None)
        start = self.mean(to, at.seeds if at else math.inf)
        if at is None or number == to or not math.isfinite(at.standing.reach[number, to]):
            seeds = sorted(self.figures[number].keys() & self.figures[to].keys())
            steps = [self.figures[number][seed] - self.figures[to][seed] for seed in seeds]
            known = [step for step in steps if not math.isnan(step)]
            mean = sum(known) / len(known) if known else math.nan
            return Estimate(mean, math.nan, math.nan, len(known))
        place = float(self.scale.forward(start))
        effect, reach = (float(each[number, to]) for each in (at.standing.effects, at.standing.reach))
        mean, low, high = (
            float(self.scale.back(place + effect + side * reach)) - start for side in (0, -1, 1)
        )
        seeds_of = max(
            each.seeds for each in self.looks if {number, to} <= each.among and each.seeds <= at.seeds
        )
        return Estimate(mean, min(low, mean), max(high, mean), seeds_of)


def run_race(figures: Sequence[Mapping[int, float]], within: Within, scale: Scale = PLAIN) -> Race:
    """Race settings by their figures on validation, lower is better, by seed from 0 on.

    NaN stands for a run that gave none. The race goes as far as all that are trained on have figures.
    """
    standing = Standing.start(len(figures))
    broken: dict[int, int] = {}
    looks: list[Look] = []
    seeds, best = 0, None
    while not standing.decided and _have(figures, standing.active, seeds):
        for number in np.flatnonzero(standing.active).tolist():
            missing = [seed for seed in range(seeds + 1) if math.isnan(figures[number][seed])]
            if missing:
                broken[number] = missing[0]
        lost = np.isin(np.arange(len(figures)), list(broken))
        if lost[standing.active].any():
            standing = _without(standing, lost)
            best = _leading(figures, standing.active)
            if best is None:
                break
            continue
        seeds += 1
        table = np.array([[each.get(seed, math.nan) for seed in range(seeds)] for each in figures])
        table = np.where(standing.active[:, None], table, 1.0)  # of the others nothing is used
        means = np.where(standing.active, table.mean(-1), math.inf)
        best = int(means.argmin())
        if standing.active.sum() == 1 and not looks:  # all others are lost
            standing = replace(standing, decided=np.asarray(True))
        elif seeds >= FIRST_LOOK:
            among = frozenset(np.flatnonzero(standing.active).tolist())
            figure = float(means[best])
            limit = float(scale.forward(figure + within.at(figure)) - scale.forward(figure))
            standing = look(standing, scale.forward(table), limit, scale.rounding(table.mean(-1)))
            best = int(standing.best)
            looks.append(Look(seeds, among, limit, standing))
    active = tuple(np.flatnonzero(standing.active).tolist())
    return Race(figures, scale, tuple(looks), broken, active, seeds, bool(standing.decided), best)


def _have(figures: Sequence[Mapping[int, float]], active: _Array, seeds: int) -> bool:
    """Whether all active settings have the seeds of the next look."""
    numbers = np.flatnonzero(active).tolist()
    return all(seed in figures[number] for number in numbers for seed in range(seeds + 1))


def _leading(figures: Sequence[Mapping[int, float]], active: _Array) -> int | None:
    """The active setting with the lowest mean of the seeds that all of them have."""
    numbers = np.flatnonzero(active).tolist()
    known = [{seed for seed, value in figures[each].items() if not math.isnan(value)} for each in numbers]
    common = set.intersection(*known) if known else ()
    return min(numbers, key=lambda each: sum(figures[each][seed] for seed in common), default=None)


def _without(standing: Standing, lost: _Array) -> Standing:
    """The standing without some settings: those that were worse than no other are open again.

    If the best is lost, so are all that are not out.
    """
    out = lost | standing.out & (standing.effects > standing.reach)[:, ~lost].any(-1)
    active = standing.active | standing.out | lost[int(standing.best)]
    return replace(standing, active=active & ~out, out=out)
