"""ReLU and dropout in one pass give what torch's own operations give, one after the other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropbench.kernels.draws import chance_of
from dropbench.kernels.mask import drop_in_torch
from dropbench.kernels.relu import relu_drop
from tests.kernels.reference import DRAW, DTYPES, mixed, same_bits


def both(values, chance, scale):
    found = []
    for function in (relu_drop, lambda given, *rest: drop_in_torch(torch.relu(given), *rest)):
        given = values.clone().requires_grad_()
        units = function(given, chance, scale, DRAW)
        units.backward(mixed(tuple(units.shape), units.dtype, seed=1))
        found.append((units.detach(), given.grad))
    return found


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (128, 1024), (5, 3, 17), (2, 6, 5, 3)], ids=str)
@pytest.mark.parametrize("special", [False, True])
def test_it_is_torchs_to_the_last_bit(dtype, shape, special):
    chance = chance_of(0.3)
    ours, torchs = both(mixed(shape, dtype, special), chance, 1 / (1 - chance.probability))
    assert same_bits(ours[0], torchs[0])
    finite = ours[0].isfinite()  # torch's product of ∞ and a mask's gradient is another matter
    assert same_bits(ours[1][finite], torchs[1][finite])


@settings(max_examples=25, deadline=None)
@given(p=st.floats(1e-6, 1 - 1e-6), count=st.integers(1, 20_000), dtype=st.sampled_from(DTYPES))
def test_units_that_are_active_are_dropped_by_the_mask(p, count, dtype):
    """Whatever the number of units and p: the same units are dropped as by a mask alone."""
    chance = chance_of(p)
    kept = relu_drop(torch.ones(count, dtype=dtype), chance, 1.0, DRAW)
    assert torch.equal(kept, drop_in_torch(torch.ones(count, dtype=dtype), chance, 1.0, DRAW))


def test_the_gradient_needs_no_mask():
    """What is kept for the backward pass is the result, which the next layer keeps anyway."""
    units = relu_drop(mixed((64, 64), torch.float32).requires_grad_(), chance_of(0.5), 2.0, DRAW)
    (kept,) = units.grad_fn.saved_tensors
    assert kept.data_ptr() == units.data_ptr()
