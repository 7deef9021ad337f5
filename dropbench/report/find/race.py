"""The race of settings: all start on the same seeds, and after each seed those that are worse are left out.

It may be looked at after every seed, and go on for as many as there is time for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from dropbench.report.find.standing import FIRST_LOOK, Standing, Within, look
from dropbench.report.scale import PLAIN, Scale
from dropbench.report.statistics import Estimate

_Array = np.ndarray[Any, Any]

State = Literal["best", "as good", "no better", "open", "behind", "worse", "no result"]
"""The state of a setting in a race.

- ``best``: it has the lowest mean of those that are trained on.
- ``as good``: it differs from the best by at most ``within``, to either side.
- ``no better``: it is at most ``within`` better than the best, and may be worse.
- ``open``: it may be better than the best by more than ``within``; it is trained on.
- ``behind``: worse than the best, but perhaps by no more than ``within``.
- ``worse``: worse than the best by more than ``within``.
- ``no result``: a run of it diverged or failed.
"""
STATES: tuple[State, ...] = get_args(State)
"""All of them, the best ones first."""


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
        """The settings and seeds that the next test needs, seed by seed; none where it is decided."""
        if self.decided:
            return []
        seeds = max(self.seeds + 1, FIRST_LOOK)
        return [
            (number, seed)
            for seed in range(seeds)
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
        """The state of a setting."""
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

        It is that of the last look until then at which both were trained on, and holds together with those
        of all looks. There is no interval before the first look, and of very few seeds.
        """
        until = math.inf if at is None else at.seeds
        shared = [each for each in self.looks if {number, to} <= each.among and each.seeds <= until]
        if not shared or number == to or not math.isfinite(shared[-1].standing.reach[number, to]):
            seeds = sorted(self.figures[number].keys() & self.figures[to].keys())
            steps = [self.figures[number][seed] - self.figures[to][seed] for seed in seeds]
            known = [step for step in steps if not math.isnan(step)]
            mean = sum(known) / len(known) if known else math.nan
            return Estimate(mean, math.nan, math.nan, len(known))
        last = shared[-1]
        start = self.mean(to, last.seeds)
        place = float(self.scale.forward(start))
        effect, reach = (float(each[number, to]) for each in (last.standing.effects, last.standing.reach))
        mean, low, high = (
            float(self.scale.back(place + effect + side * reach)) - start for side in (0, -1, 1)
        )
        return Estimate(mean, min(low, mean), max(high, mean), last.seeds)


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
