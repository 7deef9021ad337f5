"""The initial weights of a model."""

import math

import torch
from torch import nn

from dropbench.run.config import RunConfig

_INTEGRATION_LIMIT = 10.0  # standard deviations; beyond it the normal density is negligible


def initialise(model: nn.Module, config: RunConfig, generator: torch.Generator) -> None:
    """Initialise normal weights of variance gain²/fan-in (He et al. 2015) and zero biases.

    The gain is √2 for ReLU, 1 for logistic units and SELU (Klambauer et al. 2017), and maxout_gain for maxout
    units. It is 1 for the output layer, which has no activation and is recognised by its name, ``output``.
    """
    gain = math.sqrt(2) if config.model.activation == "relu" else 1.0
    if config.model.activation == "maxout":
        gain = maxout_gain(config.model.pieces)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            deviation = (1.0 if name == "output" else gain) / math.sqrt(fan_in)
            nn.init.normal_(module.weight, 0, deviation, generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def maxout_gain(pieces: int) -> float:
    """Return 1/√E(m²), where m is the largest of ``pieces`` independent standard normal numbers.

    It keeps the mean square of the signal. Tseran & Montúfar (2021) tabulate its square.
    """
    at = torch.linspace(-_INTEGRATION_LIMIT, _INTEGRATION_LIMIT, 4001, dtype=torch.float64)
    normal = (-at.square() / 2).exp() / math.sqrt(2 * math.pi)
    density = pieces * normal * torch.special.ndtr(at) ** (pieces - 1)
    return float(torch.trapezoid(at.square() * density, at).rsqrt())
