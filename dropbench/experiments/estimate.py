"""Estimate how long runs take on this machine: their operations, at a rate measured beforehand."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch

from dropbench.catalog.models import InputShape
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import largest_train_size
from dropbench.engine.device import prepare_process
from dropbench.engine.train import train
from dropbench.experiments.speed.session import made_up_data
from dropbench.experiments.speed.work import check, training_flops
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.runners.choose import shares
from dropbench.runners.sharing import Workload

_BATCHES, _EPOCHS = 3, 3  # timed: 3 epochs of 3 batches each, after one epoch to warm up
_LEARNING_RATE = 1e-6  # of what is timed, so that a setting that diverges has a time as well
_FORWARD = 1 / 3  # share of a training step's operations; the backward pass has twice as many as the forward


@dataclass(frozen=True)
class Images:
    """The properties of a data set that the cost of training depends on."""

    shape: InputShape
    train: int
    """The number of training images, validation images included."""
    test: int
    classes: int

    @classmethod
    def of(cls, data: DataSet) -> "Images":
        """The properties of a loaded data set."""
        return cls(data.input_shape, len(data.train_targets), len(data.test_targets), data.outputs)


SETS = {
    "mnist": Images((1, 28, 28), 60_000, 10_000, 10),
    "cifar10": Images((3, 32, 32), 50_000, 10_000, 10),
    "cifar100": Images((3, 32, 32), 50_000, 10_000, 100),
    "svhn": Images((3, 32, 32), 73_257, 26_032, 10),
}
"""The data sets that experiments name, so that their cost can be estimated before a download."""


@dataclass(frozen=True)
class Bench:
    """The machine's part in the cost: ``jobs`` workers at a time, with ``threads`` CPU threads each."""

    device: torch.device
    precision: str
    jobs: int
    threads: int

    @classmethod
    def of(
        cls,
        device: torch.device,
        precision: str,
        runs: int,
        machine: Machine,
        configs: Collection[RunConfig],
        images: Images,
    ) -> "Bench":
        """Share out this machine as dropbench.runners.choose does; a cluster's other machines are unknown."""
        workload = Workload(tuple(configs), images.shape, images.classes, images.train + images.test)
        return cls(device, precision, *shares(runs, device, machine, workload))


@dataclass(frozen=True)
class Cost:
    """The number of runs, the seconds that they take together, and their floating-point operations."""

    runs: int
    seconds: float
    operations: float


def estimate(
    counts: Mapping[RunConfig, int], images: Images, bench: Bench, data: DataSet | None = None
) -> Cost:
    """Estimate the cost of runs, each of which is done as often as its count says.

    The net with the most operations is timed for a few steps, on ``data`` or, without, on random images. The
    others are assumed to take their time in proportion to their operations; nets of the user's own are
    assumed to have the same.
    """
    flops = {config: _flops(config, images) for config in counts}
    costliest = max(flops, key=lambda config: flops[config])
    flops_per_second = bench.jobs * flops[costliest] * _rate(costliest, images, bench, data)
    operations = sum(count * _images_seen(config, images) * flops[config] for config, count in counts.items())
    return Cost(sum(counts.values()), operations / flops_per_second, operations)


def _flops(config: RunConfig, images: Images) -> float:
    """The operations to train on one image; only code that reads no values can be counted without memory."""
    return 1.0 if config.with_user_code else training_flops(_trained(config), images.shape, images.classes)


def _trained(config: RunConfig) -> RunConfig:
    """The config without Monte-Carlo passes, which come after training."""
    return config.replace(mc_samples=0)


def _images_seen(config: RunConfig, images: Images) -> float:
    """Images that pass through the net, expressed in training images; a forward pass counts as _FORWARD."""
    available = largest_train_size(images.train)
    trained = min(config.data.train_size or available, available)
    validation = images.train - available
    monte_carlo = config.dropout.mc_samples * (validation + images.test)
    return config.optimizer.epochs * trained + (config.optimizer.epochs * validation + monte_carlo) * _FORWARD


def _rate(config: RunConfig, images: Images, bench: Bench, data: DataSet | None = None) -> float:
    """Training images a second of one worker, in the fastest of _EPOCHS: other work disturbed it least."""
    threads = torch.get_num_threads()
    prepare_process(bench.threads, bench.device)
    timed = _trained(config).replace(
        epochs=1 + _EPOCHS,
        precision=bench.precision,
        train_size=None,
        cutoff_epoch=None,
        learning_rate=_LEARNING_RATE,
    )
    count = _BATCHES * config.optimizer.batch_size
    try:
        if data is not None:
            few = min(count, largest_train_size(images.train, data.validation))
            result = train(timed.replace(train_size=few), data, bench.device)
        else:
            with made_up_data(images.shape, count, 10, images.classes) as made_up:
                result = train(timed.replace(data_key=made_up.key), made_up, bench.device)
    finally:
        torch.set_num_threads(threads)
    check(result)
    trained = result.cost["train_images"] or count
    return trained / min(epoch.seconds for epoch in result.epochs[1:])
