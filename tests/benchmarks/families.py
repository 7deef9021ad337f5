"""What the test of docs/statistics.md does on made tables: its errors, its intervals and its power.

python tests/benchmarks/families.py [TABLES]
"""

import sys

import numpy as np

from dropbench.report.blocks import Judged, judge
from dropbench.report.significance import LEVEL, holm

SEEDS = (3, 5, 6, 10)
SETTINGS = (2, 4, 9)
SHIFTS = {3: 4.0, 5: 2.2, 6: 1.9, 10: 1.4}
"""The effects that power is told for, in standard deviations of a run."""
SPREADS = {
    "alike": np.ones,
    "×3, reference": lambda settings: np.array([3.0, *[1.0] * (settings - 1)]),
    "×10, reference": lambda settings: np.array([10.0, *[1.0] * (settings - 1)]),
    "×3, one setting": lambda settings: np.array([1.0, 3.0, *[1.0] * (settings - 2)]),
    "×10, one setting": lambda settings: np.array([1.0, 10.0, *[1.0] * (settings - 2)]),
    "from 1 to 3": lambda settings: np.geomspace(1, 3, settings),
    "from 1 to 10": lambda settings: np.geomspace(1, 10, settings),
    "÷3, reference": lambda settings: np.array([1 / 3, *[1.0] * (settings - 1)]),
}


def tables(number, settings, seeds, spread, seed=0):
    """Tables without an effect, whose seeds move all settings alike; the first setting is the reference."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(number, settings, seeds)) * SPREADS[spread](settings)[:, None]
    return noise + generator.normal(size=(number, 1, seeds))


def pairs(settings):
    """Every setting against the first."""
    return [(setting, 0) for setting in range(1, settings)]


def paired(table):
    """What the paired t-test says, as an oracle for the power that is gained."""
    from scipy.stats import ttest_1samp

    return ttest_1samp(table[:, 1:] - table[:, :1], 0, axis=-1).pvalue


def blocks(table):
    """What randomised blocks say, whether spreads are alike or not."""
    from scipy.stats import t

    settings, seeds = table.shape[1:]
    means = table.mean(2)
    rest = table - means[..., None] - (table - means[..., None]).mean(1, keepdims=True)
    degrees = (settings - 1) * (seeds - 1)
    error = np.sqrt(np.square(rest).sum((1, 2)) / degrees * 2 / seeds)
    return 2 * t.sf(np.abs(means[:, 1:] - means[:, :1]) / error[:, None], degrees)


def false_alarms(found: Judged) -> float:
    """The share of families with a significant test."""
    return float((holm(found.p) < LEVEL).any(-1).mean())


def coverage(found: Judged) -> np.ndarray:
    """How often the interval of each difference has the true one, 0."""
    from scipy.special import stdtrit

    reach = stdtrit(found.degrees, 1 - LEVEL / 2) * found.error
    return np.asarray((np.abs(found.effect) <= reach).mean(0))


def power(number, settings, seeds, seed=1):
    """How often the effect of one setting is significant: by this test, the paired one, and blocks."""
    table = tables(number, settings, seeds, "alike", seed)
    table[:, 1] += SHIFTS[seeds]
    tests = (judge(table, pairs(settings)).p, paired(table), blocks(table))
    return tuple(float((holm(p)[:, 0] < LEVEL).mean()) for p in tests)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    print("| settings | seeds | " + " | ".join(SPREADS) + " | power | paired | blocks |")
    print("|---:|---:|" + "---:|" * (len(SPREADS) + 3))
    for settings in SETTINGS:
        for seeds in SEEDS:
            cells, alarms = [], []
            for spread in SPREADS:
                table = tables(number, settings, seeds, spread)
                found = judge(table, pairs(settings))
                alarms.append(float((holm(blocks(table)) < LEVEL).any(-1).mean()))
                covered = 100 * coverage(found)
                cells.append(f"{100 * false_alarms(found):.1f} ({covered.min():.0f}–{covered.max():.0f})")
            cells += [f"{100 * share:.0f}" for share in power(number, settings, seeds)]
            cells[-1] += f" ({100 * max(alarms):.0f})"
            print(f"| {settings} | {seeds} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
