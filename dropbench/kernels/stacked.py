"""Dropout of the units of several runs at once: each has a chance, a scale and draws of its own.

The units of a run get what ``drop`` and ``relu_drop`` give them alone, to the bit. All that differs from run
to run, or changes from step to step, is in tensors, so nothing of it is read back from the device, and a
CUDA graph draws new masks at each replay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from dropbench.kernels import compiled, mask, relu
from dropbench.kernels.draws import Chance, Draw
from dropbench.kernels.philox import words_of_runs

_UNITS = 1024  # of one program of Triton's


@dataclass(frozen=True)
class Drops:
    """A site of several runs: its chances of dropping a unit, scales, and the place of its draws.

    All tensors but the last are ``(runs,)``.
    """

    levels: torch.Tensor
    """int64, as in dropbench.kernels.draws.Chance."""
    bits: torch.Tensor
    """int64: 16 or 32."""
    scale: torch.Tensor
    """Factors on kept units, float32."""
    low: torch.Tensor
    """The lower words of the keys, int64."""
    high: torch.Tensor
    """The upper words of the keys, int64."""
    first: torch.Tensor
    """The number of the draw that belongs to the place 0, int64."""
    site: int
    place: torch.Tensor
    """Counts the steps of all runs on the device, int64 ``(1,)``; it is added to ``first``."""

    @classmethod
    def make(cls, runs: int, site: int, place: torch.Tensor) -> "Drops":
        """Return a site at which no run drops a unit yet, on the device of ``place``."""
        zeros = [torch.zeros(runs, dtype=torch.int64, device=place.device) for _ in range(5)]
        levels, bits, low, high, first = zeros
        return cls(levels, bits + 16, torch.ones(runs, device=place.device), low, high, first, site, place)

    def set(self, of_runs: Sequence[tuple[Chance, float, Draw]]) -> None:
        """Set the chance and the scale of each run, and its draw where the place is 0."""
        words = [draw.counter for _, _, draw in of_runs]
        columns = (
            [chance.levels for chance, _, _ in of_runs],
            [chance.bits for chance, _, _ in of_runs],
            [scale for _, scale, _ in of_runs],
            [low for low, *_ in words],
            [high for _, high, *_ in words],
            [draw.number for _, _, draw in of_runs],
        )
        for tensor, values in zip(self.of_each_run, columns, strict=True):
            tensor.copy_(torch.tensor(values, dtype=tensor.dtype))

    @property
    def of_each_run(self) -> tuple[torch.Tensor, ...]:
        """The tensors ``(runs,)``."""
        return self.levels, self.bits, self.scale, self.low, self.high, self.first

    @property
    def number(self) -> torch.Tensor:
        """The number of each run's draw, 32 bits in an int64 ``(runs,)``."""
        return (self.first + self.place) & 0xFFFFFFFF

    def of_runs(self) -> list[tuple[Chance, float, Draw]]:
        """Return chance, scale and draw of each run, for a device whose numbers can be read at any time."""
        columns = (*self.of_each_run[:-1], self.number)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [
            (Chance(levels, bits), scale, Draw(high << 32 | low, number, self.site))
            for levels, bits, scale, low, high, number in rows
        ]


def drop(units: torch.Tensor, drops: Drops) -> torch.Tensor:
    """Return the units ``(runs, …)``, each run's multiplied by a mask and by its scale.

    The units of a run are numbered along the rows. No gradient flows back: they are the net's inputs.
    """
    return _dropped(units.detach().contiguous(), drops, relu_first=False)


def relu_drop(pre_activations: torch.Tensor, drops: Drops) -> torch.Tensor:
    """Return dropout of the ReLU activations of ``pre_activations``, as ``drop`` does it."""
    dropped: torch.Tensor = _ReLUDrop.apply(pre_activations.contiguous(), drops)
    return dropped


class _ReLUDrop(torch.autograd.Function):
    """No mask is kept: the gradient passes where the result is above 0, or NaN."""

    @staticmethod
    def forward(ctx: Any, pre_activations: torch.Tensor, drops: Drops) -> torch.Tensor:
        units = _dropped(pre_activations, drops, relu_first=True)
        ctx.save_for_backward(units, drops.scale)
        # On CUDA the way back is in a thread of torch's own, which does not see `compiled.switched_off`.
        ctx.by_triton = _triton_takes(pre_activations)
        return units

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        units, scale = ctx.saved_tensors
        return _passed_back(gradient.contiguous(), units, scale, ctx.by_triton), None


def _dropped(units: torch.Tensor, drops: Drops, relu_first: bool) -> torch.Tensor:
    if compiled.takes(units):
        of_run = relu.relu_drop if relu_first else mask.drop
        each = zip(units, drops.of_runs(), strict=True)
        return torch.stack([of_run(units_of_run, *dropped) for units_of_run, dropped in each])
    if _triton_takes(units):
        return _launched(units, drops, relu_first)
    return dropped_in_torch(torch.relu(units) if relu_first else units, drops)


def dropped_in_torch(units: torch.Tensor, drops: Drops) -> torch.Tensor:
    """Return what ``drop`` does, by torch's own operations on any device."""
    count = units[0].numel()
    words = words_of_runs(count, drops.low, drops.high, drops.number, drops.site)
    halves = words[:, : -(-count // 2)]
    halves = torch.stack([halves & 0xFFFF, halves >> 16], dim=2).flatten(1)[:, :count]
    numbers = torch.where(drops.bits[:, None] == 16, halves, words)
    dropped = (numbers < drops.levels[:, None]).view(units.shape)
    # Not a product with the mask: 0 × ∞ is NaN, and a dropped unit is 0.
    return torch.where(dropped, units.new_zeros(()), scaled(units, drops.scale))


def scaled(units: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Return each run's units ``(runs, …)`` × its float32 scale ``(runs,)``, rounded once to their dtype."""
    return (units * scale.view(-1, *[1] * (units.ndim - 1))).to(units.dtype)


def _passed_back(
    gradient: torch.Tensor, units: torch.Tensor, scale: torch.Tensor, by_triton: bool
) -> torch.Tensor:
    """Return the gradient × scale where the units are not 0: relu kept them, and the mask."""
    if by_triton:
        from dropbench.kernels import in_triton

        to_pre_activations = torch.empty_like(gradient)
        with torch.cuda.device(gradient.get_device()):
            count = gradient[0].numel()
            in_triton.pass_back_of_runs[(-(-count // _UNITS), len(gradient))](
                gradient, units, to_pre_activations, count, scale, _UNITS
            )
        return to_pre_activations
    return torch.where(units <= 0, gradient.new_zeros(()), scaled(gradient, scale))


def _triton_takes(units: torch.Tensor) -> bool:
    if units.device.type != "cuda":
        return False
    from dropbench.kernels import on_cuda  # here, since Triton is there on CUDA only

    return on_cuda.takes(units)


def _launched(units: torch.Tensor, drops: Drops, relu_first: bool) -> torch.Tensor:
    from dropbench.kernels import in_triton

    dropped, count = torch.empty_like(units), units[0].numel()
    with torch.cuda.device(units.get_device()):
        in_triton.drop_of_runs[(-(-count // _UNITS), len(units))](
            units, dropped, count, drops.levels, drops.bits, drops.scale, drops.low, drops.high, drops.first,
            drops.place, drops.site, relu_first, _UNITS,
        )  # fmt: skip
    return dropped
