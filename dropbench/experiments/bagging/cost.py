"""What nets cost: floating-point operations, counted on a real step of a real net, and parameters."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import nn

from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import set_streams
from dropbench.engine.batches import Examples, pixel_values
from dropbench.engine.monte_carlo import predict_monte_carlo
from dropbench.errors import UsageError
from dropbench.models.build import make_module
from dropbench.run.config import RunConfig

_IMAGES = 2
_CPU = torch.device("cpu")
_WIDTHS = 1000
"""Widths are looked for in thousandths."""


@dataclass(frozen=True)
class Flops:
    """Floating-point operations for one image, of matrix products and convolutions (two for each product).

    ``training`` is a step's share: forward, backward, and whatever else the step computes. ``prediction`` is
    one deterministic pass, ``first_thinned`` one with masks, and ``thinned`` what each further one takes,
    which shares with the first what comes before the first mask; NaN of nets without masks.
    """

    training: float
    prediction: float
    first_thinned: float
    thinned: float


def count_flops(config: RunConfig, data: DataSet) -> Flops:
    """Count the operations of ``config``'s net on images like those of ``data``."""
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
    return _count(shapes, data.image_shape, len(data.classes))


@functools.lru_cache(maxsize=64)
def _count(config: RunConfig, image_shape: tuple[int, int, int], classes: int) -> Flops:
    from torch.utils.flop_counter import FlopCounterMode  # imports torch._dynamo, 1.4 s: not for a worker

    model = make_module(image_shape, classes, config)
    set_streams(model, "mask", 0, 0, _CPU)
    images = torch.rand(_IMAGES, *image_shape, generator=torch.Generator().manual_seed(0))

    def flops(*calls: tuple[bool, bool]) -> float:
        """Of passes, each in train mode or not, and with a backward pass or not."""
        with FlopCounterMode(display=False) as counter:
            for training, backward in calls:
                with torch.set_grad_enabled(backward):
                    logits = model.train(training)(images)
                if backward:
                    logits.sum().backward()
        return float(counter.get_total_flops() / _IMAGES)

    def sampled(passes: int) -> float:
        pixels = torch.zeros(_IMAGES, *image_shape, dtype=torch.uint8).numpy()
        examples = Examples(pixels, torch.zeros(_IMAGES).numpy(), pixel_values(image_shape[0], _CPU), _CPU)
        with FlopCounterMode(display=False) as counter:
            predict_monte_carlo(model, examples, torch.arange(_IMAGES), "fp32", (passes,), config)
        return float(counter.get_total_flops() / _IMAGES)

    # Boosting also looks at the averaged prediction in every step.
    step = [(True, True), *([(False, False)] if config.dropout.boosting else [])]
    drops = not (config.without_dropout or config.dropout.thinned)
    first, further = (sampled(1), sampled(2) - sampled(1)) if drops else (math.nan, math.nan)
    return Flops(flops(*step), flops((False, False)), first, further)


def boosting_step(config: RunConfig, data: DataSet) -> float:
    """What a step of boosting takes, in steps of dropout."""
    joint = count_flops(config.replace(joint=True), data)
    return joint.training / count_flops(config, data).training


def narrowed(config: RunConfig, members: int, data: DataSet) -> float:
    """What to multiply the width by so that ``members`` nets together have no more parameters than one.

    Raises:
        UsageError: if there is none, or the model cannot be made narrower.

    """
    if members == 1:
        return 1.0

    def parameters(times: float) -> int:
        narrow = config.replace(width=times * config.model.width)
        with torch.device("meta"):
            model: nn.Module = make_module(data.image_shape, len(data.classes), narrow)
        return sum(parameter.numel() for parameter in model.parameters())

    most = parameters(1.0)
    low, high = 0, _WIDTHS  # thousandths that fit, and that do not
    while high - low > 1:
        middle = (low + high) // 2
        if members * parameters(middle / _WIDTHS) <= most:
            low = middle
        else:
            high = middle
    if low == 0:
        raise UsageError(
            f"{members} members have more parameters than one net, however narrow they are.",
            "Take fewer `members`, or another `budget`.",
        )
    return low / _WIDTHS
