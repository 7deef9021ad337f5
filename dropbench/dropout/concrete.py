"""Concrete dropout: the drop probability is learned by gradient descent (Gal, Hron & Kendall 2017)."""

import math
from typing import Self

import torch
from torch import nn

from dropbench.dropout.layer import Arriving, DropoutLayer, Site
from dropbench.kernels.draws import Draw
from dropbench.kernels.noise import uniform

TEMPERATURE = 0.1
LENGTH_SCALE = 0.01
_STEPS = 100_000


class ConcreteDropout(DropoutLayer):
    """Multiplies units by a smooth relaxation of the mask, whose drop probability p each site learns.

    A unit is multiplied by m / (1 − p), where m = 1 − σ((logit p + logit u)/0.1) with u uniform on [0, 1] is
    close to 0 or 1, and differentiable in p. On feature maps all units of a channel share a mask, as in the
    paper's convolutional nets. At test the layer is the identity.

    The penalty is the divergence from the prior: −K H(p) for the Bernoulli masks of K units with entropy H,
    plus l² ‖W‖² / (2(1 − p)) for the weights W of the next layer. The length scale l = 0.01 leaves the
    weights almost unpenalised.

    Args:
        p_drop: the initial p.
        before: the next layer, which the units go into; if None, the penalty has no term for its weights.

    """

    learns = True

    def __init__(self, p_drop: float, before: nn.Module | None = None) -> None:
        super().__init__(p_drop)
        self.lead_into(before)
        self._units = 0
        start = math.log(p_drop / (1 - p_drop)) if p_drop else 0.0
        self.logit = nn.Parameter(torch.tensor(start), requires_grad=p_drop > 0)

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """Return the layer for a site, with the next layer, whose weights are part of the penalty."""
        return cls(p_drop, site.before)

    def p_learned(self) -> torch.Tensor:
        """Return the learned drop probability × the schedule's strength, as a differentiable scalar."""
        return self.strength * torch.sigmoid(self.logit)

    def rate(self) -> float:
        """Return the learned drop probability in force."""
        return 0.0 if self.does_nothing else self.p_learned().item()

    def penalty(self) -> torch.Tensor | None:
        """Return the divergence from the prior in nats, for the number of units in the last pass."""
        if self.does_nothing:
            return None
        p = self.p_learned()
        total = self._units * (p * p.log() + (1 - p) * torch.log1p(-p))
        weight = getattr(self.next_layer, "weight", None)
        if weight is not None:
            total = total + LENGTH_SCALE**2 * weight.square().sum() / (2 * (1 - p))
        return total

    def second_moment(self, arriving: Arriving) -> float:
        """Return E(m²)/(1 − p)², the mean over u at equal steps: a relaxed mask is rarely 0 or 1."""
        p = self.p_learned().detach().double()
        steps = (torch.arange(_STEPS, dtype=torch.float64) + 0.5) / _STEPS
        dropped = torch.sigmoid((torch.logit(p) + torch.logit(steps)) / TEMPERATURE)
        return (((1 - dropped) / (1 - p)).square().mean()).item()

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Multiply the units by a new relaxed mask."""
        shape = (*units.shape[:2], 1, 1) if units.ndim == 4 else units.shape
        self._units = math.prod(shape[1:])
        p = self.p_learned()
        wide = torch.promote_types(units.dtype, torch.float32)
        drawn = uniform(shape, draw, units.device).to(wide)
        dropped = torch.sigmoid((torch.logit(p) + torch.logit(drawn)) / TEMPERATURE)
        return (units * ((1 - dropped) / (1 - p))).to(units.dtype)
