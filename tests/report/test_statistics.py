"""Intervals, tests and their correction against closed forms and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from dropbench.report.significance import LEVEL, POWER, paired_tests
from dropbench.report.statistics import ENOUGH_SEEDS, mean_interval, paired_difference


def test_interval_is_students():
    values = [2.0, 3.5, 3.0, 4.5, 1.0]
    estimate = mean_interval(values)
    oracle = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high))
    assert estimate.mean == pytest.approx(2.8)


def test_one_seed_has_no_interval_and_none_has_no_mean():
    assert math.isnan(mean_interval([3.0]).low)
    assert mean_interval([3.0]).text() == "3.00"
    assert mean_interval([]).text() == "–"


def test_paired_difference_uses_the_common_seeds_and_their_pairing():
    low = {0: 1.0, 1: 5.0, 2: 9.0, 7: 100.0}
    high = {0: 2.0, 1: 6.1, 2: 9.9, 8: -100.0}
    estimate = paired_difference(high, low)
    oracle = stats.ttest_rel([2.0, 6.1, 9.9], [1.0, 5.0, 9.0]).confidence_interval(0.95)
    assert (estimate.low, estimate.high, estimate.count) == pytest.approx((oracle.low, oracle.high, 3))


@pytest.mark.parametrize("seeds", [3, ENOUGH_SEEDS, 10, 30])
def test_the_interval_covers_the_mean_in_93_to_97_percent(seeds):
    """2,000 made settings; Student's t under six seeds, the studentised bootstrap from there on."""
    values = np.random.default_rng(seeds).normal(3, 1, (2000, seeds))
    found = [mean_interval(list(row)) for row in values]
    covered = np.mean([estimate.low <= 3 <= estimate.high for estimate in found])
    assert 0.93 <= covered <= 0.97


def test_the_bootstrap_follows_a_skewed_sample_where_students_t_does_not():
    values = np.random.default_rng(1).exponential(1, (2000, 10))
    found = [mean_interval(list(row)) for row in values]
    covered = np.mean([estimate.low <= 1 <= estimate.high for estimate in found])
    reach = stats.t.ppf(0.975, 9) * values.std(1, ddof=1) / np.sqrt(10)
    students = np.mean(np.abs(values.mean(1) - 1) <= reach)
    assert covered > students + 0.01
    assert np.mean([e.high - e.mean > e.mean - e.low for e in found]) > 0.9, "the long tail is above"


def test_intervals_are_the_same_every_time_and_moved_with_their_values():
    values = [3.1, 2.7, 3.3, 2.9, 3.6, 3.0, 2.8]
    one, again = mean_interval(values), mean_interval(values)
    assert one == again
    moved = mean_interval([10 * value + 5 for value in values])
    assert moved.low == pytest.approx(10 * one.low + 5)
    assert moved.high == pytest.approx(10 * one.high + 5)
    same = mean_interval([2.0] * 8)
    assert (same.low, same.mean, same.high) == (2, 2, 2)


def test_where_most_values_are_the_same_the_interval_is_students():
    """Of 0, 0, 0, 0, 0, 1 a third of the resamples have no spread."""
    for values in ([0.0] * 5 + [1.0], [3.0] * 6 + [4.0, 5.0]):
        oracle = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        estimate = mean_interval(values)
        assert (estimate.low, estimate.high) == pytest.approx((oracle.low, oracle.high))


@pytest.mark.parametrize("seeds", [3, 6])
def test_without_an_effect_a_family_errs_in_at_most_5_percent(seeds):
    """2,000 made sweeps of eight settings and a reference, whose noise they share as paired runs do."""
    generator, sweeps = np.random.default_rng(5 + seeds), 2000
    wrong = 0
    for _ in range(sweeps):
        by_setting = [
            dict(enumerate(row)) for row in generator.normal(0, 1, (9, seeds)) + generator.normal(0, 1, seeds)
        ]
        found = paired_tests([(values, by_setting[0]) for values in by_setting[1:]])
        wrong += any(test.significant for test in found)
    assert wrong / sweeps <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / sweeps)


def test_the_correction_is_holms():
    """Step-down: the k-th smallest of m is multiplied by m − k + 1, and never below the one before."""
    generator = np.random.default_rng(2)
    reference = dict.fromkeys(range(6), 0.0)
    values = [dict(enumerate(generator.normal(shift, 0.5, 6))) for shift in (0, 0.6, 1.2, 2.0)]
    found = paired_tests([(each, reference) for each in values])
    raw = [stats.ttest_1samp(list(each.values()), 0).pvalue for each in values]
    assert [test.p for test in found] == pytest.approx(raw)
    order = np.argsort(raw)
    steps = np.maximum.accumulate([min(1, raw[k] * (4 - place)) for place, k in enumerate(order)])
    assert [found[k].p_holm for k in order] == pytest.approx(list(steps))


def test_what_cannot_be_tested_is_never_significant():
    one_seed, same, empty = paired_tests(
        [({0: 1.0}, {0: 2.0}), ({0: 1.1, 1: 2.1}, {0: 1.0, 1: 2.0}), ({}, {0: 1.0})]
    )
    for test in (one_seed, empty):
        assert math.isnan(test.p)
        assert not test.significant
    assert math.isnan(paired_tests([({0: 1.0, 1: 2.0}, {0: 0.0, 1: 1.0})])[0].p), "no spread, no test"
    assert same.p_better == 0
    assert one_seed.p_better == 1


def test_the_smallest_effect_is_found_as_often_as_it_says():
    generator, seeds, rounds = np.random.default_rng(4), 6, 1500
    found = 0
    effect = paired_tests([(dict(enumerate((1, -1, 1, -1, 1, -1))), dict.fromkeys(range(6), 0.0))])[0]
    size = effect.smallest_effect / effect.deviation
    for _ in range(rounds):
        values = dict(enumerate(generator.normal(size, 1, seeds)))
        found += paired_tests([(values, dict.fromkeys(range(seeds), 0.0))])[0].significant
    assert abs(found / rounds - POWER) < 4 * math.sqrt(POWER * (1 - POWER) / rounds)


def test_seeds_needed_are_those_at_which_the_effect_becomes_the_smallest():
    values = dict(enumerate((0.5, -0.2, 0.9, 0.1, 0.4, 0.3, 0.0, 0.6)))
    (test,) = paired_tests([(values, dict.fromkeys(values, 0.0))])
    needed = int(test.seeds_needed)

    def smallest(seeds: int) -> float:
        from statsmodels.stats.power import TTestPower

        return TTestPower().solve_power(nobs=seeds, alpha=LEVEL, power=POWER) * test.deviation

    assert smallest(needed) <= test.difference.mean * 1.01
    assert smallest(needed - 1) > test.difference.mean * 0.99
