"""A step in one pass is that of torch's optimizer, with an L1 penalty and the projection of torch.renorm."""

import pytest
import torch

from dropbench.kernels.sgd import Weights, sgd_step
from tests.kernels.reference import mixed

SHAPES = [(7,), (10, 13), (64, 3, 3, 3), (300, 129), (16, 8, 5, 5)]


def steps(shape, momentum, weight_decay, max_norm, count=4, l1=0.0):
    """Weights after some steps, by the kernel and by torch.optim.SGD on float32."""
    start = 0.1 * mixed(shape, torch.float32)
    ours = Weights(start.bfloat16(), start.clone(), torch.zeros_like(start))
    theirs = torch.nn.Parameter(start.clone())
    optimizer = torch.optim.SGD([theirs], lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for number in range(count):
        gradient = mixed(shape, torch.bfloat16, seed=number)
        assert ours.fit_a_kernel
        sgd_step(ours, gradient, 0.1, momentum, weight_decay, max_norm, l1)
        theirs.grad = gradient.float() + l1 * theirs.detach().sign()
        optimizer.step()
        if max_norm is not None:
            with torch.no_grad():
                theirs.renorm_(2, 0, max_norm)
    return ours, theirs.detach()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.95, 1e-2)])
@pytest.mark.parametrize("max_norm", [None, 0.5])
@pytest.mark.parametrize("l1", [0.0, 0.25])
def test_it_is_torchs_step(shape, momentum, weight_decay, max_norm, l1):
    if max_norm is not None and len(shape) == 1:
        pytest.skip("biases have no bound")
    ours, theirs = steps(shape, momentum, weight_decay, max_norm, l1=l1)
    torch.testing.assert_close(ours.master, theirs, rtol=2e-6, atol=2e-7)
    assert torch.equal(ours.parameter, ours.master.bfloat16())


def test_no_row_is_longer_than_the_bound():
    ours, _ = steps((40, 200), 0.9, 0.0, 0.25, count=20)
    lengths = ours.master.norm(dim=1)
    assert lengths.max() <= 0.25 * (1 + 1e-6)
    assert lengths.min() > 0


def test_the_l1_penalty_leaves_a_weight_of_zero_alone():
    weights = Weights(torch.zeros(40, dtype=torch.bfloat16), torch.zeros(40), torch.zeros(40))
    sgd_step(weights, torch.zeros(40, dtype=torch.bfloat16), 0.1, l1=0.5)
    assert not weights.master.any()


def test_small_steps_are_not_lost_to_rounding():
    """A bfloat16 weight of 1 cannot move by a thousandth; its master can, a thousand times."""
    weights = Weights(torch.ones(8, dtype=torch.bfloat16), torch.ones(8), torch.zeros(8))
    for _ in range(1000):
        sgd_step(weights, torch.ones(8, dtype=torch.bfloat16), 1e-4)
    torch.testing.assert_close(weights.master, torch.full((8,), 0.9), rtol=1e-4, atol=0)
    assert torch.equal(weights.parameter, weights.master.bfloat16())


def test_a_gradient_in_another_memory_format_is_taken_place_by_place():
    start = 0.1 * mixed((4, 6, 3, 3), torch.float32)
    gradient = mixed((4, 6, 3, 3), torch.bfloat16, seed=1)
    results = []
    for given in (gradient, gradient.contiguous()):
        weights = Weights(start.bfloat16(), start.clone(), torch.zeros_like(start))
        sgd_step(weights, given, 0.1)
        results.append(weights.master)
    assert torch.equal(*results)
