"""The work that is timed, in dropbench's process or in the plain loop's.

Every function that measures returns one figure of one repetition. Data sets are in the cache; a config
names its set by ``data_key``.
"""

import functools
from time import perf_counter

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dropbench.datasets import cache
from dropbench.datasets.split import split
from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.stream import Stream
from dropbench.engine.batches import Examples, measure
from dropbench.engine.train import train
from dropbench.errors import DropbenchError
from dropbench.experiments.speed import plain_loop
from dropbench.models.build import make_module
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult

P_DROP = 0.5
_LAYER_SECONDS = 0.2
_MATMUL_OPERATIONS = {"cpu": 2 * 10**11, "cuda": 2 * 10**13}
# The data stay mapped from run to run, as in a worker of a sweep.
_load = functools.lru_cache(maxsize=1)(cache.load)


def layer_nanoseconds(
    of_dropbench: bool, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> float:
    """Nanoseconds that a dropout layer takes for one unit, forward and backward pass together."""
    layer: nn.Module = nn.Dropout(P_DROP)
    if of_dropbench:
        layer = BernoulliDropout(P_DROP)
        layer.stream = Stream.of(0, "mask")
    units = torch.randn(shape, device=device).to(dtype).requires_grad_()
    gradient = torch.ones_like(units)
    passes = 0
    _wait_for(device)
    start = perf_counter()
    while perf_counter() - start < _LAYER_SECONDS:
        units.grad = None
        layer(units).backward(gradient)
        passes += 1
        if device.type == "cuda" and passes % 100 == 0:
            _wait_for(device)  # otherwise the clock would measure how fast work is queued
    _wait_for(device)
    return (perf_counter() - start) * 1e9 / passes / units.numel()


def matmul_teraflops(dtype: torch.dtype, device: torch.device) -> float:
    """Rate of matrix products in 10¹² operations a second: the best of three sizes of square matrices."""
    rates = []
    for size in (1024, 2048, 4096):
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        products = max(1, _MATMUL_OPERATIONS[device.type] // (2 * size**3))
        left @ right
        _wait_for(device)
        start = perf_counter()
        for _ in range(products):
            left @ right
        _wait_for(device)
        rates.append(products * 2 * size**3 / (perf_counter() - start) / 1e12)
    return max(rates)


def training_flops(config: RunConfig, image_shape: tuple[int, int, int], classes: int) -> float:
    """Floating-point operations to train on one image: matrix products and convolutions, both passes."""
    batch = 2
    with torch.device("meta"):
        model = make_module(image_shape, classes, config)
        images = torch.empty(batch, *image_shape)
        with FlopCounterMode(display=False) as counter:
            model.eval()(images).sum().backward()  # eval mode: dropout adds no such operations
    flops: int = counter.get_total_flops()
    return flops / batch


def run_images_per_second(config: RunConfig, device: torch.device, compiled: bool) -> float:
    """Training images a second in the last epoch of one dropbench run; the epochs before it warm up."""
    data = _load(config.data.key)
    result = train(config, data, device, compiled=compiled)
    check(result)
    return len(split(data.train_labels, config).drawn) / result.epochs[-1].seconds


def check(result: RunResult) -> None:
    """Raise DropbenchError if the run diverged or failed, since it would count as the fastest of all."""
    if result.status != "ok":
        raise DropbenchError(f"A measured run {result.status}: {result.message}.")


def plain_cnn_images_per_second(config: RunConfig, device: torch.device) -> float:
    """Training images a second in one epoch of the plain loop on the CNN, with the images of ``config``."""
    data = _load(config.data.key)
    _, height, width = data.image_shape
    drawn = split(data.train_labels, config).drawn
    batches = plain_loop.picture_loader(data.train_images[drawn], data.train_labels[drawn], shuffle=True)
    model = plain_loop.lecture_cnn(height, width, len(data.classes), config.dropout.p_drop).to(device)
    return _plain_epoch(model, batches, len(drawn), device)


def plain_mlp_images_per_second(config: RunConfig, device: torch.device) -> float:
    """Training images a second in one epoch of the plain loop on an MLP, with all images on the device."""
    data = _load(config.data.key)
    drawn = split(data.train_labels, config).drawn
    images = torch.from_numpy(data.train_images[drawn]).to(device).float().div_(255).sub_(0.5).div_(0.5)
    labels = torch.from_numpy(data.train_labels[drawn]).to(device)
    inputs = images[0].numel()
    model = plain_loop.mlp(
        inputs, config.model.layers, len(data.classes), config.dropout.p_drop, config.dropout.p_drop_input
    )
    batches = plain_loop.in_memory_batches(images, labels)
    return _plain_epoch(model.to(device), batches, len(drawn), device)


def plain_runs_seconds(configs: list[RunConfig], device: torch.device) -> float:
    """Seconds of complete runs of the plain loop, one after another: training, validation, test."""
    start = perf_counter()
    for config in configs:
        data = _load(config.data.key)
        _, height, width = data.image_shape
        parts = split(data.train_labels, config)
        held_out, drawn = parts.validation, parts.drawn
        train_batches = plain_loop.picture_loader(
            data.train_images[drawn], data.train_labels[drawn], shuffle=True
        )
        evaluated = (
            (data.train_images[held_out], data.train_labels[held_out]),
            (data.test_images, data.test_labels),
        )
        model = plain_loop.lecture_cnn(height, width, len(data.classes), config.dropout.p_drop).to(device)
        optimizer = plain_loop.make_optimizer(model)
        for _ in range(config.optimizer.epochs):
            plain_loop.train_epoch(model, train_batches, optimizer, device)
        for images, labels in evaluated:
            plain_loop.count_correct(model, plain_loop.picture_loader(images, labels, shuffle=False), device)
    return perf_counter() - start


def data_ready_seconds(config: RunConfig, device: torch.device) -> float:
    """Seconds from a cached set's key to a run's first batch: mapped, split, normalised, on the device."""
    start = perf_counter()
    data = cache.load(config.data.key)
    parts = split(data.train_labels, config)
    examples = Examples(
        data.train_images, data.train_labels, measure(data.train_images, parts.train, device), device
    )
    examples.batch(torch.from_numpy(parts.train[: config.optimizer.batch_size]).to(device))
    _wait_for(device)
    return perf_counter() - start


def _plain_epoch(model: nn.Module, batches: plain_loop.Batches, images: int, device: torch.device) -> float:
    """Images a second in one epoch of the plain loop."""
    optimizer = plain_loop.make_optimizer(model)
    _wait_for(device)
    start = perf_counter()
    plain_loop.train_epoch(model, batches, optimizer, device)
    _wait_for(device)
    return images / (perf_counter() - start)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
