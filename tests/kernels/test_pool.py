"""Max-pool, ReLU and dropout in one pass give what torch's own operations give, one after the other."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from dropbench.kernels import compiled
from dropbench.kernels.draws import Chance, chance_of
from dropbench.kernels.mask import drop_in_torch
from dropbench.kernels.pool import NEVER, pool_relu
from tests.kernels.reference import DRAW, DTYPES, mixed, same_bits

SHAPES = [(1, 1, 2, 3), (3, 5, 7, 9), (2, 33, 6, 5), (2, 64, 8, 8), (2, 512, 4, 4), (1, 3, 3, 3)]


def in_torch(maps, window, chance, scale):
    pooled = F.relu(F.max_pool2d(maps, window, 2, padding=0 if window == 2 else 1))
    return drop_in_torch(pooled, chance, scale, DRAW) if chance.levels else pooled


def both(maps, window, chance=NEVER, scale=1.0):
    """Values and gradients of the kernel and of torch."""
    found = []
    for function in (lambda given: pool_relu(given, window, chance, scale, DRAW), None):
        given = maps.clone().requires_grad_()
        out = in_torch(given, window, chance, scale) if function is None else function(given)
        out.backward(mixed(tuple(out.shape), out.dtype, seed=1))
        found.append((out.detach(), given.grad))
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("special", [False, True])
def test_two_by_two_is_torchs_to_the_last_bit(dtype, shape, p, special):
    chance = chance_of(p)
    ours, torchs = both(mixed(shape, dtype, special), 2, chance, 1 / (1 - chance.probability))
    assert same_bits(ours[0], torchs[0])
    assert same_bits(ours[1], torchs[1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("special", [False, True])
def test_overlapping_windows_are_torchs_up_to_the_rounding_of_a_sum(dtype, shape, p, special):
    chance = chance_of(p)
    ours, torchs = both(mixed(shape, dtype, special), 3, chance, 1 / (1 - chance.probability))
    assert same_bits(ours[0], torchs[0])
    # At most four gradients meet at a place. torch rounds each sum, the kernel their total.
    tolerance = 1e-6 if dtype == torch.float32 else 3 * 2**-8
    torch.testing.assert_close(ours[1], torchs[1], rtol=tolerance, atol=8 * tolerance, equal_nan=True)


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("special", [torch.nan, -torch.nan, torch.inf])
def test_a_net_that_diverged_stays_so(window, dtype, special):
    """Also a NaN whose sign bit is set, which is a negative number to a comparison of bits."""
    maps = mixed((2, 8, 6, 6), dtype)
    maps[1, 5, 3, 2] = special
    pooled = pool_relu(maps, window)
    assert (pooled.isnan() if special != torch.inf else pooled.isinf())[1, 5].any()


@pytest.mark.parametrize("window", [2, 3])
def test_a_dropped_unit_is_zero_even_where_the_map_is_not_finite(window):
    maps = torch.full((1, 8, 8, 8), torch.inf).contiguous(memory_format=torch.channels_last)
    pooled = pool_relu(maps, window, Chance(1 << 15, 16), 2.0, DRAW)
    assert set(pooled.unique().tolist()) == {0.0, torch.inf}


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.4])
def test_the_bias_of_the_maps_gets_the_gradient_that_a_convolution_would_give_it(window, dtype, kernels, p):
    chance = chance_of(p)
    scale = 1 / (1 - chance.probability)
    plain, bias, taken = mixed((4, 16, 9, 7), torch.float32), torch.zeros(16), torch.zeros(16, dtype=dtype)
    bias.requires_grad_()
    taken.requires_grad_()
    expected = in_torch(plain.to(dtype).float() + bias[:, None, None], window, chance, scale)
    gradient = mixed(tuple(expected.shape), dtype, seed=2)
    expected.backward(gradient.float())
    with nullcontext() if kernels else compiled.switched_off():
        maps = plain.to(dtype).requires_grad_()
        pool_relu(maps, window, chance, scale, DRAW, taken).backward(gradient)
    tolerance = 1e-5 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(taken.grad.float(), bias.grad, rtol=tolerance, atol=40 * tolerance)


def test_maps_of_another_kind_are_pooled_by_torch():
    maps = mixed((2, 4, 6, 6), torch.float32)
    for other in (maps.contiguous(), maps.double(), maps[:, :, ::2]):
        assert torch.equal(pool_relu(other, 2), F.relu(F.max_pool2d(other, 2)))
