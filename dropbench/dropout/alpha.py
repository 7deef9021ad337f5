"""Alpha dropout, for self-normalising nets of SELU units (Klambauer et al. 2017)."""

import math

import torch

from dropbench.dropout.layer import Arriving, DropoutLayer
from dropbench.kernels.draws import Draw, chance_of
from dropbench.kernels.mask import keep_mask

SELU_LIMIT = -1.7580993408473766
"""The limit of SELU units for ever lower inputs: −λα."""


class AlphaDropout(DropoutLayer):
    """Sets units to SELU's negative limit, then maps all linearly to restore mean and variance.

    It is made for units of mean 0 and variance 1.
    """

    def second_moment(self, arriving: Arriving) -> float:
        """Return 1: it keeps mean 0 and variance 1."""
        return 1.0

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Set the units that a new mask drops to the limit, and map all of them."""
        chance = chance_of(self.p_now)
        kept = keep_mask(units, chance, draw) != 0
        factor, shift = affine_map(chance.probability)
        return torch.where(kept, units, SELU_LIMIT) * factor + shift


def affine_map(p_drop: float) -> tuple[float, float]:
    """Return the factor and shift that restore mean 0 and variance 1, with a share p at the limit."""
    factor = 1 / math.sqrt((1 - p_drop) * (1 + p_drop * SELU_LIMIT**2))
    return factor, -factor * p_drop * SELU_LIMIT
