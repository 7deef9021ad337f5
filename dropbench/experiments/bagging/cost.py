"""The cost of nets: floating-point operations, counted on a real step of a real net, and parameters."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import nn

from dropbench.catalog.arms import Arm
from dropbench.catalog.models import InputShape
from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import set_streams
from dropbench.engine.batches import Examples
from dropbench.engine.monte_carlo import monte_carlo_passes
from dropbench.errors import UsageError
from dropbench.models.build import make_module
from dropbench.run.config import RunConfig

_EXAMPLES = 2
_CPU = torch.device("cpu")
_WIDTH_STEPS = 1000
"""The width of narrowed members is a multiple of 1/1000."""


@dataclass(frozen=True)
class Flops:
    """Floating-point operations for one example: matrix products and convolutions, two for each product.

    - ``training``: a training step, with its forward and backward pass and whatever else it computes.
    - ``prediction``: one deterministic forward pass.
    - ``first_thinned``: the first Monte-Carlo pass.
    - ``thinned``: each further Monte-Carlo pass, which reuses the units before the first mask.

    The last two are NaN for a net without dropout, and for a thinned net, whose mask never changes.
    """

    training: float
    prediction: float
    first_thinned: float
    thinned: float


def prediction_flops(count: Flops, kind: Arm, passes: int) -> float:
    """Return the operations of an arm's prediction: so many passes of nets with the operations ``count``."""
    if kind.monte_carlo:
        return count.first_thinned + (passes - 1) * count.thinned
    return passes * count.prediction


def count_flops(config: RunConfig, data: DataSet) -> Flops:
    """Count the operations of ``config``'s net on examples of ``data``'s shape."""
    # Settings that change no operation are set to one value, so that _count is cached across them.
    shapes = config.replace(
        seed=0,
        member=0,
        bootstrap=False,
        mc_samples=0,
        epochs=max(1, config.optimizer.snapshots),
        dropout_schedule="constant",
        cutoff_epoch=None,
        precision="fp32",
    )
    return _count(shapes, data.input_shape, data.outputs)


@functools.lru_cache(maxsize=64)
def _count(config: RunConfig, input_shape: InputShape, outputs: int) -> Flops:
    from torch.utils.flop_counter import FlopCounterMode  # takes 1.4 s (torch._dynamo): not in a worker

    model = make_module(input_shape, outputs, config)
    set_streams(model, "mask", 0, 0)
    inputs = torch.rand(_EXAMPLES, *input_shape, generator=torch.Generator().manual_seed(0))

    def flops(*calls: tuple[bool, bool]) -> float:
        """Operations of several passes, each given as (in train mode, with a backward pass)."""
        with FlopCounterMode(display=False) as counter:
            for training, backward in calls:
                with torch.set_grad_enabled(backward):
                    predicted = model.train(training)(inputs)
                if backward:
                    predicted.sum().backward()
        return float(counter.get_total_flops() / _EXAMPLES)

    def sampled(passes: int) -> float:
        examples = Examples(inputs.numpy(), torch.zeros(_EXAMPLES).numpy(), _CPU)
        with FlopCounterMode(display=False) as counter:
            monte_carlo_passes(model, examples, torch.arange(_EXAMPLES), "fp32", passes, config)
        return float(counter.get_total_flops() / _EXAMPLES)

    # Every step of dropout boosting also computes the averaged prediction, by one deterministic pass.
    step = [(True, True), *([(False, False)] if config.dropout.boosting else [])]
    drops = not (config.without_dropout or config.dropout.thinned)
    first, further = (sampled(1), sampled(2) - sampled(1)) if drops else (math.nan, math.nan)
    return Flops(flops(*step), flops((False, False)), first, further)


def boosting_step(config: RunConfig, data: DataSet) -> float:
    """Training operations of a step of dropout boosting, as a multiple of those of a step of dropout."""
    boosting = count_flops(config.replace(joint=True), data)
    return boosting.training / count_flops(config, data).training


def narrowed(config: RunConfig, members: int, data: DataSet) -> float:
    """The largest factor of the width at which ``members`` nets have no more parameters than one full net.

    Raises:
        UsageError: if no factor is small enough, or the model cannot be made narrower.

    """
    if members == 1:
        return 1.0

    def parameters(times: float) -> int:
        narrow = config.replace(width=times * config.model.width)
        with torch.device("meta"):
            model: nn.Module = make_module(data.input_shape, data.outputs, narrow)
        return sum(parameter.numel() for parameter in model.parameters())

    limit = parameters(1.0)
    low, high = 0, _WIDTH_STEPS  # bisection: ``low`` steps fit, ``high`` do not
    while high - low > 1:
        middle = (low + high) // 2
        if members * parameters(middle / _WIDTH_STEPS) <= limit:
            low = middle
        else:
            high = middle
    if low == 0:
        raise UsageError(
            f"`members={members}` cannot have as few parameters as one net, however narrow they are.",
            "Choose fewer `members`, or another `budget`.",
        )
    return low / _WIDTH_STEPS
