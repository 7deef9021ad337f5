"""ThinnedDropout: one fixed mask, which makes the net one of the thinned nets that dropout averages."""

from dataclasses import replace

import torch

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.kernels.draws import Draw
from dropbench.kernels.mask import keep_mask


class ThinnedDropout(BernoulliDropout):
    """Drops the same units of every sample, in training and at test.

    The mask is that of the stream's first draw, for the whole run. Nets with such masks are the members of
    the ensemble that dropout approximates, except that they share no weights: they are the *untied* nets of
    Warde-Farley et al. (2014). Kept units are scaled as in training with dropout.

    Shapes: any, unchanged; after the first pass only the batch size may differ.
    """

    mask: torch.Tensor | None = None

    def forward(self, units: torch.Tensor, pre_activations: torch.Tensor | None = None) -> torch.Tensor:
        """Multiply the units by the mask, in training and at test alike."""
        units = self.tapped(units)
        return units if self.does_nothing else self.with_noise(units)

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Multiply the units by the run's mask, drawn if it is the first pass, and by ``scale``."""
        if self.mask is None:
            self.mask = keep_mask(units[:1].detach(), self.chance, replace(draw, number=0, base=None))
        return units * self.mask.to(units.dtype) * self.scale
