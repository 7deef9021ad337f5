"""Intervals and the test against closed forms, scipy and statsmodels, and by simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from benchmarks.families import SEEDS, SETTINGS, SPREADS, coverage, false_alarms, pairs, power, tables
from scipy import stats

from dropbench.report import significance
from dropbench.report.blocks import judge
from dropbench.report.metrics import ERROR, METRICS
from dropbench.report.scale import LOG, PLAIN, Logit, infer_examples, scale_of
from dropbench.report.significance import LEVEL, POWER, compare, holm
from dropbench.report.statistics import mean_interval, paired_difference

IMAGES = 1000


def by_seed(values):
    return {seed: value for seed, value in enumerate(values) if value is not None}


def against(values, reference, scale=PLAIN):
    (found,) = compare({"one": by_seed(values), "other": by_seed(reference)}, [("one", "other")], scale)
    return found


# Scales


@pytest.mark.parametrize("images", [1, 30, 10_000])
def test_the_logit_is_that_of_counts_with_half_of_one_added(images):
    scale = Logit(images)
    for wrong in {0, 1, images // 3, images}:
        place = scale.forward(100 * wrong / images)
        assert place == pytest.approx(math.log((wrong + 0.5) / (images - wrong + 0.5)))
        assert scale.back(place) == pytest.approx(100 * wrong / images)
    assert (scale.back(-1e9), scale.back(1e9)) == (0, 100)


def test_errors_are_counts_and_other_metrics_ratios():
    assert scale_of(ERROR, 500) == Logit(500)
    assert scale_of(METRICS["nll"], 500) == LOG
    assert LOG.back(LOG.forward(0.3)) == pytest.approx(0.3)
    assert Logit(30).whole([100 / 30, 100 * (1 / 30 + 1e-15)]).tolist() == [1, 1]


@pytest.mark.parametrize("images", [30, 1000, 10_000, 59_999])
def test_the_number_of_images_is_inferred_from_errors(images):
    wrong = np.random.default_rng(images).integers(0, images // 5, 12)
    found = infer_examples(100 * count / images for count in [*wrong, 1])
    assert found == images


def test_errors_that_are_no_counts_do_not_make_up_images_without_end():
    assert infer_examples(np.random.default_rng(0).uniform(0, 100, 50)) == 1_000_000
    assert infer_examples([0.0, 0.0]) == 1
    assert infer_examples([math.nan]) == 1


# Intervals of a mean


@pytest.mark.parametrize("scale", [PLAIN, LOG, Logit(1000)])
def test_an_interval_is_students_on_the_scale(scale):
    values = [2.0, 3.5, 3.0, 4.5, 1.0]
    estimate = mean_interval(values, scale)
    oracle = stats.ttest_1samp(scale.forward(values), 0).confidence_interval(0.95)
    assert (estimate.low, estimate.high) == pytest.approx(
        (float(scale.back(oracle.low)), float(scale.back(oracle.high)))
    )
    assert estimate.mean == pytest.approx(2.8)


@pytest.mark.parametrize("values", [[50.0, 100.0], [0.0, 12.0], [33.0, 98.0, 60.0], [0.0, 0.1]])
def test_no_interval_leaves_0_to_100(values):
    estimate = mean_interval(values, Logit(IMAGES))
    assert 0 <= estimate.low < estimate.mean < estimate.high <= 100
    found = against(values, [1.0, 2.0, 1.5][: len(values)], Logit(IMAGES)).difference
    assert -100 <= found.low < found.mean < found.high <= 100


def test_what_does_not_vary_has_no_interval():
    assert math.isnan(mean_interval([3.0]).low)
    assert mean_interval([3.0]).text() == "3.00"
    assert mean_interval([]).text() == "–"
    assert math.isnan(mean_interval([2.0] * 8).low)
    assert math.isnan(mean_interval([0.1 + 0.2, 0.3, 0.3], Logit(1000)).low), "rounding is no spread"
    assert math.isnan(mean_interval([0.0] * 3, Logit(1000)).low)


def test_paired_difference_uses_the_common_seeds_and_their_pairing():
    low = {0: 1.0, 1: 5.0, 2: 9.0, 7: 100.0}
    high = {0: 2.0, 1: 6.1, 2: 9.9, 8: -100.0}
    estimate = paired_difference(high, low)
    oracle = stats.ttest_rel([2.0, 6.1, 9.9], [1.0, 5.0, 9.0]).confidence_interval(0.95)
    assert (estimate.low, estimate.high, estimate.count) == pytest.approx((oracle.low, oracle.high, 3))


@pytest.mark.parametrize("seeds", [3, 6, 10])
def test_an_interval_of_errors_covers_the_mean_in_93_to_97_percent(seeds):
    """2,000 made settings whose logits are normal, in whole images."""
    scale = Logit(IMAGES)
    generator = np.random.default_rng(seeds)
    exact = scale.back(generator.normal(scale.forward(5.0), 0.3, (2000, seeds)))
    found = [mean_interval(list(row), scale) for row in np.round(exact, 1)]
    covered = np.mean([estimate.low <= 5 <= estimate.high for estimate in found])
    assert 0.93 <= covered <= 0.97


# The test


@pytest.mark.parametrize("seeds", [2, 3, 7])
@pytest.mark.parametrize("scale", [PLAIN, LOG, Logit(IMAGES)])
def test_two_settings_are_compared_by_the_paired_t_test(seeds, scale):
    values, reference = np.round(np.random.default_rng(seeds).uniform(3, 9, (2, seeds)), 1)
    found = against(values, reference, scale)
    oracle = stats.ttest_rel(scale.forward(values), scale.forward(reference))
    assert found.p == found.p_holm == pytest.approx(oracle.pvalue)
    assert found.difference.mean == pytest.approx((values - reference).mean())


def ols(table):
    """p, effect and standard error of every contrast with row 0, of the additive model."""
    from statsmodels.formula.api import ols as fit

    rows = [(f"s{i}", f"b{j}", y) for i, row in enumerate(table) for j, y in enumerate(row) if y == y]
    model = fit("y ~ C(setting) + C(seed)", pd.DataFrame(rows, columns=["setting", "seed", "y"])).fit()
    names = [f"C(setting)[T.s{i}]" for i in range(1, len(table))]
    return model.pvalues[names].values, model.params[names].values, model.bse[names].values


def even(settings, seeds):
    """A table whose settings all have one spread, and no two more than that between them."""
    generator = np.random.default_rng(settings * seeds)
    while True:
        table = generator.normal(size=(settings, seeds))
        rest = table - table.mean(0) - table.mean(1)[:, None] + table.mean()
        spread = np.square(rest).sum(1)
        own = np.var(table[1:] - table[0], axis=1, ddof=1) / 2
        pooled = spread.sum() / ((settings - 1) * (seeds - 1))
        if spread.max() < 1.3 * spread.mean() and own.max() < 0.75 * pooled:
            return table


@pytest.mark.parametrize(("settings", "seeds"), [(3, 5), (5, 6), (5, 8)])
def test_where_spreads_are_alike_it_is_the_contrast_of_randomised_blocks(settings, seeds):
    table = even(settings, seeds)
    found = judge(table, pairs(settings))
    p, effect, error = ols(table)
    assert found.p == pytest.approx(p)
    assert found.effect == pytest.approx(effect)
    assert found.error == pytest.approx(error)
    assert (found.degrees == (settings - 1) * (seeds - 1)).all()


@pytest.mark.parametrize("seeds", [3, 4])
def test_with_few_seeds_a_setting_has_its_own_variance_or_the_pooled_one_if_that_is_larger(seeds):
    generator = np.random.default_rng(3)
    table = generator.normal(size=(5, seeds))
    table[3] *= 20
    found = judge(table, pairs(5))
    rest = table - table.mean(0) - table.mean(1)[:, None] + table.mean()
    pooled = np.square(rest).sum() / (4 * (seeds - 1))
    assert (found.tested_error >= np.sqrt(2 * pooled / seeds) - 1e-12).all()
    assert found.tested_error.argmax() == 2, "the pair of the setting that varies more"
    assert found.tested_degrees[2] < found.tested_degrees[0]
    moved = judge(10 * table + 5, pairs(5))
    assert moved.p == pytest.approx(found.p)


def test_a_table_that_lacks_values_is_fitted_by_least_squares():
    table = even(5, 8)
    table[3, 1] = table[2, 5] = np.nan
    found = judge(table, pairs(5))
    _, effect, error = ols(table)
    assert found.effect == pytest.approx(effect)
    assert (found.error >= error - 1e-12).all()
    exact = np.isclose(found.error, error)
    assert exact.any()
    assert (found.degrees[exact] <= 26).all()


def test_least_squares_and_the_closed_form_are_one():
    from dropbench.report.blocks import _balanced, _unbalanced

    table = np.random.default_rng(3).normal(size=(6, 4))
    ones, others = np.arange(1, 6), np.zeros(5, int)
    for one, other in zip(_balanced(table, ones, others), _unbalanced(table, ones, others), strict=True):
        assert np.ravel(np.broadcast_to(one, np.shape(other) or (1,))) == pytest.approx(np.ravel(other))


@pytest.mark.parametrize("odd", [0, 2])
def test_where_a_spread_is_odd_it_is_the_paired_t_test(odd):
    table = np.random.default_rng(1).normal(size=(6, 6))
    table[odd] *= 30
    found = judge(table, pairs(6))
    assert found.p == pytest.approx(stats.ttest_rel(table[1:], table[:1], axis=1).pvalue)


def test_settings_that_nothing_compares_are_no_part_of_a_table():
    """Two nets, each with its reference: what one does is nothing to the other, but for Holm's correction."""
    generator = np.random.default_rng(2)
    series = {name: by_seed(generator.normal(size=5)) for name in "abcd"}
    series["d"] = {seed: 50 * value for seed, value in series["d"].items()}
    one, other = compare(series, [("b", "a"), ("d", "c")])
    for test, names in ((one, "ba"), (other, "dc")):
        first, second = (list(series[name].values()) for name in names)
        assert test.p == pytest.approx(stats.ttest_rel(first, second).pvalue)


@pytest.mark.parametrize("scale", [PLAIN, LOG, Logit(IMAGES)])
def test_the_interval_and_the_test_never_disagree(scale):
    generator = np.random.default_rng(5)
    for _ in range(150):
        rows = np.round(generator.normal(5, 0.5, (4, 5)) + generator.uniform(0, 2, (4, 1)), 1)
        series = {number: by_seed(row) for number, row in enumerate(rows)}
        for test in compare(series, pairs(4), scale):
            assert (test.difference.mean < 0) == (test.ratio.mean < 1)
            if test.difference.excludes_zero:
                assert test.p < LEVEL + 1e-6
            assert (test.ratio.low > 1 or test.ratio.high < 1) == test.difference.excludes_zero


def test_the_ratio_is_that_of_errors():
    found = against([2.0, 2.2, 2.1], [4.0, 4.4, 4.2], Logit(1000))
    assert found.ratio.mean == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("seeds", SEEDS)
def test_without_an_effect_a_family_errs_in_at_most_5_percent_and_intervals_cover(settings, seeds):
    """4,000 tables of every kind of spread; errors and coverage within three of their standard errors."""
    number = 4000
    most = LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / number)
    slack = 3 * math.sqrt(0.03 * 0.97 / number)
    for spread in SPREADS:
        found = judge(tables(number, settings, seeds, spread, seed=3), pairs(settings))
        assert false_alarms(found) <= most, spread
        covered = coverage(found)
        assert covered.min() >= 0.93 - slack, spread
        assert covered.max() <= 0.97 + slack, spread


def test_few_test_images_cause_no_false_alarms():
    """Of 30 images, each wrong in 10 %, eight settings of 2 and 3 seeds against a reference."""
    scale = Logit(30)
    for seeds in (2, 3):
        generator, wrong, number = np.random.default_rng(seeds), 0, 400
        for _ in range(number):
            counts = generator.binomial(30, 0.1, (9, seeds))
            series = {setting: by_seed(row) for setting, row in enumerate(100 * counts / 30)}
            wrong += any(test.significant for test in compare(series, pairs(9), scale))
        assert wrong / number <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / number)


@pytest.mark.parametrize("seeds", SEEDS)
def test_more_is_seen_than_by_the_paired_t_test(seeds):
    ours, theirs, _ = power(2000, 9, seeds)
    assert ours > theirs + 0.02


def test_the_correction_is_holms():
    from statsmodels.stats.multitest import multipletests

    p = np.random.default_rng(2).uniform(0, 0.1, 12)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    some = np.insert(p, [0, 5, 12], math.nan)
    corrected = holm(some)
    assert np.isnan(corrected).tolist() == np.isnan(some).tolist()
    assert corrected[~np.isnan(corrected)] == pytest.approx(holm(p))
    assert np.isnan(holm(np.array([math.nan]))).all()


# What cannot be tested


def test_differences_that_are_equal_on_every_seed_are_not_tested():
    """One image of 30 more on every seed, with what floating point makes of it."""
    reference = [100 * count / 30 for count in (3, 5, 4)]
    found = against([100 * (count + 1) / 30 for count in (3, 5, 4)], reference, Logit(30))
    assert math.isnan(found.p)
    assert math.isnan(found.difference.low)
    assert math.isnan(found.smallest_effect)
    assert found.p_better == 0
    assert not found.significant
    assert not found.alike


def test_many_settings_that_all_differ_by_one_image_are_not_significant():
    counts = np.array([[3, 5, 4], *[[4, 6, 5]] * 15])
    series = {setting: by_seed(row) for setting, row in enumerate(100 * counts / 30)}
    assert not any(test.significant for test in compare(series, pairs(16), Logit(30)))
    counts[7, 1] += 1
    series = {setting: by_seed(row) for setting, row in enumerate(100 * counts / 30)}
    for test in compare(series, pairs(16), Logit(30)):
        assert test.difference.low < test.difference.mean < test.difference.high, "an interval has a width"


def test_one_seed_none_in_common_and_no_seed_have_no_test():
    for ours, theirs in (([1.0], [2.0]), ([1.0, None, 3.0], [None, 2.0, 3.5]), ([], [1.0, 2.0])):
        found = against(ours, theirs, Logit(IMAGES))
        assert math.isnan(found.p)
        assert not found.significant
        assert not found.alike
    assert against([1.0], [2.0]).p_better == 1


def test_the_same_on_every_seed_is_the_same():
    for values in ([2.0, 3.0, 4.0], [0.0, 0.0, 0.0], [0.0, 0.0]):
        found = against(values, values, Logit(IMAGES))
        assert found.same
        assert found.alike
        assert math.isnan(found.p)


def test_what_lacks_a_seed_is_tested_on_those_it_has():
    generator = np.random.default_rng(6)
    series = {number: by_seed(row) for number, row in enumerate(generator.normal(5, 1, (4, 6)))}
    del series[2][0], series[2][3]
    found = compare(series, pairs(4))
    assert [test.difference.count for test in found] == [6, 4, 6]
    assert all(0 < test.p <= 1 for test in found)
    series[3] = {0: series[3][0]}
    assert math.isnan(compare(series, pairs(4))[2].p)


def test_60_percent_is_never_as_good_as_2_and_a_half():
    """However unsteady it is, and however few seeds."""
    for values in ([33.0, 60.0, 86.9], [60.0, 61.0], [59.9, 12.0, 97.0]):
        assert not against(values, [2.4, 2.6, 2.5][: len(values)], Logit(IMAGES)).alike


# What could have been found


@pytest.mark.parametrize("seeds", [3, 6])
def test_the_smallest_effect_is_found_as_often_as_it_says(seeds):
    number = 4000
    effect = significance._seen(seeds - 1) * math.sqrt(2 / seeds)
    table = tables(number, 2, seeds, "alike")
    table[:, 1] += effect
    found = float((judge(table, pairs(2)).p < LEVEL).mean())
    assert abs(found - POWER) < 4 * math.sqrt(POWER * (1 - POWER) / number)


def test_the_smallest_effect_is_told_in_points_before_the_correction():
    from statsmodels.stats.power import TTestPower

    series = {0: by_seed([5.0, 6.0, 5.5, 6.5]), 1: by_seed([6.5, 7.0, 6.0, 7.9])}
    series |= {2: by_seed([5.1, 6.3, 5.7, 6.6]), 3: by_seed([5.0, 6.4, 5.2, 6.9])}
    alone = compare(series, [(1, 0)])[0]
    deviation = np.std([1.5, 1.0, 0.5, 1.4], ddof=1)
    size = TTestPower().solve_power(nobs=4, alpha=LEVEL, power=POWER)
    assert alone.smallest_effect == pytest.approx(size * deviation, rel=1e-3)
    two = compare(series, [(1, 0), (3, 2)])[0]
    assert two.smallest_effect == pytest.approx(size * deviation, rel=1e-3)


def test_two_proportions_need_so_many_images():
    from statsmodels.stats.power import NormalIndPower
    from statsmodels.stats.proportion import proportion_effectsize

    needed = significance.test_examples_needed(3.0, 2.0)
    oracle = NormalIndPower().solve_power(proportion_effectsize(0.03, 0.02), alpha=LEVEL, power=POWER)
    assert needed == pytest.approx(oracle, rel=0.02)
    assert significance.test_examples_needed(2.0, 3.0) == needed
    assert significance.test_examples_needed(2.0, 2.0) == 0
