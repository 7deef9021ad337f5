"""A step of SGD with momentum, L2 and L1 penalties and max-norm in one pass over a parameter in bfloat16."""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from dropbench.kernels import compiled
from dropbench.kernels.numbers import narrowed, widened

_CHUNK = 4096
_LANES = 16  # sums that are added up side by side: a processor's vectors need no other order of the sum
_LEAST_NORM = 1e-7  # as in torch.renorm


@dataclass
class Weights:
    """A parameter in bfloat16, which the net computes with, and its values in float32."""

    parameter: torch.Tensor
    """``master``, rounded."""
    master: torch.Tensor
    velocity: torch.Tensor
    """The sum of past gradients, in float32; 0 at the start."""

    @functools.cached_property
    def arrays(self) -> list[np.ndarray]:
        """The three tensors as the kernel takes them."""
        return [compiled.in_memory(tensor) for tensor in (self.parameter, self.master, self.velocity)]

    @property
    def fit_a_kernel(self) -> bool:
        """Whether ``sgd_step`` takes them: on the CPU, dense, all in one memory format."""
        return self._lie_alike and compiled.takes(self.parameter)

    @functools.cached_property
    def _lie_alike(self) -> bool:
        parameter = self.parameter
        dense = parameter.is_contiguous() or parameter.is_contiguous(memory_format=torch.channels_last)
        alike = self.master.stride() == self.velocity.stride() == parameter.stride()
        return parameter.dtype == torch.bfloat16 and dense and alike


@torch.no_grad()
def sgd_step(
    weights: Weights,
    gradient: torch.Tensor,
    learning_rate: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    max_norm: float | None = None,
    l1: float = 0.0,
) -> None:
    """Update the weights in place.

    The velocity becomes momentum × velocity + gradient + weight_decay × master + l1 × sign(master), and
    learning_rate × velocity is subtracted from the master. Rows of the result (along the first dimension)
    whose norm exceeds ``max_norm`` are scaled down to it. The gradient is in bfloat16.
    """
    if gradient.stride() != weights.parameter.stride():
        gradient = torch.empty_like(weights.parameter).copy_(gradient)
    arrays = [*weights.arrays, compiled.in_memory(gradient)]
    if max_norm is None:
        _step(*arrays, learning_rate, momentum, weight_decay, l1)
    else:
        by_row = (array.reshape(len(gradient), -1) for array in arrays)
        _step_rows(*by_row, learning_rate, momentum, weight_decay, l1, max_norm)


_NUMBERS = "float64, float64, float64, float64"


@compiled.kernel(f"void(int16[::1], float32[::1], float32[::1], int16[::1], {_NUMBERS})")
def _step(parameter, master, velocity, gradient, learning_rate, momentum, weight_decay, l1):  # type: ignore[no-untyped-def]
    rate, keep = np.float32(learning_rate), np.float32(momentum)
    decay, pull = np.float32(weight_decay), np.float32(l1)
    for chunk in compiled.prange((len(master) + _CHUNK - 1) // _CHUNK):
        part = slice(chunk * _CHUNK, min((chunk + 1) * _CHUNK, len(master)))
        _move(master[part], velocity[part], gradient[part], rate, keep, decay, pull)
        _round(parameter[part], master[part], np.float32(1))


@compiled.kernel(f"void(int16[:, ::1], float32[:, ::1], float32[:, ::1], int16[:, ::1], {_NUMBERS}, float64)")
def _step_rows(parameter, master, velocity, gradient, learning_rate, momentum, weight_decay, l1, bound):  # type: ignore[no-untyped-def]
    rate, keep = np.float32(learning_rate), np.float32(momentum)
    decay, pull = np.float32(weight_decay), np.float32(l1)
    for row in compiled.prange(len(master)):
        weights = master[row]
        _move(weights, velocity[row], gradient[row], rate, keep, decay, pull)
        norm = np.sqrt(_sum_of_squares(weights))
        factor = np.float32(1)
        if norm > bound:
            factor = np.float32(bound / (norm + _LEAST_NORM))
        _round(parameter[row], weights, factor)


@compiled.helper
def _move(master, velocity, gradient, rate, keep, decay, pull):  # type: ignore[no-untyped-def]
    for i in range(len(master)):
        sign = np.float32(master[i] > 0) - np.float32(master[i] < 0)
        velocity[i] = keep * velocity[i] + (widened(gradient[i]) + decay * master[i] + pull * sign)
    for i in range(len(master)):
        master[i] = master[i] - rate * velocity[i]


@compiled.helper
def _round(parameter, master, factor):  # type: ignore[no-untyped-def]
    """Multiply the master by ``factor``, and write it to the parameter."""
    if factor != 1:
        for i in range(len(master)):
            master[i] = master[i] * factor
    for i in range(len(master)):
        parameter[i] = narrowed(master[i], parameter[i])


@compiled.helper
def _sum_of_squares(values):  # type: ignore[no-untyped-def]
    lanes = np.zeros(_LANES, np.float32)
    whole = len(values) // _LANES * _LANES
    for start in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] += values[start + lane] * values[start + lane]
    total = np.float64(0)
    for lane in range(_LANES):
        total += lanes[lane]
    for i in range(whole, len(values)):
        total += values[i] * values[i]
    return total
