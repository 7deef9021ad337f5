"""Bernoulli masks, drawn four units to one 64-bit random number, and units dropped by them.

On the CPU ``torch.nn.Dropout`` draws one number per unit on one core, 11 to 14 ns a unit; forward and
backward together this takes about 1.5 (``dropbench speed`` measures both). On CUDA torch's own fused
kernel is the fastest there is, and it is made to draw from the run's stream.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from dropbench.dropout.lending import as_default

LEVELS = 1 << 16


def drop_levels(p: float) -> int:
    """How many of the 65,536 equally likely values of a 16-bit number mean *drop*.

    The probability a mask really has is this over 65,536. It is within 2⁻¹⁷ of ``p`` and below 1, so
    that a scale of 1/(1 − p) stays finite.
    """
    return min(round(p * LEVELS), LEVELS - 1)


def random_levels(count: int, generator: torch.Generator) -> torch.Tensor:
    """Independent uniform int16 values ``(count,)`` on the generator's device."""
    quads = torch.empty((count + 3) // 4, dtype=torch.int64, device=generator.device)
    quads.random_(-(1 << 63), None, generator=generator)  # None: up to 2⁶³ − 1
    return quads.view(torch.int16)[:count]


@torch.no_grad()
def keep_mask(like: torch.Tensor, levels: int, generator: torch.Generator) -> torch.Tensor:
    """A mask of ``like``'s shape and dtype: 0 for a dropped unit, 1 for a kept one.

    Every element, hence every sample and unit, is drawn for itself and dropped with probability
    ``levels`` / 65,536. The mask has the memory layout of ``like``: a contiguous mask on a channels_last
    activation would cost a slow strided product and lose the layout.
    """
    mask = torch.empty_like(like)
    in_memory = mask.as_strided((mask.numel(),), (1,))  # comparing in four dimensions takes 20 times longer
    torch.ge(random_levels(mask.numel(), generator), levels - LEVELS // 2, out=in_memory)
    return mask


def drop(units: torch.Tensor, levels: int, scale: float, generator: torch.Generator) -> torch.Tensor:
    """``units`` × a fresh keep mask × ``scale``, of the shape, dtype and layout of ``units``.

    Every unit of every sample is dropped with probability ``levels`` / 65,536, independently, by draws
    from ``generator``, which lives on the device of ``units``.
    """
    if units.device.type == "cuda":
        return drop_native(units, levels, scale, generator)
    dropped: torch.Tensor = _Drop.apply(units, levels, scale, generator)
    return dropped


def drop_native(units: torch.Tensor, levels: int, scale: float, generator: torch.Generator) -> torch.Tensor:
    """As drop, by torch's own dropout, which knows no generator but the default one of its device."""
    p_drop = levels / LEVELS
    with as_default(generator):
        inverted = F.dropout(units, p_drop)
    factor = scale * (1 - p_drop)
    return inverted if abs(factor - 1) < 1e-12 else inverted * factor


class _Drop(torch.autograd.Function):
    """One pass over the units forward and one backward, with a mask of 0 and 1 in the dtype of the units.

    The scale is applied to the product, in the same pass: a mask that held it would in bf16 be off by up
    to 0.4 %. A Boolean mask would be smaller and its product three to seven times slower.
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
