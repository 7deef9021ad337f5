"""What the race of docs/statistics.md does on made problems: its wrong statements, and what it trains.

python tests/benchmarks/races.py [PROBLEMS]
"""

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np

from dropbench.report.blocks import own_variances, satterthwaite
from dropbench.report.find.standing import FIRST_LOOK, LEVEL, Standing, look
from dropbench.report.scale import PLAIN, Logit, Scale

SETTINGS = (2, 4, 9, 25)
SEEDS = 120
"""The seeds after which a race ends undecided."""
SWEPT = 400, 500
"""The problems that a full sweep is tried on, and the most seeds that it may have."""
SWEPT_DECIDED = 0.95
"""The share of the problems that the full sweep is to decide."""
LECTURE = (1.3, 1.0, 0.3, 0.0, 0.0, 0.3, 1.0, 2.3, 5.7)
"""A curve against p like the lecture's, in standard deviations of a run."""
BASE = 0.1
"""How far seeds move the logit of an error rate, in problems of counts: each setting's, and all alike."""


def tied(settings):
    return np.zeros(settings)


def one_best(settings, by=0.5):
    return np.array([0.0, *[by] * (settings - 1)])


def best_by_2(settings):
    return one_best(settings, 2.0)


def plateaus(settings):
    """Three levels, one standard deviation apart."""
    return np.arange(settings) * 3 // settings * 1.0


def curve(settings):
    """The lecture's curve at as many places."""
    return np.interp(np.linspace(0, 8, settings), range(9), LECTURE)


def rates(best, others):
    """Error rates in percent, one of them the best."""
    return lambda settings: np.array([best, *[others] * (settings - 1)])


def normal(generator, shape):
    return generator.normal(size=shape)


def exponential(generator, shape):
    return generator.exponential(size=shape) - 1


def exponential_down(generator, shape):
    return 1 - generator.exponential(size=shape)


def log_normal(generator, shape):
    return (np.exp(generator.normal(size=shape)) - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)


def alike(settings):
    return np.ones(settings)


def rising(settings):
    return np.geomspace(1, 10, settings)


def falling(settings):
    return np.geomspace(10, 1, settings)


def one_is(spread):
    return lambda settings: np.array([spread, *[1.0] * (settings - 1)])


@dataclass(frozen=True)
class Kind:
    """A kind of made problems: the settings' true figures, and how runs vary about them.

    Without ``examples`` figures have any unit, and a standard deviation of ``spread``; seeds move all
    settings by one more. With them they are the percentages of so many examples that are wrong.
    """

    truth: Callable[[int], np.ndarray]
    within: float
    spread: Callable[[int], np.ndarray] = alike
    noise: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] = normal
    examples: int = 0

    @property
    def scale(self) -> Scale:
        """Where its figures are compared."""
        return Logit(self.examples) if self.examples else PLAIN

    def problems(self, number: int, settings: int, seeds: int, seed: int = 0) -> np.ndarray:
        """Figures ``(number, settings, seeds)``."""
        generator = np.random.default_rng(seed)
        noise = self.noise(generator, (number, settings, seeds)) * self.spread(settings)[:, None]
        noise += generator.normal(size=(number, 1, seeds))
        truth = self.truth(settings)[:, None]
        if not self.examples:
            return truth + noise
        odds = truth / (100 - truth) * np.exp(BASE * noise)
        return 100 * generator.binomial(self.examples, odds / (1 + odds)) / self.examples


KINDS = {
    "no effect, within 0.5": Kind(tied, 0.5),
    "no effect, within 1": Kind(tied, 1.0),
    "one best by 0.5, within 0.25": Kind(one_best, 0.25),
    "one best by 0.5, within 0.5": Kind(one_best, 0.5),
    "plateaus, within 0.5": Kind(plateaus, 0.5),
    "a curve, within 0.67": Kind(curve, 0.67),
    "spreads from 1 to 10": Kind(tied, 0.5, rising),
    "spreads from 1 to 10, narrowest best by 2, within 2": Kind(best_by_2, 2.0, rising),
    "spreads from 1 to 10, widest best by 2, within 2": Kind(best_by_2, 2.0, falling),
    "one ten times as wide": Kind(tied, 0.5, one_is(10)),
    "one ten times as wide, best by 2, within 2": Kind(best_by_2, 2.0, one_is(10)),
    "one a tenth as wide": Kind(tied, 0.5, one_is(0.1)),
    "one a tenth as wide, best by 0.5": Kind(one_best, 0.5, one_is(0.1)),
    "skewed upwards": Kind(tied, 0.5, alike, exponential),
    "skewed upwards, one best by 0.5": Kind(one_best, 0.5, alike, exponential),
    "skewed downwards": Kind(tied, 0.5, alike, exponential_down),
    "log-normal": Kind(tied, 0.5, alike, log_normal),
    "skewed upwards, one ten times as wide": Kind(tied, 0.5, one_is(10), exponential),
    "skewed downwards, one ten times as wide": Kind(tied, 0.5, one_is(10), exponential_down),
    "2 % of 100 examples": Kind(rates(2, 2), 1.0, examples=100),
    "2 % of 100, others 3 %": Kind(rates(2, 3), 1.0, examples=100),
    "2 % of 400, others 2.5 %": Kind(rates(2, 2.5), 0.5, examples=400),
    "40 % of 100, others 43 %": Kind(rates(40, 43), 3.0, examples=100),
    "40 % of 400, others 41.5 %": Kind(rates(40, 41.5), 1.5, examples=400),
}


@dataclass(frozen=True)
class Outcome:
    """How races ended: arrays ``(problems, settings)``; ``best`` and ``decided`` are ``(problems,)``."""

    out: np.ndarray
    worse: np.ndarray
    """Out by more than ``within``."""
    seeds: np.ndarray
    """The seeds that each setting was trained with."""
    best: np.ndarray
    decided: np.ndarray


def limits(means: np.ndarray, within: float, scale: Scale) -> np.ndarray:
    """``within`` on the scale, beside the lowest of the means of each problem."""
    lowest = means.min(-1)
    return np.asarray(scale.forward(lowest + within) - scale.forward(lowest))


def race(table: np.ndarray, within: float, scale: Scale = PLAIN) -> Outcome:
    """Race problems ``(problems, settings, seeds)`` all at once, until they are decided or lack seeds."""
    problems, settings, most = table.shape
    places = scale.forward(table)
    standing = Standing.start(problems, settings)
    going = np.arange(problems)
    ended = Outcome(
        np.zeros((problems, settings), bool),
        np.zeros((problems, settings), bool),
        np.full((problems, settings), FIRST_LOOK),
        np.zeros(problems, int),
        np.zeros(problems, bool),
    )
    for seeds in range(FIRST_LOOK, most + 1):
        # A setting that is open again is trained on what it missed.
        ended.seeds[going] = np.where(standing.active, seeds, ended.seeds[going])
        means = table[going, :, :seeds].mean(-1)
        limit = limits(np.where(standing.active, means, math.inf), within, scale)
        standing = look(standing, places[going, :, :seeds], limit, scale.rounding(means))
        ended.out[going], ended.best[going] = standing.out, standing.best
        ended.decided[going] = standing.decided
        low = standing.effects - standing.reach
        beyond = (low > limit[:, None, None]) | standing.out[:, None, :]
        ended.worse[going] = standing.out & beyond.all(-1)
        left = ~standing.decided
        going = going[left]
        standing = Standing(*(getattr(standing, each.name)[left] for each in fields(Standing)))
        if not len(going):
            break
    return ended


@dataclass(frozen=True)
class Wrong:
    """In which share of the problems a race says what is wrong."""

    not_named: float
    """A setting within ``within`` of the truth's best is called worse than that."""
    best_out: float
    """One that is the truth's best is out."""
    winner: float
    """All others are out although two or more are the truth's best; NaN where there is one."""
    answer: float
    """It is decided, and its answer is worse than the truth's best by ``within`` or more."""


def wrong(found: Outcome, kind: Kind) -> Wrong:
    """Hold what races say against the truth."""
    truth = kind.truth(found.out.shape[1])
    above = truth - truth.min()
    near, best = above <= kind.within + 1e-9, above == 0
    far = above >= kind.within - 1e-9
    alone = (~found.out).sum(1) == 1
    return Wrong(
        float((found.worse & near).any(1).mean()),
        float((found.out & best).any(1).mean()),
        float(alone.mean()) if best.sum() > 1 else math.nan,
        float((found.decided & far[found.best]).mean()),
    )


def swept(table: np.ndarray, within: float, scale: Scale = PLAIN) -> float:
    """The share of problems that a full sweep of the table decides in one look.

    It is the race's rule with one-sided t intervals at LEVEL/(settings − 1), from the same variances.
    """
    from scipy.special import stdtrit

    settings, seeds = table.shape[1:]
    means = table.mean(-1)
    places = scale.forward(table)
    variance, freedom = own_variances(places, rounding=scale.rounding(means))
    effects = places.mean(-1)
    best = effects.argmin(-1)[:, None]
    of_best = np.take_along_axis(variance, best, 1)
    degrees = satterthwaite(variance, freedom, of_best, np.take_along_axis(freedom, best, 1))
    degrees = np.clip(degrees, seeds - 1, (settings - 1) * (seeds - 1))
    reach = stdtrit(degrees, 1 - LEVEL / (settings - 1)) * np.sqrt((variance + of_best) / seeds)
    effects = effects - np.take_along_axis(effects, best, 1)
    told = (effects > reach) | (effects + limits(means, within, scale)[:, None] >= reach)
    return float((told | (np.arange(settings) == best)).all(-1).mean())


def seeds_of_a_sweep(kind: Kind, settings: int) -> int | None:
    """The least seeds with which a full sweep decides enough problems; None where no allowed number does."""
    number, most = SWEPT
    table = kind.problems(number, settings, most, seed=1)
    low, high = FIRST_LOOK - 1, most
    if swept(table, kind.within, kind.scale) < SWEPT_DECIDED:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if swept(table[..., :middle], kind.within, kind.scale) < SWEPT_DECIDED:
            low = middle
        else:
            high = middle
    return high


def row(kind: Kind, number: int) -> Iterable[str]:
    """The cells of a kind, each for all numbers of settings."""
    cells = []
    for settings in SETTINGS:
        found = race(kind.problems(number, settings, SEEDS), kind.within, kind.scale)
        errors = wrong(found, kind)
        trained = float(found.seeds.sum(1).mean())
        # A race that is cut off has not cost what it would.
        full = seeds_of_a_sweep(kind, settings) if found.decided.mean() > SWEPT_DECIDED else None
        cells.append(
            (
                *(
                    "–" if math.isnan(share) else f"{100 * share:.1f}"
                    for share in (errors.not_named, errors.best_out, errors.winner, errors.answer)
                ),
                f"{100 * found.decided.mean():.0f}",
                f"{trained:.0f}",
                f"{trained / settings / full:.2f}" if full else "–",
            )
        )
    return (" / ".join(of_all) for of_all in zip(*cells, strict=True))


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    print("| problems | near, but *worse* | best is out | winner | answer | decided | trained | of a sweep |")
    print("|---|" + "---:|" * 7)
    for name, kind in KINDS.items():
        print(f"| {name} | " + " | ".join(row(kind, number)) + " |", flush=True)


if __name__ == "__main__":
    main()
