"""Gaussian predictions and their mixtures, against scipy, quadrature and simulation."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from dropbench.engine.gaussian import (
    LEVELS,
    coverage,
    gaussian_metrics,
    log_densities,
    mixture,
    mixture_log_densities,
    probability_below,
)

STANDARD_ERRORS = 5
MEMBERS, EXAMPLES = 4, 7


def predictions(members: int = MEMBERS, examples: int = EXAMPLES, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(members, examples, generator=generator)
    deviation = torch.rand(members, examples, generator=generator) + 0.3
    return torch.stack([mean, deviation], dim=-1)


def targets(examples: int = EXAMPLES) -> torch.Tensor:
    return torch.randn(examples, generator=torch.Generator().manual_seed(9)) * 1.5


def members_of(given: torch.Tensor) -> list[stats.rv_continuous]:
    mean, deviation = given.double().numpy()[..., 0], given.double().numpy()[..., 1]
    return [stats.norm(*each) for each in zip(mean, deviation, strict=True)]


def density(given: torch.Tensor, at: np.ndarray | float) -> np.ndarray:
    return np.mean([member.pdf(at) for member in members_of(given)], axis=0)


def test_densities_are_those_of_scipy():
    given, at = predictions(), targets()
    found = log_densities(given, at).numpy()
    np.testing.assert_allclose(found, [each.logpdf(at.numpy()) for each in members_of(given)], rtol=1e-9)
    np.testing.assert_allclose(mixture_log_densities(given, at).exp(), density(given, at.numpy()), rtol=1e-9)
    below = np.mean([each.cdf(at.numpy()) for each in members_of(given)], axis=0)
    np.testing.assert_allclose(probability_below(given, at), below, rtol=1e-9)


def test_a_mixture_is_a_density_with_these_moments_and_this_distribution():
    given, at = predictions(examples=1), torch.tensor([0.4])

    step = 1e-3  # sums over such places are exact for smooth densities that vanish at both ends
    places = np.arange(-30, 30, step) + step / 2
    shares = density(given[:, 0], places) * step

    assert shares.sum() == pytest.approx(1, abs=1e-8)
    mean, deviation = mixture(given)[0].tolist()
    assert mean == pytest.approx(places @ shares, abs=1e-6)
    assert deviation == pytest.approx(math.sqrt(places**2 @ shares - mean**2), rel=1e-6)
    below = shares[places < at.item()].sum()
    assert probability_below(given, at).item() == pytest.approx(below, abs=1e-6)


def test_one_member_is_its_own_mixture():
    given, at = predictions(1), targets()
    torch.testing.assert_close(mixture(given), given[0].double())
    torch.testing.assert_close(mixture_log_densities(given, at), log_densities(given, at)[0])


def test_a_far_target_has_a_finite_likelihood():
    given = torch.tensor([[[0.0, 1e-3]], [[0.0, 1.0]]])
    found = mixture_log_densities(given, torch.tensor([1e4])).item()
    assert found == pytest.approx(stats.norm.logpdf(1e4) - math.log(2), rel=1e-9)


def test_a_mixture_is_at_least_as_likely_as_its_members_on_average():
    given, at = predictions(20, 500), targets(500)
    assert (mixture_log_densities(given, at) >= log_densities(given, at).mean(0)).all()


def test_targets_of_the_mixture_itself_are_covered_and_their_likelihood_is_minus_its_entropy():
    """Coverage of n targets has a standard error of √(L (1 − L)/n)."""
    count = 20_000
    given = predictions(3, 1).expand(3, count, 2)
    generator = torch.Generator().manual_seed(4)
    member = torch.randint(3, (count,), generator=generator)
    drawn = given[member, torch.arange(count)].double()
    at = drawn[:, 0] + drawn[:, 1] * torch.randn(count, generator=generator, dtype=torch.float64)
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    error = (levels * (1 - levels) / count).sqrt()
    assert ((coverage(given, at) - levels).abs() < STANDARD_ERRORS * error).all()
    found = gaussian_metrics(given, at)
    assert found["coverage_error"] < STANDARD_ERRORS * error.max().item()
    one = given[:, 0]
    entropy = integrate.quad(lambda y: -density(one, y) * np.log(density(one, y)), -12, 12, limit=300)[0]
    spread = mixture_log_densities(given, at).std().item() / math.sqrt(count)
    assert found["nll"] == pytest.approx(entropy, abs=STANDARD_ERRORS * spread)
    # The mean squared error is the mixture's variance; that of its estimate is of the fourth moment.
    squares = (at - mixture(given)[0, 0]).square()
    tolerance = STANDARD_ERRORS * squares.std().item() / math.sqrt(count)
    assert found["rmse"] ** 2 == pytest.approx(mixture(given)[0, 1].item() ** 2, abs=tolerance)


@pytest.mark.parametrize(("factor", "worse"), [(0.5, -1), (2.0, 1)])
def test_intervals_that_are_too_narrow_or_too_wide_are_told(factor, worse):
    """Of a normal target, an interval of level L times f covers 2 Φ(f z) − 1, where z is its end."""
    count = 20_000
    at = torch.randn(count, generator=torch.Generator().manual_seed(1))
    given = torch.tensor([0.0, factor]).expand(1, count, 2)
    ends = stats.norm.ppf(0.5 + np.array(LEVELS) / 2)
    expected = 2 * stats.norm.cdf(factor * ends) - 1
    assert np.abs(coverage(given, at).numpy() - expected).max() < STANDARD_ERRORS * 0.5 / math.sqrt(count)
    error = np.abs(expected - LEVELS).mean()
    assert gaussian_metrics(given, at)["coverage_error"] == pytest.approx(error, abs=0.01)
    assert (np.sign(expected - LEVELS) == worse).all()


def test_figures_follow_the_unit_of_the_target():
    given, at = predictions(), targets()
    one, other = gaussian_metrics(given, at), gaussian_metrics(given * 1000.0, at * 1000.0)
    assert other["rmse"] == pytest.approx(1000 * one["rmse"], rel=1e-6)
    assert other["nll"] == pytest.approx(one["nll"] + math.log(1000), rel=1e-6)
    assert other["coverage_error"] == one["coverage_error"]


def test_the_last_interval_holds_what_is_at_its_end():
    end = stats.norm.ppf(0.95)  # of the level of 90 %
    found = dict(zip(LEVELS, coverage(torch.tensor([[[0.0, 1.0]]]), torch.tensor([end])), strict=True))
    assert next(level for level, share in found.items() if share == 1.0) in (0.9, 0.95)
    assert found[0.85] == 0.0
