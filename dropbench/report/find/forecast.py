"""How much more training would decide a race."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dropbench.report.find.find import Find
from dropbench.report.find.standing import FIRST_LOOK, intervals

MOST_SEEDS = 1_000
"""No race is said to need more seeds than these."""
_STEP = 1.15
"""The ratio of two numbers of seeds that are tried: more exactly nobody can tell."""


@dataclass(frozen=True)
class Forecast:
    """The training that would decide a race if the coming seeds are like those so far."""

    seeds: int
    """Seeds more, of the setting that needs most."""
    runs: int
    seconds: float
    """The time of all these runs; NaN if not known."""


def forecast(find: Find) -> Forecast | None:
    """Return what would decide a find that is not decided; None before its first look, and for too much."""
    race = find.race
    if race.decided or race.best is None or not race.looks:
        return None
    figures = [each.val for each in find.entrants]
    seeds = [seed for seed in range(race.seeds) if all(seed in figures[number] for number in race.active)]
    if len(seeds) < FIRST_LOOK:
        return None
    table = np.array([[by_seed.get(seed, 1.0) for seed in seeds] for by_seed in figures])
    active = np.isin(np.arange(len(figures)), race.active)
    scale, limit = find.scale("val"), race.looks[-1].within
    places, rounding = scale.forward(table), scale.rounding(table.mean(-1))
    far = (places.mean(-1) - places[race.best].mean() + limit)[active]
    needed = np.full(far.shape, -1)
    for number in _sizes(race.seeds):
        repeated = places[:, np.arange(number) % len(seeds)]
        _, _, short = intervals(repeated, active, rounding)
        needed[(needed < 0) & (far >= short[active, race.best])] = number
        if (needed >= 0).all():
            break
    wanted = {of: int(size) - race.seeds for of, size in zip(race.active, needed, strict=True)}
    wanted.pop(race.best)
    if not wanted or min(wanted.values()) < 0:
        return None
    wanted[race.best] = most = max(wanted.values())
    runs, seconds = 0, 0.0
    for step in range(most):
        ids = {
            run_id
            for of, size in wanted.items()
            if size > step
            for run_id in find.entrants[of].run_ids[seeds[0]]
        }
        runs += len(ids)
        seconds += sum(find.seconds.get(run_id, np.nan) for run_id in ids)
    return Forecast(most, runs, seconds)


def _sizes(seeds: int) -> Iterable[int]:
    """Numbers of seeds above ``seeds``, in steps that grow."""
    number = seeds
    while number < MOST_SEEDS:
        number = max(number + 1, int(number * _STEP))
        yield number
