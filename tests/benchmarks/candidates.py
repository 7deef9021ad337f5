"""Levers that were tried for the engine and not taken, or taken by a measured choice. Run on a quiet machine.

    python tests/benchmarks/candidates.py

Every table's contenders take turns; figures are medians, on one thread, batch 128 of 3×32×32 in bf16
where the processor has it.
"""

import ctypes
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F

from dropbench.dropout.control import set_streams
from dropbench.dropout.stream import Stream
from dropbench.engine import optim
from dropbench.engine.device import autocast, prepare_process, resolve_precision
from dropbench.kernels import convolution, pool
from dropbench.kernels.philox import words
from dropbench.kernels.pool import pool_relu
from dropbench.models.build import build_model
from dropbench.models.lecture_cnn import LectureCNN
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")
ROUNDS = 15


def take_turns(title: str, unit: str, contenders: Mapping[str, Callable[[], object]], scale: float) -> None:
    """Print each contender's median time, times ``scale``."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(ROUNDS + 2):
        for name, call in contenders.items():
            start = perf_counter()
            call()
            if round_ >= 2:
                seconds[name].append(perf_counter() - start)
    print(title)
    for name, taken in seconds.items():
        low, middle, high = min(taken), statistics.median(taken), max(taken)
        print(f"  {name:44s} {middle * scale:8.2f} [{low * scale:.2f}, {high * scale:.2f}] {unit}")


def corners(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The four views of every 2×2 square, in the order in which torch's pooling prefers them."""
    return tuple(images[:, :, row::2, column::2] for row in (0, 1) for column in (0, 1))


class PoolOfViews(torch.autograd.Function):
    """A 2×2 max-pool that keeps three masks instead of int64 positions; ties go where torch's go."""

    @staticmethod
    def forward(ctx, images):
        a, b, c, d = corners(images)
        upper, lower = torch.maximum(a, b), torch.maximum(c, d)

        def mask(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return torch.gt(left, right, out=torch.empty_like(upper))

        ctx.save_for_backward(mask(b, a), mask(d, c), mask(lower, upper))
        ctx.shape = images.shape
        return torch.maximum(upper, lower)

    @staticmethod
    def backward(ctx, gradient):
        right_above, right_below, below = ctx.saved_tensors
        out = torch.empty(ctx.shape, dtype=gradient.dtype, memory_format=torch.channels_last)
        a, b, c, d = corners(out)
        lower = gradient * below
        upper = gradient - lower
        torch.mul(upper, right_above, out=b)
        torch.sub(upper, b, out=a)
        torch.mul(lower, right_below, out=d)
        torch.sub(lower, d, out=c)
        return out


class InParts(torch.autograd.Function):
    """A 3×3 convolution and its pool for a few images at a time, whose maps stay in a core's cache."""

    @staticmethod
    def forward(ctx, images, weight, images_in_part):
        _, _, height, width = images.shape
        places, parts = [], []
        for part in images.split(images_in_part):
            maps = F.conv2d(part, weight, padding=1).detach().requires_grad_()
            with torch.enable_grad():
                pooled = pool_relu(maps, 2)
            places.append(pooled.grad_fn.saved_tensors[0])
            parts.append(pooled.detach())
        ctx.save_for_backward(images, weight, *places)
        ctx.part, ctx.maps = images_in_part, (len(weight), height, width)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient):
        images, weight, *places = ctx.saved_tensors
        to_images, to_weight = [], torch.zeros(weight.shape)
        for part, given, place in zip(images.split(ctx.part), gradient.split(ctx.part), places, strict=True):
            maps = torch.empty((len(part), *ctx.maps), dtype=part.dtype, memory_format=torch.channels_last)
            sums = torch.empty(len(part) * given.shape[2], given.shape[1])
            pool._unpool_2(pool._rows(given), place.numpy(), pool._rows(maps), sums.numpy(), 1.0)
            found = convolution._gradients(maps, part, weight, (True, True, False))
            to_images.append(found[0])
            to_weight += found[1]
        return torch.cat(to_images), to_weight.to(weight.dtype), None


def convolution_and_pool(fan_in: int, fan_out: int, side: int) -> dict[str, Callable[[], object]]:
    """Both passes of a convolution and its pool, for the whole batch and for a megabyte of maps at a time."""
    images = torch.randn(128, fan_in, side, side).bfloat16().to(memory_format=torch.channels_last)
    weight = (0.1 * torch.randn(fan_out, fan_in, 3, 3)).bfloat16().to(memory_format=torch.channels_last)
    images.requires_grad_()
    weight.requires_grad_()
    gradient = torch.randn(128, fan_out, side // 2, side // 2).bfloat16()
    gradient = gradient.to(memory_format=torch.channels_last)

    def whole() -> torch.Tensor:
        return pool_relu(F.conv2d(images, weight, padding=1), 2)

    def in_parts() -> torch.Tensor:
        return InParts.apply(images, weight, (1 << 20) // (2 * fan_out * side**2))

    def passes(forward: Callable[[], torch.Tensor]) -> Callable[[], object]:
        return lambda: torch.autograd.grad(forward(), (images, weight), gradient)

    torch.testing.assert_close(whole(), in_parts())
    return {"all images, taken": passes(whole), "a megabyte of maps at a time": passes(in_parts)}


class OtherPool(LectureCNN):
    """The lecture's CNN with another pooling."""

    pool: Callable[[torch.Tensor], torch.Tensor]

    def forward(self, images):
        units = images
        for layer, dropout in zip(self.convolutions, self.conv_dropouts, strict=True):
            units = dropout(F.relu(self.pool(layer(units))))
        units = units.flatten(1)
        for layer, dropout in zip(self.hidden, self.hidden_dropouts, strict=True):
            units = dropout(F.relu(layer(units)))
        return self.output(units)


def step(
    pool: Callable[[torch.Tensor], torch.Tensor] | None, precision: str, half: bool = False
) -> Callable[[], None]:
    """A whole training step of the lecture's CNN, with another pooling or with its own (None)."""
    config = RunConfig(p_drop=0.5, precision=precision)
    model = build_model((3, 32, 32), 10, config).to(memory_format=torch.channels_last)
    if pool is not None:
        model.__class__, model.pool = OtherPool, staticmethod(pool)
    set_streams(model, "mask", 0, 0)
    optimizer = optim.SGD(model, 0.9, 0.0, half=half)
    images = torch.randn(128, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.arange(128) % 10

    def run() -> None:
        with autocast(CPU, precision):
            logits = model(images)
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), labels).backward()
        optimizer.step(0.01)

    return run


def weight_gradient(
    fan_in: int, fan_out: int, side: int, dtype: torch.dtype
) -> dict[str, Callable[[], object]]:
    """The weight gradient of a 3×3 convolution by torch (oneDNN) and by other ways."""

    def channels_last(*shape: int) -> torch.Tensor:
        return torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)

    images, gradient = channels_last(128, fan_in, side, side), channels_last(128, fan_out, side, side)
    weight = channels_last(fan_out, fan_in, 3, 3)

    def by_torch(bias: bool = False) -> torch.Tensor:
        wanted = [False, True, bias]
        return torch.ops.aten.convolution_backward(
            gradient, images, weight, [fan_out], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, wanted
        )[1]

    def side_by_side() -> torch.Tensor:
        rows = [convolution._in_rows(each, 3, 1) for each in (gradient, images)]
        return convolution._gradients(*rows, weight, (False, True, False))[1]

    def as_one_product() -> torch.Tensor:
        padded = F.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
        shifted = [
            padded[:, row : row + side, column : column + side] for row in range(3) for column in range(3)
        ]
        unfolded = torch.cat(shifted, dim=3).reshape(-1, 9 * fan_in)
        product = gradient.permute(0, 2, 3, 1).reshape(-1, fan_out).t() @ unfolded
        return product.view(fan_out, 3, 3, fan_in).permute(0, 3, 1, 2)

    torch.testing.assert_close(as_one_product().float(), by_torch().float(), rtol=0.05, atol=1.0)
    return {
        "torch, with that of the bias": lambda: by_torch(bias=True),
        "torch, without it": by_torch,
        "one matrix product": as_one_product,
        "three images side by side": side_by_side,
    }


def draws(count: int) -> dict[str, Callable[[], object]]:
    """``count`` 16-bit numbers by counter, and four to a 64-bit draw of two generators that have a state."""
    quads, generator, sfc = torch.empty(count // 4, dtype=torch.int64), torch.Generator(), np.random.SFC64(0)
    stream = Stream(0)
    return {
        "Philox4x32-10, taken": lambda: words(count // 2, stream.draw(), CPU),
        "torch.Generator (mt19937)": lambda: quads.random_(-(1 << 63), None, generator=generator),
        "numpy SFC64.random_raw": lambda: sfc.random_raw(count // 4),
    }


def allocator(setting: str) -> None:
    """Time fp32 steps in this process under one of glibc's allocator settings."""
    libc = ctypes.CDLL(None)
    if setting == "mmap above 32 MiB":
        libc.mallopt(-3, 32 << 20)
        libc.mallopt(-1, 1 << 30)
    elif setting == "no mmap":
        libc.mallopt(-4, 0)
        libc.mallopt(-1, 1 << 30)
    elif setting == "no mmap and huge pages, taken":
        prepare_process()
    take_turns(f"allocator: {setting}; an fp32 step on all cores", "ms", {"step": step(None, "fp32")}, 1e3)


def main() -> None:
    """Print every table."""
    if len(sys.argv) > 1:
        allocator(sys.argv[1])
        return
    prepare_process(1)
    precision = resolve_precision("auto", CPU)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    half = precision == "bf16"
    steps = {
        "kernels, bf16 weights, taken": step(None, precision, half),
        "kernels, weights cast by autocast": step(None, precision),
        "torch's max_pool2d and relu": step(lambda maps: F.max_pool2d(maps, 2), precision, half),
        "torch's maximum of views": step(PoolOfViews.apply, precision, half),
        "torch's average pool": step(lambda maps: F.avg_pool2d(maps, 2), precision, half),
    }
    take_turns(f"a {precision} step of the CNN with", "ms", steps, 1e3)
    for fan_in, fan_out, side in ((64, 128, 16), (128, 256, 8)):
        name = f"{fan_in}→{fan_out}, {side}×{side}"
        if half:
            title = f"weight gradient of the convolution {name}, by"
            take_turns(title, "ms", weight_gradient(fan_in, fan_out, side, dtype), 1e3)
            found = convolution_and_pool(fan_in, fan_out, side)
            take_turns(f"convolution and pool {name}, both passes, for", "ms", found, 1e3)
    count = 131_072
    take_turns("random numbers for a mask by", "ns a unit", draws(count), 1e9 / count)
    for setting in ("default", "mmap above 32 MiB", "no mmap", "no mmap and huge pages, taken"):
        subprocess.run([sys.executable, __file__, setting], check=True)


if __name__ == "__main__":
    main()
