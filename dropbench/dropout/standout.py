"""Standout: the drop probability of a unit depends on its own input (Ba & Frey 2013)."""

import math
from typing import Self

import torch

from dropbench.dropout.layer import Arriving, DropoutLayer, Site
from dropbench.errors import UsageError
from dropbench.kernels.noise import uniform


class Standout(DropoutLayer):
    """Keeps a unit with probability σ(z + logit(1 − p)), where z is its pre-activation.

    This is the paper's belief network with the net's own weights (α = 1). p_drop is the drop probability of a
    unit whose input is 0; units with a large input are almost always kept. No gradient flows through the
    probability. Kept units are left unchanged in training; at test every unit is multiplied by its keep
    probability.

    Raises:
        UsageError: at the input, whose values have no pre-activation; in a pass, if none are given.

    """

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """Return the layer for a site.

        Raises:
            UsageError: if values of the input are dropped.

        """
        if p_drop and site.name == "input":
            raise UsageError(
                "Standout drops units according to their own input; pixels have none.",
                "Leave out `p_drop_input`.",
            )
        return cls(p_drop)

    def forward(self, units: torch.Tensor, pre_activations: torch.Tensor | None = None) -> torch.Tensor:
        """Multiply each unit by its mask, or at test by its keep probability."""
        units = self.tapped(units)
        if self.does_nothing:
            return units
        if pre_activations is None:
            raise UsageError(
                "Standout needs the units before their activation.",
                "In your model write dropout(units, pre_activations).",
            )
        keep = self.keep_probability(pre_activations)
        if not self.noisy:
            return units * keep.to(units.dtype)
        drawn = uniform(units.shape, self.draw(), units.device)
        return units * (drawn < keep).to(units.dtype)

    def second_moment(self, arriving: Arriving) -> float:
        """Return Σ (keep probability) x² / Σ x² over the units x that arrive: large ones are dropped less."""
        if arriving.pre_activations is None:
            return 1.0  # at the input nothing is dropped
        squares = arriving.units.double().square()
        kept = self.keep_probability(arriving.pre_activations).double()
        return ((kept * squares).sum() / squares.sum()).item()

    def keep_probability(self, pre_activations: torch.Tensor) -> torch.Tensor:
        """Return each unit's keep probability in float32; the strength multiplies its drop probability."""
        odds = math.log((1 - self.p_drop) / self.p_drop)
        return 1 - self.strength * torch.sigmoid(-(pre_activations.detach().float() + odds))
