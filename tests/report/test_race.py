"""The race: its promises by simulation, its intervals against their definition, and what may not matter."""

import math

import numpy as np
import pytest
from benchmarks.races import KINDS, Kind, curve, race, seeds_of_a_sweep, wrong
from scipy import integrate, stats

from dropbench.report.find.race import run_race
from dropbench.report.find.standing import FIRST_LOOK, LEVEL, Within, intervals
from dropbench.report.scale import LOG, PLAIN, Logit

PROBLEMS = 2000
MOST = LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / PROBLEMS)
"""The most that a share of the problems may be by chance where its probability is 5 %."""
LARGE, SMALL = 5.0, 1.5
"""The standard deviations of the normal priors on differences, in standard deviations of a setting."""


def by_seed(table):
    """Figures as a race has them."""
    return [dict(enumerate(row)) for row in np.asarray(table, float).tolist()]


def states(found):
    return [found.state(number) for number in range(len(found.figures))]


def made(settings, seeds, seed, truth=curve):
    return Kind(truth, 0.0).problems(1, settings, seeds, seed)[0] + 10


# What it promises


@pytest.mark.parametrize("settings", [4, 9])
@pytest.mark.parametrize(
    ("kind", "seeds"),
    [
        ("no effect, within 1", 40),
        ("one best by 0.5, within 0.25", 30),
        ("one best by 0.5, within 0.5", 60),
        ("plateaus, within 0.5", 40),
        ("spreads from 1 to 10", 25),
        ("spreads from 1 to 10, widest best by 2, within 2", 25),
        ("skewed upwards", 25),
        ("skewed upwards, one best by 0.5", 60),
        ("skewed downwards", 25),
    ],
)
def test_at_most_5_percent_of_races_say_anything_wrong(kind, seeds, settings):
    """The longer races, and more kinds, are in tests/benchmarks/races.py."""
    made_of = KINDS[kind]
    found = race(made_of.problems(PROBLEMS, settings, seeds), made_of.within)
    errors = wrong(found, made_of)
    assert errors.not_named <= MOST
    assert errors.best_out <= MOST
    assert errors.answer <= MOST
    assert not errors.winner > MOST


def test_the_simulation_notices_a_test_that_may_be_looked_at_once(monkeypatch):
    """Student's t after every seed: what adding seeds until something is significant comes to."""

    def once(table, active, rounding=0.0):
        seeds = table.shape[-1]
        steps = table[..., :, None, :] - table[..., None, :, :]
        reach = stats.t.ppf(1 - LEVEL / 3, seeds - 1) * steps.std(-1, ddof=1) / math.sqrt(seeds)
        return steps.mean(-1), reach, reach

    made_of = KINDS["no effect, within 1"]
    monkeypatch.setattr("dropbench.report.find.standing.intervals", once)
    assert wrong(race(made_of.problems(PROBLEMS, 4, 30), made_of.within), made_of).best_out > 2 * MOST
    made_of = KINDS["one best by 0.5, within 0.5"]
    assert wrong(race(made_of.problems(PROBLEMS, 4, 30), made_of.within), made_of).answer > MOST


@pytest.mark.parametrize("kind", ["plateaus, within 0.5", "a curve, within 0.67"])
def test_it_trains_less_than_two_thirds_of_a_full_sweep_that_decides_as_often(kind):
    made_of = KINDS[kind]
    found = race(made_of.problems(500, 9, 120), made_of.within)
    assert found.decided.mean() > 0.99
    assert found.seeds.mean() < 2 / 3 * seeds_of_a_sweep(made_of, 9)


@pytest.mark.parametrize(
    ("settings", "within", "scale"), [(2, 0.8, PLAIN), (5, 0.8, PLAIN), (5, 2.0, Logit(100)), (9, 1.0, PLAIN)]
)
def test_one_race_is_one_of_many_at_once(settings, within, scale):
    """Also where a setting rests, and is open again since another has become the best."""
    tables = Kind(curve, within).problems(50, settings, 40, seed=7) + 10
    tables = np.round(np.clip(tables, 0, None)) if scale != PLAIN else tables
    together = race(tables, within, scale)
    reopened = 0
    for number, table in enumerate(tables):
        alone = run_race(by_seed(table), Within(least=within), scale)
        assert alone.best == together.best[number]
        assert alone.decided == together.decided[number]
        assert [alone.last_look(each).seeds for each in range(settings)] == together.seeds[number].tolist()
        found = states(alone)
        assert [state in ("worse", "behind") for state in found] == together.out[number].tolist()
        assert [state == "worse" for state in found] == together.worse[number].tolist()
        reopened += any(
            later.among - before.among for before, later in zip(alone.looks, alone.looks[1:], strict=False)
        )
    assert settings == 2 or reopened > 0


# Its intervals


def e_value(t, freedom, ratio):
    """The e-value that `intervals` tells of; ``ratio`` is m, the prior's variance over the error's."""
    return (1 + ratio) ** -0.5 * ((1 + t**2 / freedom) / (1 + t**2 / (freedom * (1 + ratio)))) ** (
        (freedom + 1) / 2
    )


def bayes_factor(t, freedom, ratio):
    """How much likelier t is if its shift is normal with variance ``ratio`` than if there is none."""
    wide = math.sqrt(ratio)
    likely, _ = integrate.quad(
        lambda shift: stats.nct.pdf(t, freedom, shift) * stats.norm.pdf(shift, scale=wide),
        -8 * wide,
        8 * wide,
        points=(0, t),
        limit=200,
    )
    return likely / stats.t.pdf(t, freedom)


@pytest.mark.parametrize("seeds", [3, 5, 10, 40])
@pytest.mark.parametrize("t", [0.0, 0.7, 2.5, 6.0])
def test_the_e_value_is_the_bayes_factor_of_the_t_test(seeds, t):
    ratio = SMALL**2 * seeds / 2
    assert e_value(t, seeds - 1, ratio) == pytest.approx(bayes_factor(t, seeds - 1, ratio), rel=1e-4)


@pytest.mark.parametrize("settings", [2, 5])
@pytest.mark.parametrize("seeds", [6, 10, 40])
def test_an_interval_has_the_differences_whose_e_value_is_below_its_bound(settings, seeds):
    """Of two settings, alone or with others that are no longer trained on."""
    table = np.random.default_rng(seeds).normal(size=(settings, seeds))
    effects, *reaches = intervals(table, np.arange(settings) < 2)
    steps = table[0] - table[1]
    assert effects[0, 1] == pytest.approx(steps.mean())
    told = ((settings - 1) / LEVEL, LARGE), (math.sqrt(settings - 1) / (2 * LEVEL), SMALL)
    for reach, (bound, effect) in zip(reaches, told, strict=True):
        t = reach[0, 1] / stats.sem(steps)
        assert bayes_factor(t, seeds - 1, effect**2 * seeds / 2) == pytest.approx(bound, rel=1e-3)


@pytest.mark.parametrize("seeds", [2, 3, 6, 20])
def test_the_e_value_of_the_truth_has_the_mean_1(seeds):
    freedom, ratio = seeds - 1, LARGE**2 * seeds / 2
    mean, _ = integrate.quad(
        lambda t: e_value(t, freedom, ratio) * stats.t.pdf(t, freedom), -np.inf, np.inf, limit=500
    )
    assert mean == pytest.approx(1, abs=1e-4)


def test_the_e_value_is_a_martingale():
    """Whatever was seen before, its mean does not move with the next seed."""
    steps = np.random.default_rng(0).normal(size=(200_000, 7))
    for seeds in (2, 3, 6):
        before, after = (
            e_value(stats.ttest_1samp(steps[:, :n], 0, axis=1).statistic, n - 1, SMALL**2 * n / 2)
            for n in (seeds, seeds + 1)
        )
        for seen in (before < np.median(before), before >= np.median(before)):
            moved = (after - before)[seen]
            assert abs(moved.mean()) < 4 * stats.sem(moved)


@pytest.mark.parametrize("wide", [1, 10])
def test_an_interval_holds_at_all_looks_with_95_percent(wide):
    """Two settings, of one spread or of unlike ones: here the proof is exact.

    Of the shorter interval it is each side that holds with so much.
    """
    table = np.random.default_rng(3).normal(size=(PROBLEMS, 2, 60))
    table[:, 1] *= wide
    missed, sides = np.zeros(PROBLEMS, bool), np.zeros((2, PROBLEMS), bool)
    for seeds in range(FIRST_LOOK, 61):
        effects, reach, short = intervals(table[..., :seeds], np.ones((PROBLEMS, 2), bool))
        effect = effects[:, 0, 1]
        missed |= np.abs(effect) > reach[:, 0, 1]
        sides |= np.array([effect > short[:, 0, 1], effect < -short[:, 0, 1]])
    assert missed.mean() <= MOST
    assert (sides.mean(1) <= MOST).all()


# What may not matter


def said(found):
    """All that a race says, but for the places of the settings."""
    return [(each.seeds, each.among, each.standing.best.item()) for each in found.looks], states(found)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_settings_changes_nothing_but_their_places(seed):
    table = made(6, 25, seed)
    order = np.random.default_rng(seed).permutation(6)
    found, other = (run_race(by_seed(each), Within(0.5)) for each in (table, table[order]))
    assert other.best is not None
    assert order[other.best] == found.best
    assert [states(found)[number] for number in order] == states(other)
    assert [{int(order[number]) for number in each.among} for each in other.looks] == [
        set(each.among) for each in found.looks
    ]


@pytest.mark.parametrize("seed", range(5))
def test_what_a_seed_does_to_all_alike_changes_nothing(seed):
    table = made(6, 25, seed)
    moved = table + 5 * np.random.default_rng(seed).normal(size=25)
    assert said(run_race(by_seed(table), Within(0.5))) == said(run_race(by_seed(moved), Within(0.5)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("factor", [1e-3, 7.0])
def test_another_unit_changes_nothing_on_the_log_scale(seed, factor):
    table = np.exp(made(6, 25, seed) / 10)
    found, other = (run_race(by_seed(each), Within(share=0.05), LOG) for each in (table, factor * table))
    assert said(found) == said(other)
    ours, theirs = (each.difference(1, 0) for each in (found, other))
    assert (theirs.low, theirs.mean, theirs.high) == pytest.approx(
        (factor * ours.low, factor * ours.mean, factor * ours.high)
    )


@pytest.mark.parametrize("scale", [PLAIN, Logit(100)])
@pytest.mark.parametrize("seed", range(4))
def test_seeds_that_are_added_change_nothing_that_was_said_before(scale, seed):
    """It is trained on what it asks for, and says at each look what it says of all at once."""
    table = np.round(np.clip(2 * made(5, 40, seed), 0, None))
    figures = [{} for _ in table]
    before = run_race(figures, Within(1.0), scale)
    assert states(before) == ["open"] * 5
    while before.wanted and before.seeds < 40:
        for number, at in before.wanted:
            figures[number][at] = float(table[number, at])
        after = run_race([dict(each) for each in figures], Within(1.0), scale)
        assert after.seeds > before.seeds, "what it wanted is all that a look needs"
        for earlier, later in zip(before.looks, after.looks, strict=False):
            assert (earlier.seeds, earlier.among, earlier.within) == (later.seeds, later.among, later.within)
            for number in range(5):
                ours, theirs = (
                    each.difference(number, int(at.standing.best), at)
                    for each, at in ((before, earlier), (after, later))
                )
                assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), nan_ok=True)
        before = after
    whole = run_race(by_seed(table), Within(1.0), scale)
    assert said(before) == said(whole)
    assert [len(each) for each in figures] == [whole.last_look(number).seeds for number in range(5)]


# Runs that gave nothing, and figures that do not vary


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_runs_that_gave_nothing_leave_their_settings_out_and_nothing_else(share):
    """Whatever breaks and when: no broken setting is the best, and none is out for a broken one's sake."""
    generator = np.random.default_rng(4)
    lost_bests = 0
    for seed in range(40):
        table = made(5, 20, seed)
        table[generator.random(table.shape) < share] = math.nan
        figures = [{} for _ in table]
        found = run_race(figures, Within(0.5))
        while found.wanted and found.seeds < 20:
            led = found.best
            for number, at in found.wanted:
                figures[number][at] = float(table[number, at])
            found = run_race(figures, Within(0.5))
            broken = {number for number in range(5) if any(map(math.isnan, figures[number].values()))}
            lost_bests += led in broken
            assert set(found.broken) == broken
            assert {number for number in range(5) if found.state(number) == "no result"} == broken
            if len(broken) == 5:
                assert (found.best, found.active, found.decided, found.wanted) == (None, (), False, [])
                break
            assert found.best in found.active
            assert found.state(found.best) == "best"
            assert not broken & set(found.active)
            for number in range(5):
                if found.state(number) in ("worse", "behind"):
                    standing = found.looks[-1].standing
                    above = np.flatnonzero(standing.effects[number] > standing.reach[number])
                    assert set(above.tolist()) - broken
    assert lost_bests > 3


def test_a_race_goes_on_with_the_settings_that_are_left():
    table = made(3, 20, 0)
    table[0, 1] = table[2, 2] = math.nan
    found = run_race(by_seed(table), Within(0.5))
    assert (found.broken, found.best, found.decided) == ({0: 1, 2: 2}, 1, True)
    assert states(found) == ["no result", "best", "no result"]


ROWS = np.arange(1, 5)[:, None] * 0.1
SEEDS = np.random.default_rng(0).normal(size=(1, 30))


@pytest.mark.parametrize(
    ("table", "scale"),
    [
        (ROWS + 0 * SEEDS, PLAIN),
        (ROWS + SEEDS, PLAIN),
        (ROWS + 0 * SEEDS, LOG),
        (100 * ROWS + 0 * SEEDS, Logit(100)),
    ],
)
def test_where_nothing_varies_nothing_is_said(table, scale):
    """Nor where the computer's rounding makes something of nothing."""
    found = run_race(by_seed(table), Within(0.01), scale)
    assert found.looks
    assert states(found) == ["best", "open", "open", "open"]
    assert math.isnan(found.difference(1, 0).low)
