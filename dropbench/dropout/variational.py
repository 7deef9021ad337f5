"""Variational dropout with a learned rate, by the local reparameterisation trick (Kingma et al. 2015)."""

import math
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import nn

from dropbench.dropout.layer import DropoutLayer, Site, layer_before

_LARGEST = 8.0  # of |log α|: beyond, the noise is none or everything, and float32 has no use for more


class VariationalDropout(DropoutLayer):
    """Normal noise of variance α θ² on the weights θ of the next layer, with α of each unit learned.

    α = p/(1 − p), so that p_drop says where it starts. A sum of normal noises is normal: what is drawn is
    the output of each sample, of mean x θ and variance x² (α θ²), which is far less than a mask of weights
    and a gradient of less variance (section 2.2 of the paper). The Kullback–Leibler divergence from the
    log-uniform prior is added to the loss, in full, in the approximation of Molchanov et al. (2017), which
    holds for every α. At test the weights are θ.

    Args:
        p_drop: where the rate starts.
        before: the layer that the units go into, nn.Linear or nn.Conv2d.

    """

    on_weights = True
    learns = True

    def __init__(self, p_drop: float, before: nn.Linear | nn.Conv2d) -> None:
        super().__init__(p_drop)
        outputs, inputs, *kernel = before.weight.shape
        self.weights_per_unit = outputs * math.prod(kernel)
        start = math.log(p_drop / (1 - p_drop)) if p_drop else -_LARGEST
        self.log_alpha = nn.Parameter(torch.full((inputs,), start), requires_grad=p_drop > 0)

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """With one rate for every unit that goes into the next layer."""
        return cls(p_drop, layer_before(site, "variational"))

    def p_learned(self) -> torch.Tensor:
        """The probability of dropping that each unit's α stands for, times the schedule's strength."""
        return self.strength * torch.sigmoid(self.log_alpha.clamp(-_LARGEST, _LARGEST))

    def rate(self) -> float:
        """The mean over the units."""
        return 0.0 if self.does_nothing else self.p_learned().mean().item()

    def penalty(self) -> torch.Tensor | None:
        """The divergence of all weights of the next layer."""
        if self.does_nothing:
            return None
        return self.weights_per_unit * divergence(self.log_alpha.clamp(-_LARGEST, _LARGEST)).sum()

    def connect(self, layer: nn.Module, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The layer's output, drawn."""
        p = self.p_learned()
        alpha = p / (1 - p)
        mean = layer(units)
        if isinstance(layer, nn.Conv2d):
            shares = units.square() * alpha[:, None, None]
            variance = F.conv2d(
                shares, layer.weight.square(), None, layer.stride, layer.padding, layer.dilation, layer.groups
            )
        else:
            variance = F.linear(units.square() * alpha, cast(nn.Linear, layer).weight.square())
        wide = torch.promote_types(mean.dtype, torch.float32)
        noise = torch.empty_like(mean, dtype=wide).normal_(generator=generator)
        # The root has no slope at 0, where all units are 0.
        return cast(torch.Tensor, mean + (variance.to(wide) + 1e-12).sqrt() * noise)


def divergence(log_alpha: torch.Tensor) -> torch.Tensor:
    """KL(N(θ, αθ²) ‖ log-uniform) of a weight in nats, up to a constant: 0 for α → ∞.

    Molchanov et al. 2017, equation 14; off by at most about 0.01.
    """
    k1, k2, k3 = 0.63576, 1.87320, 1.48695
    negative = k1 * torch.sigmoid(k2 + k3 * log_alpha) - 0.5 * F.softplus(-log_alpha) - k1
    return -negative
