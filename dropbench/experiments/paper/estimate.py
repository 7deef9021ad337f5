"""What an experiment takes on this machine: its work, at a rate that is measured before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import largest_train_size
from dropbench.engine.device import prepare_process
from dropbench.engine.train import train
from dropbench.experiments.paper.definition import Point
from dropbench.experiments.speed.session import made_up_data
from dropbench.experiments.speed.work import check, training_flops
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.runners.choose import shares

_BATCHES, _EPOCHS = 3, 3  # that are timed, after an epoch that warms up
_FORWARD = 1 / 3  # of a training step's operations: the backward pass has twice as many


@dataclass(frozen=True)
class Images:
    """What the cost of training depends on in a data set."""

    shape: tuple[int, int, int]
    train: int
    """With the validation images."""
    test: int
    classes: int

    @classmethod
    def of(cls, data: DataSet) -> "Images":
        """Of a set that is here."""
        return cls(data.image_shape, len(data.train_labels), len(data.test_labels), len(data.classes))


SETS = {
    "mnist": Images((1, 28, 28), 60_000, 10_000, 10),
    "cifar10": Images((3, 32, 32), 50_000, 10_000, 10),
}
"""Those that experiments name, so that a cost can be told before they are fetched."""


@dataclass(frozen=True)
class Bench:
    """On what: so many workers at a time, of so many threads each."""

    device: torch.device
    precision: str
    jobs: int
    threads: int

    @classmethod
    def of(cls, device: torch.device, precision: str, runs: int, machine: Machine) -> "Bench":
        """What dropbench.runners.choose makes of the machine; on a cluster only this machine is known."""
        return cls(device, precision, *shares(runs, device, machine))


@dataclass(frozen=True)
class Cost:
    """How many runs, and how long they take."""

    runs: int
    seconds: float


def estimate(points: Sequence[Point], seeds: int, images: Images, bench: Bench) -> Cost:
    """Of all seeds of the points: the dearest net is timed for some steps, others go by their operations."""
    configs = {point.config.run_id: point.config for point in points}.values()
    flops = {config: training_flops(_still(config), images.shape, images.classes) for config in configs}
    dearest = max(flops, key=lambda config: flops[config])
    flops_per_second = bench.jobs * flops[dearest] * _rate(dearest, images, bench)
    operations = sum(_images_seen(config, images) * flops[config] for config in configs)
    return Cost(seeds * len(flops), seeds * operations / flops_per_second)


def _still(config: RunConfig) -> RunConfig:
    """Without Monte-Carlo samples, which training does not see."""
    return config.replace(mc_samples=0)


def _images_seen(config: RunConfig, images: Images) -> float:
    """Passes through the net, in training images."""
    available = largest_train_size(images.train)
    trained = min(config.data.train_size or available, available)
    validation = images.train - available
    sampled = config.dropout.mc_samples * (validation + images.test)
    return config.optimizer.epochs * trained + (config.optimizer.epochs * validation + sampled) * _FORWARD


def _rate(config: RunConfig, images: Images, bench: Bench) -> float:
    """Training images a second of one worker: of the fastest epoch, which other work disturbed least."""
    threads = torch.get_num_threads()
    prepare_process(bench.threads)
    try:
        with made_up_data(images.shape, _BATCHES * config.optimizer.batch_size, 10, images.classes) as data:
            timed = _still(config).replace(data_key=data.key, epochs=1 + _EPOCHS, precision=bench.precision)
            result = train(timed.replace(train_size=None, cutoff_epoch=None), data, bench.device)
    finally:
        torch.set_num_threads(threads)
    check(result)
    return _BATCHES * config.optimizer.batch_size / min(epoch.seconds for epoch in result.epochs[1:])
