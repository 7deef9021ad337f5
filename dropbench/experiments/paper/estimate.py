"""What an experiment takes on this machine: its work, at a rate that is measured before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from dropbench.config import RunConfig
from dropbench.data.split import largest_train_size
from dropbench.experiments.paper.definition import Point
from dropbench.experiments.speed.session import made_up_data
from dropbench.experiments.speed.work import run_images_per_second, training_flops

_BATCHES = 3  # of each of two epochs, the first of which warms up
_FORWARD = 1 / 3  # of a training step's operations: the backward pass has twice as many


@dataclass(frozen=True)
class Images:
    """What the cost of training depends on in a data set."""

    shape: tuple[int, int, int]
    train: int
    """With the validation images."""
    classes: int


SETS = {"mnist": Images((1, 28, 28), 60_000, 10), "cifar10": Images((3, 32, 32), 50_000, 10)}
"""Those that experiments name, so that a cost can be told before they are fetched."""


@dataclass(frozen=True)
class Estimate:
    """How many runs, and how long they take, one after another with all of the machine's cores."""

    runs: int
    seconds: float


def estimate(
    points: Sequence[Point], seeds: int, images: Images, device: torch.device, precision: str
) -> Estimate:
    """Of all seeds of the points: the dearest net is timed for some steps, the others go by their operations.

    On a device with several cores a pool of workers is somewhat faster than this one run.
    """
    configs = {point.config.run_id: point.config for point in points}.values()
    flops = {config: training_flops(_still(config), images.shape, images.classes) for config in configs}
    dearest = max(flops, key=lambda config: flops[config])
    flops_per_second = flops[dearest] * _rate(dearest, images, device, precision)
    operations = sum(_images_seen(config, images) * flops[config] for config in configs)
    return Estimate(seeds * len(flops), seeds * operations / flops_per_second)


def _still(config: RunConfig) -> RunConfig:
    """Without Monte-Carlo samples, which training does not see."""
    return replace(config, mc_samples=0)


def _images_seen(config: RunConfig, images: Images) -> float:
    """Passes through the net, in training images."""
    available = largest_train_size(images.train)
    trained = min(config.train_size or available, available)
    validated = (images.train - available) * _FORWARD
    return config.epochs * (trained + validated)


def _rate(config: RunConfig, images: Images, device: torch.device, precision: str) -> float:
    """Training images a second, measured."""
    with made_up_data(images.shape, _BATCHES * config.batch_size, 10, images.classes) as data:
        timed = replace(_still(config), data_key=data.key, epochs=2, train_size=None, precision=precision)
        return run_images_per_second(timed, device, compiled=False)
