"""Kernels on CUDA, by Triton: the same numbers as on the CPU, with one launch for each pass."""

import functools
import logging
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from dropbench.kernels import compiled
from dropbench.kernels.draws import WORDS, Chance, Draw
from dropbench.kernels.order import in_order

_log = logging.getLogger(__name__)

_UNITS = 1024  # of one program, which has 128 threads
_ANY = Draw(0, 0, 0)


def usable() -> bool:
    """Whether kernels may be called: they are allowed, and Triton works here."""
    return compiled.allowed() and _triton_works()


def takes(units: torch.Tensor) -> bool:
    """Whether kernels take these units, if they lie in memory in the order of their numbers."""
    plain = type(units) in (torch.Tensor, torch.nn.Parameter)
    return plain and units.dtype in (torch.float32, torch.bfloat16, torch.float16) and usable()


def words(count: int, draw: Draw, device: torch.device) -> torch.Tensor:
    """Return the first ``count`` random words of a draw as int32 ``(count,)``, bit by bit."""
    from dropbench.kernels import in_triton

    out = torch.empty(count, dtype=torch.int32, device=device)
    with torch.cuda.device(out.get_device()):
        in_triton.fill[(-(-count // _UNITS),)](out, count, *_arguments(draw), _UNITS // WORDS)
    return out


def drop(units: torch.Tensor, chance: Chance, scale: float, draw: Draw) -> torch.Tensor:
    """Return ``units`` × a mask × ``scale``, in the shape, dtype and memory format of ``units``.

    The units must lie in memory in the order of their numbers (dropbench.kernels.order.numbered_in_memory).
    """
    dropped: torch.Tensor = _Drop.apply(units, chance, scale, draw)
    return dropped


def relu_drop(
    pre_activations: torch.Tensor, chance: Chance | None, scale: float, draw: Draw | None
) -> torch.Tensor:
    """Return what ``drop`` does with the ReLU activations; without a chance, no unit is dropped."""
    dropped: torch.Tensor = _ReLUDrop.apply(pre_activations, chance, scale, draw)
    return dropped


@functools.cache
def _triton_works() -> bool:
    """Whether Triton compiles and launches a kernel; for that it needs a C compiler, besides a GPU."""
    try:
        words(1, _ANY, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    except Exception as error:  # Triton raises errors of many kinds, also those of its compilers
        reason = " ".join(str(error).split()) or type(error).__name__
        _log.warning("Triton does not work here (%s); torch's own operations draw the masks.", reason)
        return False
    return True


class _Drop(torch.autograd.Function):
    """The backward pass draws the mask again, so that none is kept in memory."""

    @staticmethod
    def forward(ctx: Any, units: torch.Tensor, chance: Chance, scale: float, draw: Draw) -> torch.Tensor:
        ctx.drawn = chance, scale, draw
        return _dropped(units, chance, scale, draw)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return _dropped(in_order(gradient), *ctx.drawn), None, None, None


class _ReLUDrop(torch.autograd.Function):
    """The backward pass needs the activations alone, which the next layer keeps anyway."""

    @staticmethod
    def forward(
        ctx: Any, pre_activations: torch.Tensor, chance: Chance | None, scale: float, draw: Draw | None
    ) -> torch.Tensor:
        activations = _dropped(pre_activations, chance or Chance(0, 0), scale, draw or _ANY, relu=True)
        ctx.save_for_backward(activations)
        ctx.scale = scale
        return activations

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        from dropbench.kernels import in_triton

        (activations,) = ctx.saved_tensors
        to_units = torch.empty_like(activations)
        count = to_units.numel()
        with torch.cuda.device(to_units.get_device()):
            in_triton.pass_back[(-(-count // _UNITS),)](
                in_order(gradient), activations, to_units, count, ctx.scale, _UNITS
            )
        return to_units, None, None, None


def _dropped(
    units: torch.Tensor, chance: Chance, scale: float, draw: Draw, relu: bool = False
) -> torch.Tensor:
    from dropbench.kernels import in_triton

    dropped = torch.empty_like(units)
    count = units.numel()
    with torch.cuda.device(units.get_device()):
        in_triton.drop[(-(-count // _UNITS),)](
            units, dropped, count, _signed(chance.levels), scale, *_arguments(draw), chance.bits, relu, _UNITS
        )
    return dropped


def _arguments(draw: Draw) -> list[int | torch.Tensor | None]:
    """The key, the counter and the base of a draw as the kernels take them."""
    return [*map(_signed, draw.counter_from_base), draw.base]


def _signed(word: int) -> int:
    """The number with the sign of an int32 that has the bits of ``word``."""
    return word - (1 << 32) if word >> 31 else word
