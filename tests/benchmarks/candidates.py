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
from dropbench.kernels.philox import words
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


class OtherPool(LectureCNN):
    """The lecture's CNN with another pooling."""

    pool: Callable[[torch.Tensor], torch.Tensor]

    def forward(self, images):
        units = images
        for convolution, dropout in zip(self.convolutions, self.conv_dropouts, strict=True):
            units = dropout(F.relu(self.pool(convolution(units))))
        units = units.flatten(1)
        for layer, dropout in zip(self.hidden, self.hidden_dropouts, strict=True):
            units = dropout(F.relu(layer(units)))
        return self.output(units)


def step(pool: Callable[[torch.Tensor], torch.Tensor] | None, precision: str) -> Callable[[], None]:
    """A whole training step of the lecture's CNN, with another pooling or with its own (None)."""
    config = RunConfig(p_drop=0.5, precision=precision)
    model = build_model((3, 32, 32), 10, config).to(memory_format=torch.channels_last)
    if pool is not None:
        model.__class__, model.pool = OtherPool, staticmethod(pool)
    set_streams(model, "mask", 0, 0)
    optimizer = optim.SGD(model, 0.9, 0.0)
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
    """The weight gradient of a 3×3 convolution by torch (oneDNN), and as one product of unfolded images."""

    def channels_last(*shape: int) -> torch.Tensor:
        return torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)

    images, gradient = channels_last(128, fan_in, side, side), channels_last(128, fan_out, side, side)
    weight = channels_last(fan_out, fan_in, 3, 3)

    def by_torch() -> torch.Tensor:
        return torch.ops.aten.convolution_backward(
            gradient, images, weight, [fan_out], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, True]
        )[1]

    def as_one_product() -> torch.Tensor:
        padded = F.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
        shifted = [
            padded[:, row : row + side, column : column + side] for row in range(3) for column in range(3)
        ]
        unfolded = torch.cat(shifted, dim=3).reshape(-1, 9 * fan_in)
        product = gradient.permute(0, 2, 3, 1).reshape(-1, fan_out).t() @ unfolded
        return product.view(fan_out, 3, 3, fan_in).permute(0, 3, 1, 2)

    torch.testing.assert_close(as_one_product().float(), by_torch().float(), rtol=0.05, atol=1.0)
    return {"torch": by_torch, "one matrix product": as_one_product}


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
    elif setting == "no mmap, taken":
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
    pools = {
        "F.max_pool2d, taken": None,
        "views, no int64 positions": PoolOfViews.apply,
        "average pool: what any pooling could save": lambda images: F.avg_pool2d(images, 2),
    }
    steps = {name: step(pool, precision) for name, pool in pools.items()}
    take_turns(f"a {precision} step with its pooling by", "ms", steps, 1e3)
    for fan_in, fan_out, side in ((64, 128, 16), (128, 256, 8)):
        title = f"weight gradient of the convolution {fan_in}→{fan_out}, {side}×{side}, by"
        take_turns(title, "ms", weight_gradient(fan_in, fan_out, side, dtype), 1e3)
    count = 131_072
    take_turns("random numbers for a mask by", "ns a unit", draws(count), 1e9 / count)
    for setting in ("default", "mmap above 32 MiB", "no mmap, taken"):
        subprocess.run([sys.executable, __file__, setting], check=True)


if __name__ == "__main__":
    main()
