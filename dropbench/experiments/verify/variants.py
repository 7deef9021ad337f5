"""Checks of each variant against theory: how often it drops, the moments of its noise, independence."""

import functools
import math
from collections.abc import Callable, Iterator

import torch
from torch import nn

from dropbench.catalog.dropouts import VARIANTS
from dropbench.dropout.dropblock import LARGEST_BLOCK
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.registry import make_dropout
from dropbench.dropout.stream import Stream
from dropbench.dropout.variational import divergence
from dropbench.experiments.verify.check import Check, exact, statistical
from dropbench.run.config import RunConfig
from dropbench.run.streams import torch_generator

P_DROPS = (0.1, 0.2, 0.5, 0.8)
LAGS = (1, 2, 3, 4, 5, 64, 1000)
_SAMPLES, _UNITS = 4000, 256
_OVER = f"over p_drop {', '.join(map(str, P_DROPS))}"
_FEW = 64  # units of a layer with noise on its weights, where every sample has a mask of 64 × 64 weights


def variant_layer(name: str, p_drop: float, before: nn.Module | None = None) -> DropoutLayer:
    """A layer of the variant in train mode, with a random stream of its own."""
    activation = VARIANTS[name].activation or "relu"
    made = make_dropout(RunConfig(dropout=name, p_drop=p_drop, activation=activation), "hidden", before)
    made.stream = Stream.of(10, "mask")
    return made.train()


@torch.no_grad()
def variant_checks() -> Iterator[Check]:
    """Check the noise of each variant but Bernoulli dropout, which mask_checks covers."""
    for name in ("gaussian", "uniform", "spatial"):
        yield from noise_checks(name, "mean 1, variance p/(1 − p)", functools.partial(_multiplied, name))
    yield from noise_checks("dropconnect", "mean Wx, variance p/(1 − p) Σ w²x²", _dropconnect)
    yield from noise_checks("variational", "mean Wx, variance α Σ w²x², α = p/(1 − p)", _variational)
    yield from noise_checks("alpha", "at SELU's limit with probability p", _alpha)
    yield from noise_checks("concrete", "above 1/2 with probability 1 − p", _concrete)
    yield from noise_checks("standout", "kept with probability σ(z + logit(1 − p))", _standout)
    yield from _spatial_checks()
    yield from _alpha_checks()
    yield from _dropblock_checks()
    yield from _divergence_checks()


def noise_checks(name: str, theory: str, draw: Callable[[float], torch.Tensor]) -> Iterator[Check]:
    """Check noise that was standardised by theory: mean 0, variance 1, no correlations.

    ``draw(p)`` returns the noise of two steps ``(2, samples, units)``.
    """
    means: list[float] = []
    variances: list[float] = []
    correlations: list[float] = []
    for p in P_DROPS:
        noise = draw(p).double()
        count = noise.numel()
        means.append(noise.mean().item() * math.sqrt(count))
        squares = noise.square()
        # A variable with two values of probability 1/2 each has equal squares, whose standard error is 0.
        error = max(squares.std().item() / math.sqrt(count), 1 / count)
        variances.append((squares.mean().item() - 1) / error)
        correlations += _correlations((noise - noise.mean()) / noise.std(correction=0))
    yield statistical(f"{name}: mean", f"{theory}, {_OVER}", means)
    yield statistical(f"{name}: variance", f"{theory}, {_OVER}", variances)
    yield statistical(f"{name}: independent", "no correlation of units, samples or steps", correlations)


def _correlations(noise: torch.Tensor) -> Iterator[float]:
    """Correlations of units at LAGS, of neighbouring samples, and of two steps, in standard errors."""
    line = noise.flatten()
    for lag in LAGS:
        yield (line[lag:] * line[:-lag]).mean().item() * math.sqrt(len(line) - lag)
    for one, other in ((noise[:, 1:], noise[:, :-1]), (noise[0], noise[1])):
        yield (one * other).mean().item() * math.sqrt(one.numel())


def _two(step: Callable[[], torch.Tensor]) -> torch.Tensor:
    """Two steps, stacked: each call draws fresh noise."""
    return torch.stack([step(), step()])


def _multiplied(name: str, p: float) -> torch.Tensor:
    """The factors of a layer with multiplicative noise, less their mean, in standard deviations."""
    made, units = variant_layer(name, p), torch.ones(_SAMPLES, _UNITS)
    if name == "spatial":  # one unit of each channel, since all have the same factor
        maps = units[:, :, None, None].expand(-1, -1, 2, 2)
        return _two(lambda: (made(maps)[:, :, 0, 1] - 1) / math.sqrt(p / (1 - p)))
    return _two(lambda: (made(units) - 1) / math.sqrt(p / (1 - p)))


def _on_weights(name: str, p: float, linear: nn.Linear) -> torch.Tensor:
    """The output of a layer with noise on its weights, less its mean, in standard deviations."""
    made = variant_layer(name, p, linear)
    units = torch.randn(_SAMPLES, linear.in_features, generator=torch_generator(11, "init"))
    deviation = (p / (1 - p) * units.square() @ linear.weight.square().T).sqrt()
    return _two(lambda: (made.into(linear, units) - linear(units)) / deviation)


def _linear() -> nn.Linear:
    linear = nn.Linear(_FEW, _FEW)
    nn.init.normal_(linear.weight, generator=torch_generator(12, "init"))
    nn.init.normal_(linear.bias, generator=torch_generator(13, "init"))
    return linear


def _dropconnect(p: float) -> torch.Tensor:
    return _on_weights("dropconnect", p, _linear())


def _variational(p: float) -> torch.Tensor:
    return _on_weights("variational", p, _linear())


def _standard(kept: torch.Tensor, probability: torch.Tensor | float) -> torch.Tensor:
    """Standardise indicators of this probability to mean 0 and variance 1."""
    probability = torch.as_tensor(probability, dtype=torch.float64)
    return (kept.double() - probability) / (probability * (1 - probability)).sqrt()


def _alpha(p: float) -> torch.Tensor:
    # Units at 0 come out with one of two values. SELU's limit, the value of dropped units, becomes the lower.
    made, units = variant_layer("alpha", p), torch.zeros(_SAMPLES, _UNITS)
    return _two(lambda: _standard(made(units) > 0, 1 - p))


def _concrete(p: float) -> torch.Tensor:
    made, units = variant_layer("concrete", p), torch.ones(_SAMPLES, _UNITS)
    return _two(lambda: _standard(made(units) * (1 - p) > 0.5, 1 - p))  # halfway between dropped and kept


def _standout(p: float) -> torch.Tensor:
    made = variant_layer("standout", p)
    before = torch.randn(_SAMPLES, _UNITS, generator=torch_generator(14, "init")).double()
    keep = torch.sigmoid(before + math.log((1 - p) / p))
    return _two(lambda: _standard(made(torch.ones_like(before), before) > 0, keep))


def _spatial_checks() -> Iterator[Check]:
    """Check that spatial dropout drops whole channels."""
    maps = variant_layer("spatial", 0.5)(torch.ones(500, 40, 5, 5))
    yield exact(
        "spatial: whole channels", "one value a channel", maps, maps[:, :, :1, :1].expand_as(maps), 0.0
    )


def _alpha_checks() -> Iterator[Check]:
    """Check that alpha dropout keeps mean 0 and variance 1 (Klambauer et al. 2017)."""
    deviations = []
    for p in P_DROPS:
        units = torch.randn(_SAMPLES, _UNITS, generator=torch_generator(15, "init"))
        out = variant_layer("alpha", p)(units).double()
        count = out.numel()
        squares = out.square()
        deviations += [
            (out.mean() * math.sqrt(count)).item(),
            ((squares.mean() - 1) / (squares.std() / math.sqrt(count))).item(),
        ]
    theory = f"of standard normal units 0 and 1, as before, {_OVER}"
    yield statistical("alpha: mean and variance kept", theory, deviations)


def _dropblock_checks() -> Iterator[Check]:
    """Check that DropBlock drops whole squares, as often as theory says, and keeps the mean."""
    samples, channels, side = 2000, 16, 9
    centres = side - LARGEST_BLOCK + 1
    covered = nn.functional.conv_transpose2d(
        torch.ones(1, 1, centres, centres), torch.ones(1, 1, LARGEST_BLOCK, LARGEST_BLOCK)
    )
    deviations, means, torn = [], [], []
    for p in P_DROPS:
        maps = variant_layer("dropblock", p)(torch.ones(samples, channels, side, side))
        rate = p * side**2 / (LARGEST_BLOCK**2 * centres**2)  # of centres; Ghiasi et al. 2018, equation 1
        dropped = 1 - (1 - rate) ** covered[0, 0]
        spread = (dropped * (1 - dropped) / (samples * channels)).sqrt()
        deviations += (((maps == 0).float().mean((0, 1)) - dropped) / spread).flatten().tolist()
        means.append(maps.double().mean())
        # Every dropped unit must lie in a square that is dropped as a whole.
        kept = nn.functional.max_pool2d((maps > 0).float(), LARGEST_BLOCK, stride=1)
        squares = nn.functional.conv_transpose2d(
            1 - kept.flatten(0, 1)[:, None], torch.ones(1, 1, LARGEST_BLOCK, LARGEST_BLOCK)
        )
        torn.append(((squares[:, 0] == 0) & (maps.flatten(0, 1) == 0)).sum().double())
    theory = f"1 − (1 − γ)ᵏ where k squares of rate γ cover the place, {_OVER}"
    yield statistical("dropblock: share dropped", theory, deviations)
    zero = torch.zeros(len(P_DROPS), dtype=torch.float64)
    yield exact("dropblock: whole squares", "no place is dropped alone", zero + torch.stack(torn), zero, 0.0)
    yield exact("dropblock: mean", "1 over the batch", torch.stack(means), zero + 1, 1e-6)


def _divergence_checks() -> Iterator[Check]:
    """Check the approximation of Molchanov et al. against the series of E log of a non-central χ²."""
    log_alpha = torch.linspace(-6, 6, 49, dtype=torch.float64)
    half = 0.5 * (-log_alpha).exp()  # half the non-centrality 1/α of ε²/α, ε ~ N(1, α)
    terms = torch.arange(1000, dtype=torch.float64)
    poisson = (torch.special.xlogy(terms, half[:, None]) - half[:, None] - torch.lgamma(terms + 1)).exp()
    log_noise = 0.5 * (log_alpha + math.log(2) + poisson @ torch.digamma(terms + 0.5))
    of_standard = 0.5 * (math.log(2) + torch.digamma(torch.tensor(0.5, dtype=torch.float64)))
    integral = log_noise - 0.5 * log_alpha - of_standard  # 0 for α → ∞
    worst = (divergence(log_alpha) - integral).abs().max().item()
    theory = "½ log α − E log|ε|, ε ~ N(1, α), α from e⁻⁶ to e⁶; approximated"
    yield Check("variational: divergence", theory, 0.0, worst, 0.01, "nats a weight")
