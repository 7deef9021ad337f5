"""A fully connected layer, ReLU and dropout, whose backward pass prepares the products of the layer."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from dropbench.kernels import compiled
from dropbench.kernels.draws import Chance, Draw
from dropbench.kernels.numbers import active, comparable, narrowed, widened
from dropbench.kernels.relu import drop_units

_COLUMNS = 64  # of a tile, a row of which is a line of the cache


def takes_layer(units: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether ``linear_relu_drop`` can be used: all in bfloat16 on the CPU, without gaps."""
    alike = units.dtype == weight.dtype == torch.bfloat16
    return alike and units.ndim == 2 and units.is_contiguous() and compiled.takes(units)


def linear_relu_drop(
    units: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    chance: Chance,
    scale: float,
    draw: Draw,
) -> torch.Tensor:
    """Return dropout(relu(linear(units, weight, bias))), ``(batch, outputs)``.

    Each unit is dropped with the given chance, independently; the others are multiplied by ``scale``. In the
    backward pass the gradient of the layer's output is also written with rows and columns exchanged, since
    oneDNN multiplies by it faster so, and summed for the bias.

    Args:
        units: what goes into the layer, ``(batch, inputs)``.
        weight: ``(outputs, inputs)``.
        bias: ``(outputs,)``, or None.
        chance: the chance of a unit to be dropped.
        scale: the factor on kept units.
        draw: where the mask comes from.

    """
    dropped: torch.Tensor = _LinearReLUDrop.apply(units, weight, bias, chance, scale, draw)
    return dropped


class _LinearReLUDrop(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        units: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        chance: Chance,
        scale: float,
        draw: Draw,
    ) -> torch.Tensor:
        dropped = drop_units(F.linear(units, weight, bias), chance, scale, draw)
        ctx.save_for_backward(units, weight, dropped)
        ctx.scale, ctx.has_bias = scale, bias is not None
        return dropped

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        units, weight, dropped = ctx.saved_tensors
        batch, outputs = dropped.shape
        to_outputs = torch.empty_like(dropped)
        exchanged = torch.empty(outputs, batch, dtype=dropped.dtype)
        sums = torch.empty(outputs, dtype=torch.float32)
        arrays = [
            compiled.in_memory(each).reshape(each.shape)
            for each in (gradient.contiguous(), dropped, to_outputs, exchanged)
        ]
        _backward(*arrays, sums.numpy(), ctx.scale)
        to_units = to_outputs @ weight if ctx.needs_input_grad[0] else None
        to_weight = exchanged @ units if ctx.needs_input_grad[1] else None
        to_bias = sums.to(dropped.dtype) if ctx.has_bias else None
        return to_units, to_weight, to_bias, None, None, None


@compiled.kernel("void(int16[:, ::1], int16[:, ::1], int16[:, ::1], int16[:, ::1], float32[::1], float64)")
def _backward(gradient, dropped, to_outputs, exchanged, sums, scale):  # type: ignore[no-untyped-def]
    batch, outputs = dropped.shape
    factor, zero = np.float32(scale), np.int16(0)
    for block in compiled.prange((outputs + _COLUMNS - 1) // _COLUMNS):
        first = block * _COLUMNS
        last = min(first + _COLUMNS, outputs)
        tile = np.empty((batch, last - first), np.int16)
        total = np.zeros(last - first, np.float32)
        for row in range(batch):
            here, unit, there = gradient[row, first:last], dropped[row, first:last], tile[row]
            for i in range(last - first):
                scaled = narrowed(widened(here[i]) * factor, here[i])
                there[i] = scaled if active(comparable(unit[i])) else zero
            for i in range(last - first):
                total[i] += widened(there[i])
            to_outputs[row, first:last] = there
        sums[first:last] = total
        for i in range(last - first):
            column = exchanged[first + i]
            for row in range(batch):
                column[row] = tile[row, i]
