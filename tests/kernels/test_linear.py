"""A layer, ReLU and dropout in one node give what the three give one after the other."""

import pytest
import torch
import torch.nn.functional as F

from dropbench.kernels.draws import chance_of
from dropbench.kernels.linear import linear_relu_drop, takes_layer
from dropbench.kernels.mask import drop_in_torch
from tests.kernels.reference import DRAW, mixed, same_bits


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 13, 5), (128, 784, 1024), (33, 64, 65)], ids=str)
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("has_bias", [True, False])
def test_values_and_gradients_are_those_of_the_three(shape, p, has_bias):
    batch, inputs, outputs = shape
    chance = chance_of(p)
    scale = 1 / (1 - chance.probability)
    units = mixed((batch, inputs), torch.bfloat16)
    weight = 0.05 * mixed((outputs, inputs), torch.bfloat16, seed=1)
    bias = mixed((outputs,), torch.bfloat16, seed=2) if has_bias else None
    found = []
    for fused in (True, False):
        given = [None if each is None else each.clone().requires_grad_() for each in (units, weight, bias)]
        if fused:
            assert takes_layer(*given[:2])
            out = linear_relu_drop(*given, chance, scale, DRAW)
        else:
            out = drop_in_torch(torch.relu(F.linear(*given)), chance, scale, DRAW)
        out.backward(mixed((batch, outputs), torch.bfloat16, seed=3))
        found.append([out.detach(), *(each.grad for each in given if each is not None)])
    assert same_bits(found[0][0], found[1][0])
    for ours, torchs in zip(found[0][1:], found[1][1:], strict=True):
        # Sums in another order, rounded once.
        torch.testing.assert_close(ours, torchs, rtol=2**-7, atol=2**-7 * torchs.abs().max().item())


def test_a_gradient_that_is_one_number_spread_over_all_is_taken():
    """The gradient of a sum has no memory of its own for each unit."""
    units, weight = mixed((5, 4), torch.bfloat16), mixed((3, 4), torch.bfloat16, seed=1)
    grads = []
    for fused in (True, False):
        given = weight.clone().requires_grad_()
        out = (
            linear_relu_drop(units, given, None, chance_of(0.5), 2.0, DRAW)
            if fused
            else drop_in_torch(torch.relu(F.linear(units, given)), chance_of(0.5), 2.0, DRAW)
        )
        out.sum().backward()
        grads.append(given.grad)
    torch.testing.assert_close(*grads, rtol=2**-7, atol=1e-2)


@pytest.mark.parametrize("kind", ["float32", "mixed", "with gaps", "three dimensions"])
def test_other_tensors_are_left_to_torch(kind):
    units, weight = mixed((4, 6), torch.bfloat16), mixed((3, 6), torch.bfloat16)
    others = {
        "float32": (units.float(), weight.float()),
        "mixed": (units, weight.float()),
        "with gaps": (mixed((4, 12), torch.bfloat16)[:, ::2], weight),
        "three dimensions": (units[None], weight),
    }
    assert not takes_layer(*others[kind])
