"""Concrete dropout: the probability of dropping is learned by gradient descent (Gal, Hron & Kendall 2017)."""

import math
from typing import Self

import torch
from torch import nn

from dropbench.dropout.layer import DropoutLayer, Site

TEMPERATURE = 0.1
LENGTH_SCALE = 0.01
_EDGE = 1e-7


class ConcreteDropout(DropoutLayer):
    """Multiplies by a smooth relaxation of the mask, whose p_drop is a parameter, one for each site.

    A unit's mask is 1 − σ((logit p + logit u)/0.1) over 1 − p with u uniform: nearly 0 or 1, and smooth in
    p. On feature maps the mask is one for a channel, as in the paper's convolutional nets. Added to the
    loss is the divergence from the prior: −K H(p) of the K units' Bernoulli masks, and l² ‖W‖² / (2(1 − p))
    of the next layer's weights W, with the length scale l = 0.01, under which the weights are as good as
    free. At test the mask is left out.

    Args:
        p_drop: where p starts.
        before: the layer that the units go into; None leaves out the term of its weights.

    """

    learns = True

    def __init__(self, p_drop: float, before: nn.Module | None = None) -> None:
        super().__init__(p_drop)
        self._before = (before,)  # in a tuple, so that it does not become a part of this module
        self._units = 0
        start = math.log(p_drop / (1 - p_drop)) if p_drop else 0.0
        self.logit = nn.Parameter(torch.tensor(start), requires_grad=p_drop > 0)

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """With the layer that comes next, for its penalty."""
        return cls(p_drop, site.before)

    def p_learned(self) -> torch.Tensor:
        """The probability of dropping, times the schedule's strength."""
        return self.strength * torch.sigmoid(self.logit)

    def rate(self) -> float:
        """The learned probability."""
        return 0.0 if self.does_nothing else self.p_learned().item()

    def penalty(self) -> torch.Tensor | None:
        """The divergence, of the units seen in the last pass."""
        if self.does_nothing:
            return None
        p = self.p_learned()
        total = self._units * (p * p.log() + (1 - p) * torch.log1p(-p))
        weight = getattr(self._before[0], "weight", None)
        if weight is not None:
            total = total + LENGTH_SCALE**2 * weight.square().sum() / (2 * (1 - p))
        return total

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Units × their relaxed mask."""
        shape = (*units.shape[:2], 1, 1) if units.ndim == 4 else units.shape
        self._units = math.prod(shape[1:])
        p = self.p_learned()
        wide = torch.promote_types(units.dtype, torch.float32)
        uniform = torch.rand(shape, dtype=wide, generator=generator, device=units.device)
        uniform = uniform.clamp(_EDGE, 1 - _EDGE)
        dropped = torch.sigmoid((torch.logit(p) + torch.logit(uniform)) / TEMPERATURE)
        return (units * ((1 - dropped) / (1 - p))).to(units.dtype)
