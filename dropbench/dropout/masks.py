"""Bernoulli masks, four units to each 64-bit random number, and their application to units.

On the CPU ``torch.nn.Dropout`` draws one number per unit on one core, which takes 11 to 14 ns per unit; this
module takes about 1.5 ns, forward and backward together (``dropbench speed`` measures both). On CUDA torch's
own fused kernel is the fastest, and it is made to draw from the run's stream.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from dropbench.dropout.lending import as_default

LEVELS = 1 << 16


def drop_levels(p: float) -> int:
    """Return how many of the 65,536 equally likely values of a 16-bit number mean *drop*.

    The actual drop probability of a mask is this number / 65,536. It is within 2⁻¹⁷ of ``p``, but always
    below 1, so that the scale 1/(1 − p) stays finite.
    """
    return min(round(p * LEVELS), LEVELS - 1)


def random_levels(count: int, generator: torch.Generator) -> torch.Tensor:
    """Return independent uniform int16 values ``(count,)`` on the generator's device."""
    quads = torch.empty((count + 3) // 4, dtype=torch.int64, device=generator.device)
    quads.random_(-(1 << 63), None, generator=generator)  # None stands for 2⁶³ − 1, included
    return quads.view(torch.int16)[:count]


@torch.no_grad()
def keep_mask(like: torch.Tensor, levels: int, generator: torch.Generator) -> torch.Tensor:
    """Return a mask with the shape and dtype of ``like``: 0 for a dropped unit, 1 for a kept one.

    Each element is drawn independently and dropped with probability ``levels`` / 65,536. The mask also has
    the memory layout of ``like``: the product of a contiguous mask and a channels_last activation would be
    slow and lose the layout.
    """
    mask = torch.empty_like(like)
    in_memory = mask.as_strided((mask.numel(),), (1,))  # comparing in four dimensions takes 20 times as long
    torch.ge(random_levels(mask.numel(), generator), levels - LEVELS // 2, out=in_memory)
    return mask


def drop(units: torch.Tensor, levels: int, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Return ``units`` × a new mask × ``scale``, in the shape, dtype and layout of ``units``.

    Every unit of every sample is dropped independently with probability ``levels`` / 65,536. ``generator``
    must be on the device of ``units``.
    """
    if units.device.type == "cuda":
        return drop_native(units, levels, scale, generator)
    dropped: torch.Tensor = _Drop.apply(units, levels, scale, generator)
    return dropped


def drop_native(units: torch.Tensor, levels: int, scale: float, generator: torch.Generator) -> torch.Tensor:
    """Drop units like drop, but by torch's own dropout, which draws from its device's default generator."""
    p_drop = levels / LEVELS
    with as_default(generator):
        inverted = F.dropout(units, p_drop)
    factor = scale * (1 - p_drop)
    return inverted if abs(factor - 1) < 1e-12 else inverted * factor


class _Drop(torch.autograd.Function):
    """The product of units, mask and scale: one pass over the units forward, and one backward.

    The mask has the dtype of the units: a Boolean mask would be smaller, but its product three to seven times
    slower. The scale is not part of the mask, since in bf16 it would be off by up to 0.4 %.
    """

    @staticmethod
    def forward(
        ctx: Any, units: torch.Tensor, levels: int, scale: float, generator: torch.Generator
    ) -> torch.Tensor:
        mask = keep_mask(units, levels, generator)
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return _scaled_product(units, mask, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (mask,) = ctx.saved_tensors
        return _scaled_product(gradient, mask, ctx.scale), None, None, None


def _scaled_product(units: torch.Tensor, mask: torch.Tensor, scale: float) -> torch.Tensor:
    return torch.addcmul(units.new_zeros(()), units, mask, value=scale)
