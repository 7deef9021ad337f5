"""Bernoulli masks: the oracle's to the last bit, whatever dtype, memory format, threads and kernel."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import oracle
from scipy import stats

from dropbench.kernels import compiled
from dropbench.kernels.draws import Draw, chance_of
from dropbench.kernels.mask import drop, keep_mask

# A true property fails at five standard errors once in two million checks.
STANDARD_ERRORS = 5
GRID = (0.001, 0.1, 0.2, 0.5, 0.8, 0.999)


def mask(p: float, shape: tuple[int, ...], number: int = 0) -> torch.Tensor:
    return keep_mask(torch.empty(shape), chance_of(p), Draw(1, number, 0))


@pytest.mark.parametrize("p", GRID)
def test_a_mask_has_the_mean_of_a_bernoulli_variable(p):
    kept = mask(p, (1000, 1000)).double()
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert abs(kept.mean() - (1 - p)) < STANDARD_ERRORS * math.sqrt(p * (1 - p) / kept.numel()) + 2**-17


@settings(deadline=None)  # the first call compiles the kernel
@given(st.floats(-6, 6), st.integers(0, 2**32 - 1))
def test_the_share_that_is_dropped_is_binomial_for_every_p(log_odds, number):
    """From one in a million to all but one in a million."""
    p = 1 / (1 + 10**-log_odds)
    count = 20_000
    dropped = count - int(mask(p, (count,), number).sum())
    low, high = stats.binom.cdf(dropped, count, p), stats.binom.sf(dropped - 1, count, p)
    assert min(low, high) > 1e-7


@pytest.mark.parametrize("p", [1e-6, 1 - 1e-6])
def test_one_in_a_million_is_one_in_a_million(p):
    count = 4_000_000
    kept = float(sum(mask(p, (count // 4,), number).double().sum() for number in range(4)))
    rare = count - kept if p < 0.5 else kept
    assert stats.poisson.cdf(rare, 4) > 1e-6
    assert stats.poisson.sf(rare - 1, 4) > 1e-6
    assert rare > 0


@pytest.mark.parametrize("p", [0.3, 0.999, 1e-4])
@pytest.mark.parametrize("shape", [(101,), (3, 7), (2, 3, 4, 5), (2, 3, 5)])
@pytest.mark.parametrize("draw", [Draw(0, 0, 0), Draw(2**64 - 5, 2**32 - 1, 3, part=9)])
def test_a_mask_is_the_oracles(p, shape, draw):
    chance = chance_of(p)
    expected = ~oracle.dropped(math.prod(shape), chance.levels, chance.bits, draw)
    got = keep_mask(torch.empty(shape), chance, draw)
    in_order = got.permute(0, 2, 3, 1) if len(shape) == 4 else got
    assert np.array_equal(in_order.flatten().numpy(), expected)


@pytest.mark.parametrize("p", [0.001, 0.5])
@pytest.mark.parametrize("shape", [(3, 5), (4, 3, 7, 9), (64, 32, 16, 16)])
def test_one_draw_is_one_mask_in_any_dtype_memory_format_number_of_threads_and_without_the_kernel(p, shape):
    chance, draw, scale = chance_of(p), Draw(11, 2, 1), 1.25
    units = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + 10
    expected = drop(units, chance, scale, draw)
    mask = (expected != 0).float()
    assert torch.equal(expected, units * scale * mask)
    formats = [torch.contiguous_format] + [torch.channels_last] * (len(shape) == 4)
    threads = torch.get_num_threads()

    def check() -> None:
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            for memory_format in formats:
                given = units.to(dtype).contiguous(memory_format=memory_format)
                dropped = drop(given, chance, scale, draw)
                assert torch.equal(dropped, given * scale * mask.to(dtype))
                assert dropped.is_contiguous(memory_format=memory_format)
                assert torch.equal(keep_mask(given, chance, draw), mask.to(dtype))

    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            check()
    finally:
        torch.set_num_threads(threads)
    with compiled.switched_off():
        check()


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8, 0.001])
@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 7, 8, 64, 1000])
def test_neighbouring_units_and_samples_are_independent(p, lag):
    """Eight units share one block of random words, so small lags matter; 64 is the next sample of a batch."""
    kept = (mask(p, (4000, 64)).flatten().double() - (1 - p)) / math.sqrt(p * (1 - p))
    correlation = (kept[lag:] * kept[:-lag]).mean()
    assert abs(correlation) < STANDARD_ERRORS / math.sqrt(len(kept) - lag)


def test_units_and_samples_have_the_same_probability_each():
    kept = mask(0.3, (2000, 50)).double()
    for means, n in ((kept.mean(0), 2000), (kept.mean(1), 50)):
        assert (means - 0.7).abs().max() < STANDARD_ERRORS * math.sqrt(0.3 * 0.7 / n)


def test_a_unit_that_is_dropped_is_0_even_if_it_was_infinite():
    for off in (False, True):
        units = torch.full((1000,), math.inf)
        with compiled.switched_off() if off else torch.no_grad():
            assert set(drop(units, chance_of(0.5), 2.0, Draw(0, 0, 0)).unique().tolist()) == {0.0, math.inf}


@pytest.mark.parametrize("shape", [(30, 20), (4, 3, 5, 6)])
def test_the_gradient_passes_the_mask_of_the_forward_pass(shape):
    chance, draw = chance_of(0.4), Draw(3, 0, 0)
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = []
    for off in (False, True):
        units = torch.ones(shape, requires_grad=True)
        with compiled.switched_off() if off else torch.enable_grad():
            drop(units.clone(), chance, 1.5, draw).backward(gradient)
        assert torch.equal(units.grad, gradient * 1.5 * keep_mask(units.detach(), chance, draw))
        found.append(units.grad)
    assert torch.equal(*found)
