"""Stochastic depth: residual branches are left out at random (Huang et al. 2016)."""

import torch

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.kernels.draws import Draw
from dropbench.kernels.mask import keep_mask


class StochasticDepth(BernoulliDropout):
    """Leaves out the residual branch that arrives, of each sample with probability ``p_drop``.

    What is left of the block is its shortcut. Conventions are those of Bernoulli dropout.

    Shapes: ``(batch, …)``, unchanged.
    """

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Multiply whole samples by a new mask and by ``scale``."""
        mask = keep_mask(units.new_empty(len(units)), self.chance, draw)
        return units * mask.view(-1, *(1,) * (units.ndim - 1)) * self.scale
