"""An estimate of the part of a GPU that a run needs, from the shapes of its net, without memory or time."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dropbench.catalog.models import InputShape
from dropbench.catalog.optimizers import SGD
from dropbench.dropout.control import set_strength
from dropbench.models.build import make_module
from dropbench.run.config import RunConfig

CONTEXT = 1e9
"""Bytes of a process without a run: its CUDA context, and what cuBLAS and cuDNN keep for themselves."""
_PROCESS = 0.3e9  # bytes of a process on the CPU, of which forks share most of torch
_OF_A_PARAMETER = 4 + 4 + 4 + 2 + 4  # bytes: master, gradient, velocity, half, and those of the best epoch
_LEAST_OF_A_PARAMETER = 4 + 4 + 4  # bytes: master, gradient, velocity
_OF_A_UNIT = 4 + 4  # bytes: the unit, which the backward pass needs, and its gradient
_EVALUATED = 4096 * 32 * 32  # pixels of a batch that is evaluated, at most
_TILE = 64
"""Rows and columns of a product that a multiprocessor computes at a time; small products have such tiles."""


@dataclass(frozen=True)
class Need:
    """The memory and the matrix products of one run on a GPU."""

    memory_bytes: float
    products: tuple[tuple[float, float], ...]
    """The operations of each matrix product of a step, and the number of tiles that share them."""

    def multiprocessors(self, there: int) -> float:
        """Return how many of the multiprocessors that are ``there`` a step keeps busy, as a mean over time.

        A product with fewer tiles than multiprocessors leaves the others without work. Its time is in
        proportion to the operations of each that has work.
        """
        operations = sum(product for product, _ in self.products)
        time = sum(product / min(tiles, there) for product, tiles in self.products)
        return operations / time if time else there


def least_memory(
    config: RunConfig, input_shape: InputShape, outputs: int, examples: int
) -> tuple[float, float]:
    """Return bytes that no run of ``config`` does without, on any device: those that runs share, and its own.

    Runs share the inputs of the ``examples`` of all splits together. A run's own are the weights with their
    gradients and velocities, and the largest of a batch's layers with its gradient.
    """
    parameters, shapes, _ = _traced(config, input_shape, outputs, examples)
    return examples * _bytes(input_shape), parameters * _LEAST_OF_A_PARAMETER + shapes.largest * _OF_A_UNIT


def usual_memory(config: RunConfig, input_shape: InputShape, outputs: int, examples: int) -> float:
    """Estimate the bytes of a run's own on the CPU: its process, weights, a batch's units, an evaluation."""
    parameters, shapes, batch = _traced(config, input_shape, outputs, examples)
    return _PROCESS + _of_run(config, input_shape, examples, parameters, shapes, batch)


def need_of(config: RunConfig, input_shape: InputShape, outputs: int, examples: int) -> Need:
    """Estimate the need of a run of ``config`` on a data set of ``examples``, of all splits together."""
    parameters, shapes, batch = _traced(config, input_shape, outputs, examples)
    data = examples * (_bytes(input_shape) + 8)  # 8 bytes are a target
    own = _of_run(config, input_shape, examples, parameters, shapes, batch)
    return Need(CONTEXT + data + own, tuple(shapes.products))


def _of_run(
    config: RunConfig, input_shape: InputShape, examples: int, parameters: int, shapes: "_Shapes", batch: int
) -> float:
    """The bytes of a run's weights with what belongs to them, of a batch's units, and of an evaluation's."""
    second_moment = 4 if config.optimizer.name != SGD else 0
    evaluated = min(examples, _EVALUATED // math.prod(input_shape[1:]))
    return (
        parameters * (_OF_A_PARAMETER + second_moment + 4 * config.optimizer.snapshots)
        + shapes.units * _OF_A_UNIT
        + 2 * shapes.largest * 4 * evaluated / batch  # a layer's units are made of those before it
    )


def _bytes(input_shape: InputShape) -> int:
    """The bytes of an example's input: pixels are bytes, features float32."""
    return math.prod(input_shape) * (1 if len(input_shape) > 1 else 4)


def _traced(
    config: RunConfig, input_shape: InputShape, outputs: int, examples: int
) -> tuple[int, "_Shapes", int]:
    """The number of weights, the shapes of a batch's pass through the net, and the size of the batch."""
    batch = min(config.optimizer.batch_size, examples)
    with torch.no_grad(), torch.device("meta"):  # shapes only
        model = make_module(input_shape, outputs, config).eval()
        set_strength(model, 0)  # thinned nets would draw their masks at test, too
        with _Shapes() as shapes:
            model(torch.empty(batch, *input_shape))
    return sum(parameter.numel() for parameter in model.parameters()), shapes, batch


def largest(needs: Iterable[Need], there: int) -> Need:
    """Return a need that is as large as any of ``needs`` on a GPU with multiprocessors that are ``there``."""
    needs = list(needs)
    busiest = max(needs, key=lambda need: need.multiprocessors(there))
    return Need(max(need.memory_bytes for need in needs), busiest.products)


class _Shapes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the products of a step, and the sizes of what a forward pass computes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.units = self.largest = 0
        self.products: list[tuple[float, float]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if isinstance(made, torch.Tensor) and not func.is_view:
            self.units += made.numel()
            self.largest = max(self.largest, made.numel())
        if name in ("mm", "addmm", "bmm"):
            rows, columns = made.shape[-2:]
            depth = args[1 if name == "addmm" else 0].shape[-1]
            self._add(
                made.numel() * depth, _tiles(rows, columns), _tiles(rows, depth), _tiles(depth, columns)
            )
        elif name == "convolution":
            examples, channels, *places = made.shape
            tiles = _tiles(examples * math.prod(places), channels)
            # The gradient of the weights is a sum over all places, which is shared out, too.
            self._add(made.numel() * args[1][0].numel(), tiles, tiles, tiles)
        return made

    def _add(self, multiplications: int, *tiles: int) -> None:
        """Add a product and the two of its backward pass, which have as many operations."""
        self.products += [(2.0 * multiplications, float(each)) for each in tiles]


def _tiles(rows: int, columns: int) -> int:
    return -(-rows // _TILE) * -(-columns // _TILE)
