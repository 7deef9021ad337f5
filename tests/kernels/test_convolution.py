"""A convolution whose weight gradient is computed on several images in a row is torch's convolution."""

import pytest
import torch
import torch.nn.functional as F

from dropbench.kernels import convolution
from dropbench.kernels.convolution import narrow_conv2d, side_by_side
from tests.kernels.reference import mixed


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("shape", [(7, 16, 8, 8), (3, 5, 9, 4), (128, 32, 8, 8), (4, 8, 1, 1)], ids=str)
@pytest.mark.parametrize("images", [2, 3, 6])
def test_values_and_gradients_are_those_of_torch(size, shape, images):
    maps, weight = (
        mixed(shape, torch.bfloat16),
        0.1 * mixed((12, shape[1], size, size), torch.bfloat16, seed=1),
    )
    bias, found = mixed((12,), torch.bfloat16, seed=2), []
    for function in (narrow_conv2d, lambda *given: F.conv2d(*given[:3], padding=size // 2)):
        given = maps.clone().requires_grad_(), weight.clone().requires_grad_()
        out = function(*given, bias, images)
        out.backward(mixed(tuple(out.shape), torch.bfloat16, seed=3))
        found.append((out, *(each.grad for each in given)))
    ours, torchs = found
    assert torch.equal(ours[0], torchs[0])
    assert torch.equal(ours[1], torchs[1])
    # A sum over all places in another order, rounded once.
    torch.testing.assert_close(ours[2], torchs[2], rtol=2**-7, atol=2**-7 * torchs[2].abs().max().item())


@pytest.mark.parametrize(
    ("width", "size", "images"), [(8, 3, 3), (16, 3, 1), (4, 3, 6), (8, 5, 3), (32, 3, 1)]
)
def test_as_many_images_as_fill_a_block_stand_in_a_row(monkeypatch, width, size, images):
    monkeypatch.setattr(convolution, "_has_amx", lambda: True)
    assert side_by_side(mixed((64, 4, width, width), torch.bfloat16), size) == images


@pytest.mark.parametrize("other", ["float32", "contiguous", "no AMX"])
def test_where_nothing_is_gained_torch_convolves(monkeypatch, other):
    monkeypatch.setattr(convolution, "_has_amx", lambda: other != "no AMX")
    maps = mixed((64, 4, 8, 8), torch.float32 if other == "float32" else torch.bfloat16)
    assert side_by_side(maps.contiguous() if other == "contiguous" else maps, 3) == 1
