"""Bernoulli masks, drawn four units to one 64-bit random number.

``torch.nn.Dropout`` draws one number per unit on one core: 11 to 14 ns a unit here; this takes about 1.
"""

import torch

LEVELS = 1 << 16


def drop_levels(p: float) -> int:
    """How many of the 65,536 equally likely values of a 16-bit number mean *drop*.

    The probability a mask really has is this over 65,536. It is within 2⁻¹⁷ of ``p`` and below 1, so
    that a scale of 1/(1 − p) stays finite.
    """
    return min(round(p * LEVELS), LEVELS - 1)


def random_levels(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Independent uniform int16 values of the shape, strides and device of ``like``.

    They are laid out in the memory order of ``like``, which must be dense: a contiguous mask on a
    channels_last activation would cost a slow strided product and lose the layout.
    """
    quads = torch.empty((like.numel() + 3) // 4, dtype=torch.int64, device=like.device)
    quads.random_(-(1 << 63), None, generator=generator)  # None: up to 2⁶³ − 1
    return quads.view(torch.int16)[: like.numel()].as_strided(like.shape, like.stride())


@torch.no_grad()
def keep_mask(like: torch.Tensor, levels: int, generator: torch.Generator) -> torch.Tensor:
    """A mask of ``like``'s shape and dtype: 0 for a dropped unit, 1 for a kept one.

    Every element, hence every sample and unit, is drawn for itself and dropped with probability
    ``levels`` / 65,536.
    """
    mask = torch.empty_like(like)
    return torch.ge(random_levels(like, generator), levels - LEVELS // 2, out=mask)
