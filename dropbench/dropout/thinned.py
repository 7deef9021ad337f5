"""One mask for ever: a thinned net of its own, of the kind that dropout shares weights across."""

import torch

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.masks import keep_mask


class ThinnedDropout(BernoulliDropout):
    """Drops the same units of every sample, in training and at test.

    The mask is drawn once, by the first units that arrive. Nets under such masks are the members of the
    ensemble that dropout approximates, with the difference that they share no weights: the *untied* masks of
    Warde-Farley et al. (2014). Kept units have the scale that they have in training with dropout.

    Shapes: any, unchanged; after the first, all but the batch must stay the same.
    """

    mask: torch.Tensor | None = None

    def forward(self, units: torch.Tensor, pre_activations: torch.Tensor | None = None) -> torch.Tensor:
        """The same map in training and at test."""
        units = self.tapped(units)
        return units if self.does_nothing else self.disturb(units, self.stream())

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Units × the run's mask × the convention's scale in training."""
        if self.mask is None:
            self.mask = keep_mask(units[:1].detach(), self.levels, generator)
        return units * self.mask.to(units.dtype) * self.scale
