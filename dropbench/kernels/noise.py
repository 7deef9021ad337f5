"""Continuous random numbers of a draw, uniform and normal, in float32 on any device."""

import math
from collections.abc import Sequence

import torch

from dropbench.kernels.draws import Draw
from dropbench.kernels.philox import words

# Units have the numbers that they have in dropbench.kernels.mask: in feature maps the channels come last.


def uniform(shape: Sequence[int], draw: Draw, device: torch.device) -> torch.Tensor:
    """Return independent uniform numbers in the open interval (0, 1).

    They are the middles of 2²³ equal steps. With one step more, float32 would round the highest to 1.
    """
    steps = words(math.prod(shape), draw, device) >> 9 & 0x7FFFFF
    return _numbered(steps.float().add_(0.5).mul_(2.0**-23), shape)


def normal(shape: Sequence[int], draw: Draw, device: torch.device) -> torch.Tensor:
    """Return independent standard normal numbers, two from each pair of words (Box & Muller 1958)."""
    count = math.prod(shape)
    pairs = words(count + count % 2, draw, device).view(-1, 2)
    steps = (pairs[:, 0] & 0x7FFFFFFF).float()  # 2³¹, so that the tails reach 6.7 deviations
    radius = steps.add_(0.5).mul_(2.0**-31).log_().mul_(-2).sqrt_()
    angle = pairs[:, 1].float().mul_(math.pi * 2.0**-31)
    numbers = torch.empty(pairs.shape, device=device)
    torch.mul(radius, angle.cos(), out=numbers[:, 0])
    torch.mul(radius, angle.sin(), out=numbers[:, 1])
    return _numbered(numbers.flatten()[:count], shape)


def _numbered(numbers: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """The numbers in this shape, each at the unit that has its number."""
    if len(shape) == 4:
        batch, channels, height, width = shape
        return numbers.view(batch, height, width, channels).permute(0, 3, 1, 2)
    return numbers.view(*shape)
