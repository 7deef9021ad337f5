"""Bernoulli masks, and units multiplied by them in one pass."""

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from dropbench.kernels import compiled
from dropbench.kernels.draws import Chance, Draw
from dropbench.kernels.numbers import narrowed, widened
from dropbench.kernels.order import in_order, numbered_in_memory
from dropbench.kernels.philox import fill_words, happens_in_torch


def keep_mask(like: torch.Tensor, chance: Chance, draw: Draw) -> torch.Tensor:
    """Return a mask: 0 for a dropped unit, 1 for a kept one.

    It has the shape, dtype and memory format of ``like``. Each unit is dropped with the given chance,
    independently.
    """
    mask = torch.ones_like(like, requires_grad=False)
    return drop(mask, chance, 1.0, draw)


def drop(units: torch.Tensor, chance: Chance, scale: float, draw: Draw) -> torch.Tensor:
    """Return ``units`` × a mask × ``scale``, in the shape, dtype and memory format of ``units``.

    Each unit is dropped with the given chance, independently.
    """
    if compiled.takes(units):
        dropped: torch.Tensor = _Drop.apply(in_order(units), chance, scale, draw)
        return dropped.contiguous() if units.is_contiguous() else dropped
    if units.device.type == "cuda":
        from dropbench.kernels import on_cuda  # here, since Triton is there on CUDA only

        if on_cuda.takes(units) and numbered_in_memory(units):
            return on_cuda.drop(units, chance, scale, draw)
    return drop_in_torch(units, chance, scale, draw)


def drop_in_torch(units: torch.Tensor, chance: Chance, scale: float, draw: Draw) -> torch.Tensor:
    """Return what ``drop`` does, by torch's own operations on any device and in any memory format."""
    with torch.no_grad():
        dropped = happens_in_torch(units.numel(), chance, draw, units.device)
        if units.ndim == 4:
            batch, channels, height, width = units.shape
            dropped = dropped.view(batch, height, width, channels).permute(0, 3, 1, 2)
        else:
            dropped = dropped.view(units.shape)
    # Not a product with the mask: 0 × ∞ is NaN, and a dropped unit is 0.
    result = torch.where(dropped, units.new_zeros(()), (units * scale).to(units.dtype))
    return result.contiguous() if units.is_contiguous() else result


class _Drop(torch.autograd.Function):
    """The forward pass keeps a byte for each unit, which is faster than to draw the mask again."""

    @staticmethod
    def forward(ctx: Any, units: torch.Tensor, chance: Chance, scale: float, draw: Draw) -> torch.Tensor:
        dropped = torch.empty_like(units)
        kept = torch.empty(units.numel(), dtype=torch.bool)
        arguments = (chance.levels, chance.bits, scale, *draw.counter)
        _drop(compiled.in_memory(units), compiled.in_memory(dropped), kept.numpy(), *arguments)
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return dropped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (kept,) = ctx.saved_tensors
        gradient = in_order(gradient)
        to_units = torch.empty_like(gradient)
        _scale_kept(compiled.in_memory(gradient), kept.numpy(), compiled.in_memory(to_units), ctx.scale)
        return to_units, None, None, None


CHUNK = 8192
"""Units that a thread does at a time; their random words fit into a core's first cache."""


@compiled.helper
def decide(kept, first, levels, bits, low, high, part, number, site):  # type: ignore[no-untyped-def]
    """Write into ``kept`` whether the units are kept whose numbers begin with ``first``."""
    in_block = 128 // bits
    start = first // in_block
    blocks = (first + len(kept) + in_block - 1) // in_block - start
    words = np.empty(4 * blocks, np.uint32)
    fill_words(words, start, blocks, low, high, part, number, site)
    before = first - start * in_block
    if bits == 16:
        halves, least = words.view(np.uint16)[before : before + len(kept)], np.uint16(levels)
        for i in range(len(kept)):
            kept[i] = halves[i] >= least
    else:
        numbers, least32 = words[before : before + len(kept)], np.uint32(levels)
        for i in range(len(kept)):
            kept[i] = numbers[i] >= least32


@compiled.kernel(
    *(
        f"void({of}[::1], {of}[::1], boolean[::1], int64, int64, float64, int64, int64, int64, int64, int64)"
        for of in ("float32", "int16")
    )
)
def _drop(units, dropped, kept, levels, bits, scale, low, high, part, number, site):  # type: ignore[no-untyped-def]
    factor, zero = np.float32(scale), narrowed(np.float32(0), units[0])
    for chunk in compiled.prange((len(units) + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        stop = min(start + CHUNK, len(units))
        here, there, keep = units[start:stop], dropped[start:stop], kept[start:stop]
        decide(keep, start, levels, bits, low, high, part, number, site)
        for i in range(stop - start):
            scaled = narrowed(widened(here[i]) * factor, here[i])
            there[i] = scaled if keep[i] else zero


@compiled.kernel(*(f"void({of}[::1], boolean[::1], {of}[::1], float64)" for of in ("float32", "int16")))
def _scale_kept(gradient, kept, to_units, scale):  # type: ignore[no-untyped-def]
    factor, zero = np.float32(scale), narrowed(np.float32(0), gradient[0])
    for chunk in compiled.prange((len(gradient) + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        stop = min(start + CHUNK, len(gradient))
        here, there, keep = gradient[start:stop], to_units[start:stop], kept[start:stop]
        for i in range(stop - start):
            scaled = narrowed(widened(here[i]) * factor, here[i])
            there[i] = scaled if keep[i] else zero
