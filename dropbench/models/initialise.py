"""The weights that a model starts from."""

import math

import torch
from torch import nn

from dropbench.run.config import RunConfig

_MOST_OF_NORMALS = 10.0  # standard deviations: beyond them is no weight


def initialise(model: nn.Module, config: RunConfig, generator: torch.Generator) -> None:
    """He initialisation (He et al. 2015): normal weights of variance gain²/fan-in, biases zero.

    The gain is √2 for ReLU, 1 for logistic units, SELU (Klambauer et al. 2017) and the output layer, and
    maxout_gain for maxout units. The layers that stay without an activation are told by their name,
    ``output``.
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
    """1/√E(m²) for the largest m of so many standard normal numbers: it keeps the signal's mean square.

    Tseran & Montúfar (2021), whose table has its squares.
    """
    at = torch.linspace(-_MOST_OF_NORMALS, _MOST_OF_NORMALS, 4001, dtype=torch.float64)
    normal = (-at.square() / 2).exp() / math.sqrt(2 * math.pi)
    density = pieces * normal * torch.special.ndtr(at) ** (pieces - 1)
    return float(torch.trapezoid(at.square() * density, at).rsqrt())
