"""The work that is timed, in dropbench's process or in the plain loop's.

Every function that measures returns one figure of one repetition. Data sets are in the cache; a config
names its set by ``data_key``.
"""

import contextlib
import functools
from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from dropbench.catalog.models import InputShape
from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import split
from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.stream import Stream
from dropbench.engine.batches import ImageExamples, measure
from dropbench.engine.train import train
from dropbench.errors import DropbenchError
from dropbench.experiments.speed import plain_loop
from dropbench.experiments.speed.kernels import KERNELS
from dropbench.kernels import compiled
from dropbench.models.build import make_module
from dropbench.run.config import RunConfig
from dropbench.run.result import MOST_TRAINING_IMAGES, RunResult

P_DROP = 0.5
_SECONDS = 0.2
_MATMUL_OPERATIONS = {"cpu": 2 * 10**11, "cuda": 2 * 10**13}
# The data stay mapped from run to run, as in a worker of a sweep.
_load = functools.lru_cache(maxsize=1)(cache.load)


def layer_nanoseconds(
    of_dropbench: bool, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> float:
    """Nanoseconds that a dropout layer takes for one unit, forward and backward pass together."""
    layer: nn.Module = nn.Dropout(P_DROP)
    units = torch.randn(shape, device=device).to(dtype)
    if of_dropbench:
        layer = BernoulliDropout(P_DROP)
        layer.stream = Stream.of(0, "mask")
        if units.ndim == 4:  # feature maps as dropbench trains on them; the tutorials' are contiguous
            units = units.to(memory_format=torch.channels_last)
    units.requires_grad_()
    gradient = torch.ones_like(units, requires_grad=False)

    def both_passes() -> None:
        units.grad = None
        layer(units).backward(gradient)

    return seconds_a_call(both_passes, device) * 1e9 / units.numel()


def copy_nanoseconds(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> float:
    """Nanoseconds that two copies take for one unit: as many bytes as a dropout layer must move.

    It must read the units and write the dropped ones, and read the gradient and write that of the units.
    """
    units = torch.randn(shape, device=device).to(dtype)
    copied = torch.empty_like(units)
    return 2 * seconds_a_call(lambda: copied.copy_(units), device) * 1e9 / units.numel()


def kernel_milliseconds(name: str, switched_on: bool, dtype: torch.dtype, device: torch.device) -> float:
    """Milliseconds of a kernel's passes on its work, or with kernels off those of torch's own operations."""
    call = KERNELS[name].prepare(dtype, device)
    with contextlib.nullcontext() if switched_on else compiled.switched_off():
        return 1e3 * seconds_a_call(call, device)


def seconds_a_call(call: Callable[[], object], device: torch.device) -> float:
    """Mean seconds of a call, over as many calls as fit into a short time after a first one."""
    call()
    calls = 0
    _wait_for(device)
    start = perf_counter()
    while not calls or perf_counter() - start < _SECONDS:
        call()
        calls += 1
        if device.type == "cuda" and calls % 100 == 0:
            _wait_for(device)  # otherwise the clock would measure how fast work is queued
    _wait_for(device)
    return (perf_counter() - start) / calls


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


def training_flops(config: RunConfig, input_shape: InputShape, classes: int) -> float:
    """Floating-point operations to train on one image: matrix products and convolutions, both passes."""
    return sum(_flops(config, input_shape, classes))


def flops_of_run(config: RunConfig, data: DataSet) -> float:
    """Floating-point operations of a whole run: of training, and of every evaluation."""
    forward, backward = _flops(config, data.input_shape, data.outputs)
    parts, epochs = split(data, config), config.optimizer.epochs
    trained = epochs * len(parts.drawn)
    at_the_end = len(parts.validation) + len(data.test_targets) + min(len(parts.drawn), MOST_TRAINING_IMAGES)
    evaluated = epochs * len(parts.validation) + at_the_end
    return trained * (forward + backward) + evaluated * forward


def _flops(config: RunConfig, input_shape: InputShape, classes: int) -> tuple[float, float]:
    """The operations of a forward and of a backward pass for one image."""
    batch = 2
    with torch.device("meta"):
        # A thinned net draws its mask in eval mode, too; it has the operations of the net without a mask.
        model = make_module(input_shape, classes, config.replace(thinned=False))
        images = torch.empty(batch, *input_shape)
        with FlopCounterMode(display=False) as forward:
            outputs = model.eval()(images)  # eval mode: dropout adds no such operations
        with FlopCounterMode(display=False) as backward:
            outputs.sum().backward()
    return forward.get_total_flops() / batch, backward.get_total_flops() / batch


def run_images_per_second(config: RunConfig, device: torch.device, compiled: bool) -> float:
    """Training images a second in the last epoch of one dropbench run; the epochs before it warm up."""
    data = _load(config.data.key)
    result = train(config, data, device, compiled=compiled)
    check(result)
    return len(split(data, config).drawn) / result.epochs[-1].seconds


def check(result: RunResult) -> None:
    """Raise DropbenchError if the run diverged or failed, since it would count as the fastest of all."""
    if result.status != "ok":
        raise DropbenchError(f"A measured run {result.status}: {result.message}.")


def plain_images_per_second(config: RunConfig, device: torch.device) -> float:
    """Training images a second in one epoch of the plain loop, with the net and images of ``config``."""
    data = _load(config.data.key)
    drawn = split(data, config).drawn
    batches = _plain_batches(config, data.train_inputs[drawn], data.train_targets[drawn], True, device)
    model = _plain_model(config, data).to(device)
    optimizer = plain_loop.make_optimizer(model)
    _wait_for(device)
    start = perf_counter()
    plain_loop.train_epoch(model, batches, optimizer, device, config.optimizer.max_norm)
    _wait_for(device)
    return len(drawn) / (perf_counter() - start)


def plain_runs_seconds(configs: list[RunConfig], device: torch.device) -> float:
    """Seconds of complete runs of the plain loop, one after another: training, validation, test."""
    start = perf_counter()
    for config in configs:
        data = _load(config.data.key)
        parts = split(data, config)
        drawn, held_out = parts.drawn, parts.validation
        model = _plain_model(config, data).to(device)
        optimizer = plain_loop.make_optimizer(model)
        trained = _plain_batches(config, data.train_inputs[drawn], data.train_targets[drawn], True, device)
        for _ in range(config.optimizer.epochs):
            plain_loop.train_epoch(model, trained, optimizer, device, config.optimizer.max_norm)
        evaluated = (
            (data.train_inputs[held_out], data.train_targets[held_out]),
            (data.test_inputs, data.test_targets),
        )
        for images, labels in evaluated:
            plain_loop.count_correct(model, _plain_batches(config, images, labels, False, device), device)
    return perf_counter() - start


def data_ready_seconds(config: RunConfig, device: torch.device) -> float:
    """Seconds from a cached set's key to a run's first batch: mapped, split, normalised, on the device."""
    start = perf_counter()
    data = cache.load(config.data.key)
    parts = split(data, config)
    normalisation = measure(data.train_inputs, parts.train, device, data.pixel_sums)
    examples = ImageExamples(data.train_inputs, data.train_targets, normalisation, device)
    examples.batch(torch.from_numpy(parts.train[: config.optimizer.batch_size]).to(device))
    _wait_for(device)
    return perf_counter() - start


def _plain_model(config: RunConfig, data: DataSet) -> nn.Module:
    channels, height, width = data.input_shape
    classes, p_drop = data.outputs, config.dropout.p_drop
    if config.model.name == "mlp":
        inputs = channels * height * width
        return plain_loop.mlp(inputs, config.model.layers, classes, p_drop, config.dropout.p_drop_input)
    return plain_loop.lecture_cnn(height, width, classes, p_drop)


def _plain_batches(
    config: RunConfig, images: np.ndarray, labels: np.ndarray, shuffle: bool, device: torch.device
) -> plain_loop.Batches:
    """Batches of the plain loop: for an MLP from tensors on the device, for a CNN from PIL images."""
    if config.model.name == "mlp":
        in_memory = torch.from_numpy(images).to(device).float().div_(255).sub_(0.5).div_(0.5)
        return plain_loop.InMemoryBatches(in_memory, torch.from_numpy(labels).to(device), shuffle)
    return plain_loop.picture_loader(images, labels, shuffle)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
