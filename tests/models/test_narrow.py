"""Gradients in bfloat16 of convolutions whose stride is longer than their maps are wide."""

import pytest
import torch
from torch import nn

from dropbench.models.narrow import spare_narrow_maps


def fill_memory(numbers):
    """Leave values that are no numbers where the next tensors of so many numbers will be."""
    held = [torch.full((numbers,), torch.nan, dtype=kind) for kind in (torch.float32, torch.bfloat16) * 8]
    del held


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"),
    [
        (3, 2, 1, (1, 1)),
        (3, 2, 1, (4, 1)),
        (3, 4, 1, (2, 2)),
        (1, 2, 0, (1, 1)),
        (3, 2, 1, (3, 3)),
        (3, 2, 2, (1, 1)),
    ],
)
def test_gradients_are_those_of_all_digits(kernel, stride, padding, size):
    generator = torch.Generator().manual_seed(0)
    net = nn.Conv2d(16, 16, kernel, stride, padding, bias=False)
    exact = nn.Conv2d(16, 16, kernel, stride, padding, bias=False, dtype=torch.float64)
    exact.load_state_dict(net.state_dict())
    spare_narrow_maps(net)
    images = torch.randn(32, 16, *size, generator=generator)
    expected = exact(images.double())
    slope = torch.randn(expected.shape, generator=generator)
    expected.backward(slope.double())
    for _ in range(4):
        fill_memory(net.weight.numel())
        net.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = net(images)
        assert outputs.shape == expected.shape
        outputs.backward(slope.bfloat16())
        gap = (net.weight.grad - exact.weight.grad).abs().max() / exact.weight.grad.abs().max()
        assert gap < 0.02
