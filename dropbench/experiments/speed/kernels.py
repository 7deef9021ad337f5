"""The work that each kernel is measured on, beside torch's own operations.

A kernel is one function here, which makes its tensors and returns its passes, forward and backward, as a
function without arguments. The name under which it is listed is the work in the table.
"""

from collections.abc import Callable

import torch

from dropbench.kernels.mask import drop
from dropbench.kernels.philox import Draw, chance_of

Passes = Callable[[], object]
Prepare = Callable[[torch.dtype, torch.device], Passes]
KERNELS: dict[str, Prepare] = {}
"""From a kernel's name and work to its preparation, for activations of a dtype on a device."""


def _listed(name: str) -> Callable[[Prepare], Prepare]:
    def add(prepare: Prepare) -> Prepare:
        KERNELS[name] = prepare
        return prepare

    return add


@_listed("drop, 128×1024")
def _drop_units(dtype: torch.dtype, device: torch.device) -> Passes:
    return _dropped(torch.randn(128, 1024, device=device).to(dtype))


@_listed("drop, 128×64×32×32")
def _drop_maps(dtype: torch.dtype, device: torch.device) -> Passes:
    return _dropped(_feature_maps((128, 64, 32, 32), dtype, device))


def _feature_maps(shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Random feature maps in the memory format of training."""
    return torch.randn(shape, device=device).to(dtype).to(memory_format=torch.channels_last)


def _both_passes(function: Callable[[torch.Tensor], torch.Tensor], units: torch.Tensor) -> Passes:
    """The forward and backward pass of a function of ``units``."""
    units.requires_grad_()
    gradient = torch.ones_like(function(units), requires_grad=False)

    def passes() -> None:
        units.grad = None
        torch.autograd.backward(function(units), gradient)

    return passes


def _dropped(units: torch.Tensor) -> Passes:
    chance, draw = chance_of(0.5), Draw(key=0, number=0, site=0)
    return _both_passes(lambda units: drop(units, chance, 1 / (1 - chance.probability), draw), units)
