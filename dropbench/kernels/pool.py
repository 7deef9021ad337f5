"""Max-pooling, ReLU and dropout of feature maps in one pass."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from dropbench.kernels import compiled
from dropbench.kernels.draws import NEVER, NO_DRAW, Chance, Draw
from dropbench.kernels.mask import decide, drop
from dropbench.kernels.numbers import active, comparable, exceeds, narrowed, widened

STRIDE = 2


def pool_relu(
    maps: torch.Tensor,
    window: int,
    chance: Chance = NEVER,
    scale: float = 1.0,
    draw: Draw = NO_DRAW,
    bias: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the largest value of each window, or 0 where it is negative, × a mask × ``scale``.

    It is dropout(relu(max_pool2d(maps))), to the last bit, but that a 0 is never −0. Each unit of the result
    is dropped with the given chance, numbered with the channels last; where the chance is NEVER, there is no
    scale.

    Args:
        maps: feature maps ``(batch, channels, height, width)``.
        window: 2, for 2×2 windows that do not overlap; or 3, for 3×3 windows at every second place, with a
            margin of one place around the maps.
        chance: the chance of a unit to be dropped.
        scale: the factor on kept units.
        draw: where the mask comes from.
        bias: a bias ``(channels,)`` that the maps contain already, detached; its gradient is computed here,
            as the sum over all units, where a convolution would sum the gradients of all places.

    """
    if compiled.takes(maps) and maps.is_contiguous(memory_format=torch.channels_last):
        pooled: torch.Tensor = _PoolReLU.apply(maps, bias, window, chance, scale, draw)
        return pooled
    if bias is not None:
        maps = bias_of(maps, bias)
    return pool_relu_in_torch(maps, window, chance, scale, draw)


def bias_of(maps: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Return the maps, which contain the bias ``(channels,)``, with its gradient to be computed here."""
    same: torch.Tensor = _BiasOf.apply(maps, bias)
    return same


def max_pool(maps: torch.Tensor, window: int) -> torch.Tensor:
    """Return the largest value of each window, by torch's own operation; see pool_relu."""
    return F.max_pool2d(maps, window, STRIDE, padding=1 if window > STRIDE else 0)


def pool_relu_in_torch(
    maps: torch.Tensor, window: int, chance: Chance, scale: float, draw: Draw
) -> torch.Tensor:
    """Return what ``pool_relu`` does, by torch's own operations."""
    # ReLU is monotone: after the pool it gives the same result on a quarter of the elements.
    pooled = torch.relu(max_pool(maps, window))
    return drop(pooled, chance, scale, draw) if chance.levels else pooled


class _BiasOf(torch.autograd.Function):
    """The maps as they are; backward also the gradient of the bias that they contain."""

    @staticmethod
    def forward(ctx: Any, maps: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.dtype = bias.dtype
        return maps.view_as(maps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return gradient, gradient.sum((0, 2, 3), dtype=torch.float32).to(ctx.dtype)


class _PoolReLU(torch.autograd.Function):
    """The forward pass keeps a byte for each unit: which place of the window it comes from, or none."""

    @staticmethod
    def forward(
        ctx: Any,
        maps: torch.Tensor,
        bias: torch.Tensor | None,
        window: int,
        chance: Chance,
        scale: float,
        draw: Draw,
    ) -> torch.Tensor:
        batch, channels, height, width = maps.shape
        rows, columns = (height // 2, width // 2) if window == STRIDE else (-(-height // 2), -(-width // 2))
        shape = (batch, channels, rows, columns)
        pooled = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
        places = torch.empty((batch, rows, columns, channels), dtype=torch.uint8)
        forward = _pool_2 if window == STRIDE else _pool_3
        forward(_rows(maps), _rows(pooled), places.numpy(), chance.levels, chance.bits, scale, *draw.counter)
        ctx.save_for_backward(places)
        ctx.shape, ctx.window, ctx.scale = maps.shape, window, scale if chance.levels else 1.0
        ctx.dtype_of_bias = None if bias is None else bias.dtype
        return pooled

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None, None, None, None, None]:
        (places,) = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        to_maps = torch.empty(ctx.shape, dtype=gradient.dtype, memory_format=torch.channels_last)
        backward = _unpool_2 if ctx.window == STRIDE else _unpool_3
        batch, channels, rows, _ = gradient.shape
        sums = torch.empty(batch * rows, channels, dtype=torch.float32)
        backward(_rows(gradient), places.numpy(), _rows(to_maps), sums.numpy(), ctx.scale)
        to_bias = None if ctx.dtype_of_bias is None else sums.sum(0).to(ctx.dtype_of_bias)
        return to_maps, to_bias, None, None, None, None


def _rows(maps: torch.Tensor) -> np.ndarray:
    """The maps as an array ``(batch, height, width, channels)``, bfloat16 as int16, bit by bit."""
    batch, channels, height, width = maps.shape
    return compiled.in_memory(maps).reshape(batch, height, width, channels)


_FORWARD = [
    f"void({of}[:, :, :, ::1], {of}[:, :, :, ::1], uint8[:, :, :, ::1], int64, int64, float64, "
    "int64, int64, int64, int64, int64)"
    for of in ("float32", "int16")
]
_BACKWARD = [
    f"void({of}[:, :, :, ::1], uint8[:, :, :, ::1], {of}[:, :, :, ::1], float32[:, ::1], float64)"
    for of in ("float32", "int16")
]


@compiled.helper
def _drop_row(pooled, places, row, levels, bits, scale, none, low, high, part, number, site):  # type: ignore[no-untyped-def]
    """Drop the units of one row of maps and scale the others; what is dropped comes from no place."""
    kept, zero = np.empty(len(pooled), np.bool_), narrowed(np.float32(0), pooled[0])
    decide(kept, row * len(pooled), levels, bits, low, high, part, number, site)
    for unit in range(len(pooled)):
        scaled = narrowed(widened(pooled[unit]) * scale, pooled[unit])
        pooled[unit] = scaled if kept[unit] else zero
    for unit in range(len(pooled)):
        places[unit] = places[unit] if kept[unit] else none


@compiled.kernel(*_FORWARD)
def _pool_2(maps, pooled, places, levels, bits, scale, low, high, part, number, site):  # type: ignore[no-untyped-def]
    batch, rows, columns, channels = pooled.shape
    factor, none, zero = np.float32(scale), np.uint8(4), narrowed(np.float32(0), maps[0, 0, 0, 0])
    for row in compiled.prange(batch * rows):
        image, i = row // rows, row % rows
        for j in range(columns):
            first, second = maps[image, 2 * i, 2 * j], maps[image, 2 * i, 2 * j + 1]
            third, fourth = maps[image, 2 * i + 1, 2 * j], maps[image, 2 * i + 1, 2 * j + 1]
            largest, place = pooled[image, i, j], places[image, i, j]
            for channel in range(channels):
                value, at = comparable(first[channel]), np.uint8(0)
                other = comparable(second[channel])
                if exceeds(other, value):
                    value, at = other, np.uint8(1)
                other = comparable(third[channel])
                if exceeds(other, value):
                    value, at = other, np.uint8(2)
                other = comparable(fourth[channel])
                if exceeds(other, value):
                    value, at = other, np.uint8(3)
                if not active(value):
                    value, at = zero, none
                largest[channel] = value
                place[channel] = at
        if levels > 0:
            units, origins = pooled[image, i].reshape(-1), places[image, i].reshape(-1)
            _drop_row(units, origins, row, levels, bits, factor, none, low, high, part, number, site)


@compiled.kernel(*_FORWARD)
def _pool_3(maps, pooled, places, levels, bits, scale, low, high, part, number, site):  # type: ignore[no-untyped-def]
    batch, rows, columns, channels = pooled.shape
    height, width = maps.shape[1:3]
    factor, none, zero = np.float32(scale), np.uint8(9), narrowed(np.float32(0), maps[0, 0, 0, 0])
    for row in compiled.prange(batch * rows):
        image, i = row // rows, row % rows
        for j in range(columns):
            largest, place = pooled[image, i, j], places[image, i, j]
            begun = False
            for y in range(max(0, 2 * i - 1), min(height, 2 * i + 2)):
                for x in range(max(0, 2 * j - 1), min(width, 2 * j + 2)):
                    values, at = maps[image, y, x], np.uint8(3 * (y - 2 * i + 1) + x - 2 * j + 1)
                    if begun:
                        for channel in range(channels):
                            value, before = comparable(values[channel]), largest[channel]
                            larger = exceeds(value, before)
                            largest[channel] = value if larger else before
                            place[channel] = at if larger else place[channel]
                    else:
                        for channel in range(channels):
                            largest[channel] = comparable(values[channel])
                            place[channel] = at
                        begun = True
            for channel in range(channels):
                value = largest[channel]
                place[channel] = place[channel] if active(value) else none
                largest[channel] = value if active(value) else zero
        if levels > 0:
            units, origins = pooled[image, i].reshape(-1), places[image, i].reshape(-1)
            _drop_row(units, origins, row, levels, bits, factor, none, low, high, part, number, site)


@compiled.helper
def _arriving(gradient, places, scale, none, total):  # type: ignore[no-untyped-def]
    """A row of the gradient × ``scale``, rounded; what comes from a place is added to ``total``."""
    columns, channels = gradient.shape
    scaled = np.empty_like(gradient)
    for j in range(columns):
        given, to, place = gradient[j], scaled[j], places[j]
        for channel in range(channels):
            to[channel] = narrowed(widened(given[channel]) * scale, given[channel])
        for channel in range(channels):
            total[channel] += widened(to[channel]) if place[channel] != none else np.float32(0)
    return scaled


@compiled.kernel(*_BACKWARD)
def _unpool_2(gradient, places, to_maps, sums, scale):  # type: ignore[no-untyped-def]
    batch, rows, columns, channels = gradient.shape
    height, width = to_maps.shape[1:3]
    factor, windows = np.float32(scale), (height + 1) // 2
    for row in compiled.prange(batch * windows):
        image, i = row // windows, row % windows
        if i == rows:  # the last row of maps with an odd height is in no window
            to_maps[image, 2 * i] = 0
            continue
        total = sums[image * rows + i]
        total[:] = 0
        arriving = _arriving(gradient[image, i], places[image, i], factor, np.uint8(4), total)
        zero = narrowed(np.float32(0), arriving[0, 0])
        for y in range(2):
            there = to_maps[image, 2 * i + y]
            for x in range(2 * columns):
                units, place, maps = arriving[x // 2], places[image, i, x // 2], there[x]
                at = np.uint8(2 * y + x % 2)
                for channel in range(channels):
                    maps[channel] = units[channel] if place[channel] == at else zero
            if width > 2 * columns:
                there[width - 1] = 0


@compiled.kernel(*_BACKWARD)
def _unpool_3(gradient, places, to_maps, sums, scale):  # type: ignore[no-untyped-def]
    batch, rows, columns, channels = gradient.shape
    height, width = to_maps.shape[1:3]
    factor = np.float32(scale)
    scaled = np.empty_like(gradient)
    for row in compiled.prange(batch * rows):
        image, i = row // rows, row % rows
        total = sums[row]
        total[:] = 0
        scaled[image, i] = _arriving(gradient[image, i], places[image, i], factor, np.uint8(9), total)
    for row in compiled.prange(batch * height):
        image, y = row // height, row % height
        around = np.empty(channels, np.float32)
        for x in range(width):
            around[:] = 0
            # The windows around this place, in the order in which torch adds their gradients.
            for i in range(y // 2, min((y + 1) // 2, rows - 1) + 1):
                for j in range(x // 2, min((x + 1) // 2, columns - 1) + 1):
                    units, place = scaled[image, i, j], places[image, i, j]
                    at = np.uint8(3 * (y - 2 * i + 1) + x - 2 * j + 1)
                    for channel in range(channels):
                        around[channel] += widened(units[channel]) if place[channel] == at else np.float32(0)
            there = to_maps[image, y, x]
            for channel in range(channels):
                there[channel] = narrowed(around[channel], there[channel])
