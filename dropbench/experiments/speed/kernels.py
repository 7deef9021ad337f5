"""The work that each kernel is measured on, beside torch's own operations.

A kernel is one function here, which makes its tensors and returns its passes, forward and backward where it
has both, as a function without arguments. The name under which it is listed is the work in the table.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from dropbench.engine.batches import ImageExamples, pixel_values
from dropbench.engine.optim import SGD
from dropbench.kernels import compiled
from dropbench.kernels.draws import Draw, chance_of
from dropbench.kernels.mask import drop
from dropbench.kernels.pool import pool_relu
from dropbench.kernels.relu import relu_drop

Passes = Callable[[], object]
Prepare = Callable[[torch.dtype, torch.device], Passes]
MAPS = (128, 64, 32, 32)
"""The feature maps of a batch in the lecture's CNN, after its first convolution."""
_CHANCE, _DRAW = chance_of(0.5), Draw(key=0, number=0, site=0)


@dataclass(frozen=True)
class Listed:
    """A kernel's preparation, for activations of a dtype on a device, and those that the kernel takes."""

    prepare: Prepare
    dtypes: tuple[torch.dtype, ...]
    devices: tuple[str, ...]

    def fits(self, dtype: torch.dtype, device: torch.device) -> bool:
        """Whether it is measured in a dtype on a device; every kernel for CUDA takes float16, too."""
        taken = (*self.dtypes, torch.float16) if device.type == "cuda" else self.dtypes
        return dtype in taken and device.type in self.devices


KERNELS: dict[str, Listed] = {}
"""Every kernel by its name and work."""


def usable_on(device: torch.device) -> bool:
    """Whether the kernels of a device can be used here."""
    if device.type == "cuda":
        from dropbench.kernels import on_cuda  # here, since Triton is there on CUDA only

        return on_cuda.usable()
    return compiled.usable()


def _listed(
    name: str,
    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.bfloat16),
    devices: tuple[str, ...] = ("cpu",),
) -> Callable[[Prepare], Prepare]:
    def add(prepare: Prepare) -> Prepare:
        KERNELS[name] = Listed(prepare, dtypes, devices)
        return prepare

    return add


@_listed("drop, 128×1024", devices=("cpu", "cuda"))
def _drop_units(dtype: torch.dtype, device: torch.device) -> Passes:
    return _both_passes(_dropped, torch.randn(128, 1024, device=device).to(dtype))


@_listed("drop, 128×64×32×32", devices=("cpu", "cuda"))
def _drop_maps(dtype: torch.dtype, device: torch.device) -> Passes:
    return _both_passes(_dropped, _feature_maps(dtype, device))


@_listed("ReLU and drop, 128×1024", devices=("cpu", "cuda"))
def _relu_drop(dtype: torch.dtype, device: torch.device) -> Passes:
    units = torch.randn(128, 1024, device=device).to(dtype)
    return _both_passes(lambda units: relu_drop(units, _CHANCE, 2.0, _DRAW), units)


@_listed("pool 2×2, ReLU, 128×64×32×32")
def _pool_2(dtype: torch.dtype, device: torch.device) -> Passes:
    return _both_passes(lambda maps: pool_relu(maps, 2), _feature_maps(dtype, device))


@_listed("pool 3×3, ReLU, 128×64×32×32")
def _pool_3(dtype: torch.dtype, device: torch.device) -> Passes:
    return _both_passes(lambda maps: pool_relu(maps, 3), _feature_maps(dtype, device))


@_listed("SGD, 1024×1024", dtypes=(torch.bfloat16,))
def _sgd(dtype: torch.dtype, device: torch.device) -> Passes:
    return _step(device, max_norm=None)


@_listed("SGD with max-norm, 1024×1024", dtypes=(torch.bfloat16,))
def _sgd_max_norm(dtype: torch.dtype, device: torch.device) -> Passes:
    return _step(device, max_norm=3.0)


@_listed("batch of 128×3×32×32", dtypes=(torch.bfloat16,))
def _batch(dtype: torch.dtype, device: torch.device) -> Passes:
    images = np.random.default_rng(0).integers(0, 256, (10_000, 3, 32, 32), dtype=np.uint8)
    labels = np.zeros(len(images), dtype=np.int64)
    examples = ImageExamples(images, labels, pixel_values(3, device), device, half=True)
    positions = torch.randperm(len(images), device=device)[:128]
    return lambda: examples.batch(positions)


def _feature_maps(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Random feature maps in the memory format of training."""
    return torch.randn(MAPS, device=device).to(dtype).to(memory_format=torch.channels_last)


def _both_passes(function: Callable[[torch.Tensor], torch.Tensor], units: torch.Tensor) -> Passes:
    """The forward and backward pass of a function of ``units``."""
    units.requires_grad_()
    gradient = torch.ones_like(function(units), requires_grad=False)

    def passes() -> None:
        units.grad = None
        torch.autograd.backward(function(units), gradient)

    return passes


def _dropped(units: torch.Tensor) -> torch.Tensor:
    return drop(units, _CHANCE, 2.0, _DRAW)


def _step(device: torch.device, max_norm: float | None) -> Passes:
    """A step of SGD on the weights of a layer, which the net holds in bfloat16."""
    layer = nn.Linear(1024, 1024, bias=False, device=device)
    optimizer = SGD(layer, momentum=0.9, weight_decay=0.0, max_norm=max_norm, half=True)
    gradient = torch.full_like(layer.weight, 1e-3)

    def step() -> None:
        layer.weight.grad = gradient
        optimizer.step(1e-3)

    return step
