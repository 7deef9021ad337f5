"""Standout: a unit's own input decides how likely it is dropped (Ba & Frey 2013)."""

from typing import Self

import torch

from dropbench.dropout.layer import DropoutLayer, Site
from dropbench.errors import UsageError


class Standout(DropoutLayer):
    """Keeps a unit with probability σ(z + logit(1 − p)) of its pre-activation z.

    The paper's belief network with the net's own weights (α = 1): p_drop is the probability of dropping a
    unit whose input is 0; strongly driven units are kept. No gradient passes the probability. Kept units
    stay as they are in training; at test every unit is multiplied by its probability.

    Raises:
        UsageError: at the input, whose values have no pre-activation.

    """

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """Behind a layer only."""
        if p_drop and site.name == "input":
            raise UsageError(
                "Standout drops units by their own input; pixels have none.", "Leave out `p_drop_input`."
            )
        return cls(p_drop)

    def forward(self, units: torch.Tensor, pre_activations: torch.Tensor | None = None) -> torch.Tensor:
        """Units × a mask of their own probability, or × that probability at test."""
        units = self.tapped(units)
        if self.does_nothing:
            return units
        if pre_activations is None:
            raise UsageError(
                "Standout wants to see the units before their activation.",
                "In your model write dropout(units, pre_activations).",
            )
        keep = self.keep_probability(pre_activations)
        if not self.noisy:
            return units * keep.to(units.dtype)
        uniform = torch.rand(units.shape, generator=self.stream(), device=units.device)
        return units * (uniform < keep).to(units.dtype)

    def keep_probability(self, pre_activations: torch.Tensor) -> torch.Tensor:
        """Of each unit, in float32, with the schedule's strength on the probability of dropping."""
        odds = torch.logit(torch.tensor(1 - self.p_drop, device=pre_activations.device))
        return 1 - self.strength * torch.sigmoid(-(pre_activations.detach().float() + odds))
