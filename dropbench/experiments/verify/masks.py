"""Checks of the mask: its moments, independence, expectation and gradient; torch's dropout is the oracle."""

import math
from collections.abc import Iterator

import torch
from torch import nn

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.stream import Stream
from dropbench.experiments.verify.check import Check, exact, statistical
from dropbench.experiments.verify.variants import LAGS
from dropbench.kernels.draws import chance_of
from dropbench.kernels.mask import keep_mask
from dropbench.run.streams import torch_generator

GRID = (0.001, 0.1, 0.2, 0.5, 0.8, 0.999)
_QUANTISATION = 2.0**-17  # a mask's probability may be off p by half a step of 16 bits


def layer(p_drop: float, convention: str = "inverted", seed: int = 0) -> BernoulliDropout:
    """A dropout layer in train mode, with a random stream of its own."""
    made = BernoulliDropout(p_drop, convention)
    made.stream = Stream.of(seed, "mask")
    return made.train()


def mask_checks() -> Iterator[Check]:
    """Check mean, variance and independence of the lecture's Bernoulli mask over a grid of p."""
    samples, units = 4000, 256
    count = samples * units
    means, variances, neighbours, between_samples, between_steps = [], [], [], [], []
    for p in GRID:
        stream, like, chance = Stream.of(1, "mask"), torch.empty(samples, units), chance_of(p)
        masks = [keep_mask(like, chance, stream.draw()).double() for _ in range(2)]
        mean_error = math.sqrt(p * (1 - p) / count)
        means.append(_beyond(masks[0].mean().item() - (1 - p), _QUANTISATION) / mean_error)
        # (m − (1 − p))² takes two values, so the standard error of its mean has a closed form.
        squares = (masks[0] - (1 - p)).square()
        square_error = max(mean_error * abs(1 - 2 * p), mean_error * mean_error)
        variances.append(_beyond(squares.mean().item() - p * (1 - p), 2 * _QUANTISATION) / square_error)
        centred = [(mask - mask.mean()) / mask.std(correction=0) for mask in masks]
        line = centred[0].flatten()
        neighbours += [(line[lag:] * line[:-lag]).mean().item() * math.sqrt(count - lag) for lag in LAGS]
        between_samples.append((centred[0][1:] * centred[0][:-1]).mean().item() * math.sqrt(count - units))
        between_steps.append((centred[0] * centred[1]).mean().item() * math.sqrt(count))
    over = f"over p_drop {', '.join(map(str, GRID))}"
    yield statistical("mask: mean", f"1 − p, {over}", means)
    yield statistical("mask: variance", f"p(1 − p), {over}", variances)
    yield statistical(
        "mask: independent units", f"no correlation at lags {', '.join(map(str, LAGS))}", neighbours
    )
    yield statistical(
        "mask: independent samples", "no correlation of a unit with the next sample's", between_samples
    )
    yield statistical("mask: independent steps", "no correlation of two draws", between_steps)


def expectation_checks() -> Iterator[Check]:
    """Check that E(DX) = (1 − p) E(X), and that the inverted layer's mean output is its input."""
    draws = 4000
    units = torch.randn(200, dtype=torch.float64, generator=torch_generator(2, "init"))
    plain: list[float] = []
    inverted: list[float] = []
    for p in GRID[1:-1]:
        batch = units.expand(draws, -1).contiguous()
        for found, convention, expected in ((plain, "weight-scaling", 1 - p), (inverted, "inverted", 1.0)):
            out = layer(p, convention, seed=3)(batch)
            error = units.abs() * math.sqrt(p * (1 - p) / draws) * expected / (1 - p)
            beyond = (out.mean(0) - expected * units).abs() - units.abs() * 2 * _QUANTISATION
            found.append((beyond / error).max().item())
    yield statistical("E(DX) = (1 − p) E(X)", "the lecture: kept units as they are", plain)
    yield statistical("inverted: mean output", "the input", inverted)


def oracle_checks() -> Iterator[Check]:
    """Compare with torch.nn.Dropout: the same distribution, and the same gradient given the same mask."""
    shape, p = (2000, 500), 0.3
    units = torch.rand(shape, generator=torch_generator(4, "init")) + 0.5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs_in, ours_in = (units.clone().requires_grad_() for _ in range(2))
        theirs, ours = nn.Dropout(p)(theirs_in), layer(p)(ours_in)
    kept = [(out != 0).double() for out in (ours, theirs)]
    per_unit = (kept[0].mean(0) - kept[1].mean(0)) / math.sqrt(2 * p * (1 - p) / shape[0])
    overall = (kept[0].mean() - kept[1].mean()) / math.sqrt(2 * p * (1 - p) / units.numel())
    spread = [k.sum(1).var() for k in kept]
    # The sample variance of n binomial counts has the standard error σ² √(2/(n − 1)).
    variance = p * (1 - p) * shape[1]
    spread_error = (spread[0] - spread[1]) / (variance * math.sqrt(4 / (shape[0] - 1)))
    yield statistical(
        "torch.nn.Dropout: distribution",
        "the same share kept, of every unit and over all, and the same spread",
        [per_unit.abs().max().item(), overall.item(), spread_error.item()],
    )
    weights = torch.randn(shape, generator=torch_generator(5, "init"))
    (ours * weights).sum().backward()
    (theirs * weights).sum().backward()
    assert ours_in.grad is not None  # both have taken part in backward passes
    assert theirs_in.grad is not None
    # Where both masks keep a unit, both gradients are weight / (1 − p). Where ours drops it, ours is zero.
    both = (kept[0] * kept[1]).bool()
    yield exact(
        "torch.nn.Dropout: gradient",
        "the same where both masks keep a unit, zero where one drops it",
        torch.cat([ours_in.grad[both], ours_in.grad[~kept[0].bool()]]),
        torch.cat([theirs_in.grad[both], torch.zeros(int((~kept[0].bool()).sum()))]),
        tolerance=1e-4,  # both in float32, ours at the p of the mask
    )


def gradient_check() -> Iterator[Check]:
    """Compare the gradient through a mask with central differences in float64."""
    units = torch.randn(30, 20, dtype=torch.float64, generator=torch_generator(6, "init")).requires_grad_()
    weights = torch.randn(30, 20, dtype=torch.float64, generator=torch_generator(7, "init"))

    def loss(values: torch.Tensor) -> torch.Tensor:
        kept: torch.Tensor = layer(0.4, seed=8)(values)
        return (kept.square() * weights).sum()

    loss(units).backward()  # type: ignore[no-untyped-call]
    assert units.grad is not None
    step = 1e-6
    differences = torch.zeros_like(units)
    with torch.no_grad():
        for position in range(0, units.numel(), 7):
            shift = torch.zeros(units.numel(), dtype=torch.float64)
            shift[position] = step
            up, down = (loss(units + sign * shift.view_as(units)) for sign in (1, -1))
            differences.view(-1)[position] = (up - down) / (2 * step)
    checked = torch.arange(0, units.numel(), 7)
    yield exact(
        "gradient through a mask",
        "central differences in float64",
        units.grad.view(-1)[checked],
        differences.view(-1)[checked],
        tolerance=1e-6,
    )


def _beyond(deviation: float, allowed: float) -> float:
    """The part of a deviation that exceeds ``allowed``, the part explained by the quantisation of p."""
    return math.copysign(max(0.0, abs(deviation) - allowed), deviation)
