"""Uniform and normal numbers: their distributions, and that they are a function of the draw alone."""

import math

import numpy as np
import pytest
import torch
from kernels import oracle
from scipy import stats

from dropbench.kernels import compiled, noise
from dropbench.kernels.draws import Draw
from dropbench.kernels.noise import normal, uniform

CPU = torch.device("cpu")
COUNT = 200_000
each = pytest.mark.parametrize("of", [uniform, normal])


@pytest.mark.parametrize(("of", "distribution"), [(uniform, "uniform"), (normal, "norm")])
@pytest.mark.parametrize("key", [1, 2, 3])
def test_numbers_have_their_distribution(of, distribution, key):
    drawn = of((COUNT,), Draw(key, 0, 0), CPU).double().numpy()
    assert stats.kstest(drawn, distribution).pvalue > 1e-4


@each
@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 64])
def test_numbers_are_independent_of_their_neighbours_and_so_are_their_squares(of, lag):
    """Box and Muller's two numbers have one radius, so squares would show it if they were not independent."""
    drawn = of((COUNT,), Draw(4, 0, 0), CPU).double()
    for values in (drawn, drawn.square()):
        standard = (values - values.mean()) / values.std()
        correlation = (standard[lag:] * standard[:-lag]).mean()
        assert abs(correlation) < 5 / math.sqrt(COUNT - lag)


def words_as(monkeypatch, *drawn: int) -> None:
    """Let these be the random words."""
    signed = np.array(drawn, dtype=np.uint32).view(np.int32)
    monkeypatch.setattr(noise, "words", lambda count, draw, device: torch.from_numpy(signed.copy())[:count])


def test_the_lowest_and_the_highest_word_give_numbers_inside_the_open_interval(monkeypatch):
    words_as(monkeypatch, 0, 2**32 - 1, 2**31, 2**31 - 1)
    lowest, highest, above, below = uniform((4,), Draw(0, 0, 0), CPU).tolist()
    assert lowest == 2**-24
    assert highest == 1 - 2**-24
    assert above == 1 - below == 0.5 + 2**-24


def test_the_tails_of_normal_numbers_are_finite_and_reach_beyond_six_deviations(monkeypatch):
    words_as(monkeypatch, 0, 0, 2**32 - 1, 0, 0, 2**31, 0, 2**30)
    farthest, at_0, nearest, _, opposite, _, _, sideways = normal((8,), Draw(0, 0, 0), CPU).tolist()
    assert farthest == pytest.approx(math.sqrt(64 * math.log(2)))
    assert at_0 == 0
    assert abs(nearest) < 1e-3
    assert opposite == pytest.approx(-farthest)
    assert sideways == pytest.approx(farthest)


def test_numbers_are_those_of_the_oracles_words():
    draw, count = Draw(2**40 + 9, 3, 2), 11
    drawn = oracle.words(count + 1, draw).astype(float)
    steps = np.floor(drawn[:count] / 2**9)
    assert np.array_equal(uniform((count,), draw, CPU).double().numpy(), (2 * steps + 1) / 2**24)
    radius = np.sqrt(-2 * np.log((drawn[0::2] % 2**31 + 0.5) / 2**31))
    angle = 2 * math.pi * drawn[1::2] / 2**32
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).flatten()[:count]
    np.testing.assert_allclose(normal((count,), draw, CPU).numpy(), pairs, rtol=1e-4, atol=2e-6)


@each
def test_maps_are_numbered_with_the_channels_last(of):
    draw = Draw(8, 0, 0)
    maps = of((2, 3, 4, 5), draw, CPU)
    assert maps.shape == (2, 3, 4, 5)
    assert maps.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(maps.permute(0, 2, 3, 1).flatten(), of((120,), draw, CPU))
    assert torch.equal(of((2, 60), draw, CPU).flatten(), of((120,), draw, CPU))


@each
def test_numbers_are_the_same_on_one_thread_and_on_two_and_without_the_kernel(of):
    draw, count = Draw(6, 1, 2), 100_003
    expected = of((count,), draw, CPU)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            assert torch.equal(of((count,), draw, CPU), expected)
    finally:
        torch.set_num_threads(threads)
    with compiled.switched_off():
        assert torch.equal(of((count,), draw, CPU), expected)


@each
def test_a_longer_draw_begins_like_a_shorter_one(of):
    draw = Draw(7, 0, 0)
    assert torch.equal(of((1000,), draw, CPU)[:37], of((37,), draw, CPU))
    assert of((0, 5), draw, CPU).shape == (0, 5)
