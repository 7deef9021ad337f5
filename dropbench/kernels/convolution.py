"""A convolution of narrow maps, whose weight gradient is computed on several images side by side."""

import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from dropbench.kernels import compiled

# AMX multiplies blocks of 32 numbers, and oneDNN fills them along a row of the maps: maps of 8 columns would
# leave three quarters of each block empty.
_BLOCK = 32


def side_by_side(maps: torch.Tensor, kernel_size: int) -> int:
    """Return how many images of ``maps`` fill a block of AMX; 1 where nothing is gained by several."""
    # In this order: torch.compile, for which no kernel takes any maps, cannot ask the processor in a graph.
    if not (compiled.takes(maps) and maps.dtype == torch.bfloat16 and _has_amx()):
        return 1
    gap = kernel_size // 2
    fits = (_BLOCK + gap) // (maps.shape[3] + gap)
    return min(fits, len(maps)) if maps.is_contiguous(memory_format=torch.channels_last) else 1


def narrow_conv2d(
    maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, images: int
) -> torch.Tensor:
    """Return conv2d(maps, weight, bias) with zeros around the maps, in the size of the maps.

    Args:
        maps: bfloat16 in channels_last, ``(batch, channels, height, width)``.
        weight: ``(outputs, channels, size, size)`` with an odd size.
        bias: ``(outputs,)``; it gets no gradient.
        images: how many images stand side by side when the gradient of the weight is computed.

    """
    convolved: torch.Tensor = _NarrowConv2d.apply(maps, weight, bias, images)
    return convolved


class _NarrowConv2d(torch.autograd.Function):
    """torch's convolution; the gradient of the weight is a sum over places, so their order is free."""

    @staticmethod
    def forward(
        ctx: Any, maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, images: int
    ) -> torch.Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.images = images
        return F.conv2d(maps, weight, bias, padding=weight.shape[2] // 2)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        maps, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_maps = to_weight = None
        if ctx.needs_input_grad[0]:
            to_maps = _gradients(gradient, maps, weight, (True, False, False))[0]
        if ctx.needs_input_grad[1]:
            gap = weight.shape[2] // 2
            in_rows = _in_rows(gradient, ctx.images, gap), _in_rows(maps, ctx.images, gap)
            to_weight = _gradients(*in_rows, weight, (False, True, False))[1]
        return to_maps, to_weight, None, None


def _gradients(
    gradient: torch.Tensor, maps: torch.Tensor, weight: torch.Tensor, wanted: tuple[bool, bool, bool]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    padding = weight.shape[2] // 2
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = torch.ops.aten.convolution_backward(
        gradient, maps, weight, None, (1, 1), (padding, padding), (1, 1), False, (0, 0), 1, wanted
    )
    return found


def _in_rows(maps: torch.Tensor, images: int, gap: int) -> torch.Tensor:
    """Return the maps with several images side by side, and ``gap`` columns of zeros between them."""
    batch, channels, height, width = maps.shape
    groups, wide = -(-batch // images), images * (width + gap) - gap
    rows = torch.empty((groups, channels, height, wide), dtype=maps.dtype, memory_format=torch.channels_last)
    _copy(
        compiled.in_memory(maps).reshape(batch, height, width, channels),
        compiled.in_memory(rows).reshape(groups, height, wide, channels),
        images,
        gap,
    )
    return rows


@functools.cache
def _has_amx() -> bool:
    return bool(torch.cpu._is_amx_tile_supported())


@compiled.kernel("void(int16[:, :, :, ::1], int16[:, :, :, ::1], int64, int64)")
def _copy(maps, rows, images, gap):  # type: ignore[no-untyped-def]
    batch, height, width, channels = maps.shape
    groups = len(rows)
    for row in compiled.prange(groups * height):
        group, y = row // height, row % height
        there = rows[group, y].reshape(-1)
        for number in range(images):
            image, start = group * images + number, number * (width + gap) * channels
            stop, end = start + width * channels, min(start + (width + gap) * channels, len(there))
            if image < batch:
                here = maps[image, y].reshape(-1)
                for i in range(len(here)):
                    there[start + i] = here[i]
            else:
                there[start:stop] = 0
            there[stop:end] = 0
