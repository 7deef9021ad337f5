"""Variational dropout with learned rates, by the local reparameterisation trick (Kingma et al. 2015)."""

import math
from typing import Self, cast

import torch
import torch.nn.functional as F
from torch import nn

from dropbench.dropout.layer import Arriving, DropoutLayer, Site, layer_before
from dropbench.kernels.draws import Draw
from dropbench.kernels.noise import normal

_LARGEST = 8.0  # bound of |log α|; beyond it the noise is negligible or overwhelming


class VariationalDropout(DropoutLayer):
    """Adds normal noise of variance α θ² to the weights θ of the next layer, and learns α for each unit.

    α = p/(1 − p), starting from p_drop. A sum of normal noise is normal, so the output of each sample is
    drawn directly, with mean x θ and variance x² (α θ²). This takes far fewer draws than noise on every
    weight, and its gradient has less variance (section 2.2 of the paper). At test the weights are θ.

    The penalty is the Kullback–Leibler divergence from the log-uniform prior, with factor 1, in the
    approximation of Molchanov et al. (2017), which holds for every α.

    Args:
        p_drop: the initial drop probability.
        before: the next layer, which the units go into, nn.Linear or nn.Conv2d.

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
        """Return the layer for a site, with one α for every unit or channel that goes into the next layer.

        Raises:
            UsageError: if the model does not name the next layer.

        """
        return cls(p_drop, layer_before(site, "variational"))

    def p_learned(self) -> torch.Tensor:
        """Return each unit's drop probability α/(1 + α), multiplied by the schedule's strength."""
        return self.strength * torch.sigmoid(self.log_alpha.clamp(-_LARGEST, _LARGEST))

    def rate(self) -> float:
        """Return the mean learned drop probability of the units."""
        return 0.0 if self.does_nothing else self.p_learned().mean().item()

    def penalty(self) -> torch.Tensor | None:
        """Return the divergence of all weights of the next layer from the prior, in nats."""
        if self.does_nothing:
            return None
        return self.weights_per_unit * divergence(self.log_alpha.clamp(-_LARGEST, _LARGEST)).sum()

    def second_moment(self, arriving: Arriving) -> float:
        """Return 1 + α, the factor on the second moment of the next layer's output."""
        return 1 / (1 - self.p_now)

    def connect(self, layer: nn.Module, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Return the output of ``layer``, drawn from its normal distribution."""
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
        noise = normal(mean.shape, draw, mean.device).to(wide)
        # The root has no finite slope at 0, which is the variance if all units are 0.
        return cast(torch.Tensor, mean + (variance.to(wide) + 1e-12).sqrt() * noise)


def divergence(log_alpha: torch.Tensor) -> torch.Tensor:
    """Return KL(N(θ, αθ²) ‖ log-uniform) of a weight in nats, up to a constant; it is 0 for α → ∞.

    The approximation is equation 14 of Molchanov et al. (2017), with an error of at most about 0.01.
    """
    k1, k2, k3 = 0.63576, 1.87320, 1.48695
    negative = k1 * torch.sigmoid(k2 + k3 * log_alpha) - 0.5 * F.softplus(-log_alpha) - k1
    return -negative
