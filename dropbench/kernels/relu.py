"""ReLU and dropout in one pass."""

from typing import Any

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from dropbench.kernels import compiled
from dropbench.kernels.draws import Chance, Draw
from dropbench.kernels.mask import CHUNK, decide, drop
from dropbench.kernels.numbers import active, comparable, narrowed, widened
from dropbench.kernels.order import in_order, numbered_in_memory


def relu_drop(pre_activations: torch.Tensor, chance: Chance, scale: float, draw: Draw) -> torch.Tensor:
    """Return dropout(relu(pre_activations)), in the same shape, dtype and memory format; a 0 is never −0.

    Each unit is dropped with the given chance, independently; the others are multiplied by ``scale``.
    """
    if compiled.takes(pre_activations) and numbered_in_memory(pre_activations):
        units: torch.Tensor = _ReLUDrop.apply(pre_activations, chance, scale, draw)
        return units
    if pre_activations.device.type == "cuda":
        from dropbench.kernels import on_cuda  # here, since Triton is there on CUDA only

        if on_cuda.takes(pre_activations) and numbered_in_memory(pre_activations):
            return on_cuda.relu_drop(pre_activations, chance, scale, draw)
    units = torch.relu(pre_activations)
    return drop(units, chance, scale, draw) if chance.levels else units


def drop_units(pre_activations: torch.Tensor, chance: Chance, scale: float, draw: Draw) -> torch.Tensor:
    """Return what ``relu_drop`` does for tensors that the kernel takes, without recording a gradient."""
    units = torch.empty_like(pre_activations)
    arguments = (chance.levels, chance.bits, scale, *draw.counter)
    _relu_drop(compiled.in_memory(pre_activations), compiled.in_memory(units), *arguments)
    return units


class _ReLUDrop(torch.autograd.Function):
    """No mask is kept: the gradient passes where the result is above 0, and that the next layer keeps."""

    @staticmethod
    def forward(
        ctx: Any, pre_activations: torch.Tensor, chance: Chance, scale: float, draw: Draw
    ) -> torch.Tensor:
        units = drop_units(pre_activations, chance, scale, draw)
        ctx.save_for_backward(units)
        ctx.scale = scale
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (units,) = ctx.saved_tensors
        gradient = in_order(gradient)
        to_pre_activations = torch.empty_like(gradient)
        arrays = map(compiled.in_memory, (gradient, units, to_pre_activations))
        _scale_active(*arrays, ctx.scale)
        return to_pre_activations, None, None, None


@compiled.kernel(
    *(
        f"void({of}[::1], {of}[::1], int64, int64, float64, int64, int64, int64, int64, int64)"
        for of in ("float32", "int16")
    )
)
def _relu_drop(pre_activations, units, levels, bits, scale, low, high, part, number, site):  # type: ignore[no-untyped-def]
    factor, zero = np.float32(scale), narrowed(np.float32(0), pre_activations[0])
    for chunk in compiled.prange((len(units) + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        stop = min(start + CHUNK, len(units))
        here, there, kept = pre_activations[start:stop], units[start:stop], np.empty(stop - start, np.bool_)
        if levels > 0:
            decide(kept, start, levels, bits, low, high, part, number, site)
        else:
            kept[:] = True
        for i in range(stop - start):
            scaled = narrowed(widened(here[i]) * factor, here[i])
            there[i] = scaled if kept[i] & active(comparable(here[i])) else zero


@compiled.kernel(*(f"void({of}[::1], {of}[::1], {of}[::1], float64)" for of in ("float32", "int16")))
def _scale_active(gradient, units, to_pre_activations, scale):  # type: ignore[no-untyped-def]
    factor, zero = np.float32(scale), narrowed(np.float32(0), gradient[0])
    for chunk in compiled.prange((len(units) + CHUNK - 1) // CHUNK):
        start = chunk * CHUNK
        stop = min(start + CHUNK, len(units))
        here, there, unit = gradient[start:stop], to_pre_activations[start:stop], units[start:stop]
        for i in range(stop - start):
            scaled = narrowed(widened(here[i]) * factor, here[i])
            there[i] = scaled if active(comparable(unit[i])) else zero
