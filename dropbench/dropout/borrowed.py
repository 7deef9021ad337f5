"""Variants whose noise others draw: torch, torchvision, or a module of the user's own.

They know no generator but torch's default one, which for the time of a draw takes the place of the run's.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from dropbench.catalog import own_code
from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.lending import as_default
from dropbench.errors import UsageError

LARGEST_BLOCK = 3


class DropBlock(BernoulliDropout):
    """Drops squares of each feature map (Ghiasi et al. 2018), by torchvision's drop_block2d.

    The squares are 3×3, or smaller on smaller maps: the nets here pool their maps down to 3×3, where the
    paper's 7×7 would be everything. What stays is scaled so that the batch keeps its mean. On units without
    a map it is Bernoulli's. As squares overlap, somewhat less than p is dropped (torchvision aims at p
    without counting overlaps).

    Shapes: ``(batch, channels, height, width)``, or any other.
    """

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Units × torchvision's mask and scale."""
        if units.ndim != 4:
            return super().disturb(units, generator)
        from torchvision.ops import drop_block2d  # here: only this variant needs torchvision in a worker

        block = min(LARGEST_BLOCK, *units.shape[2:])
        with as_default(generator):  # in float32: the scale is one over a sum of zeros and ones
            noise: torch.Tensor = drop_block2d(
                torch.ones_like(units, dtype=torch.float32), self.p_now, block - (block + 1) % 2
            )
        return units * noise.to(units.dtype)


class AlphaDropout(DropoutLayer):
    """Sets units to SELU's negative limit and maps them linearly, so that mean and variance stay as they are.

    Klambauer et al. 2017, by torch's alpha_dropout; made for units of mean 0 and variance 1.
    """

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Torch's alpha dropout of the units."""
        with as_default(generator):
            out: torch.Tensor = F.alpha_dropout(units, self.p_now, training=True)
        return out


class OwnDropout(DropoutLayer):
    """A module of the user's own, made by ``factory(p_drop)``, that takes units and gives units.

    Its draws from torch's default generator come from the run's stream. It is in train mode when noise is
    wanted, Monte-Carlo passes included, and in eval mode else. A ramp sets its attribute ``p``.

    Raises:
        UsageError: if ``factory`` raises or makes no module.

    """

    def __init__(self, p_drop: float, factory: Callable[[float], nn.Module]) -> None:
        super().__init__(p_drop)
        name = f"{getattr(factory, '__name__', factory)}({p_drop:g})"
        hint = "Dropout of your own is a torch.nn.Module that is made by Class(p_drop)."
        self.module = own_code.make(name, nn.Module, hint, factory, p_drop) if p_drop else nn.Identity()
        self._ramped = False

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """What the module makes of the units in train mode."""
        self._ramped = self._ramped or self.strength != 1
        if self._ramped:
            if not hasattr(self.module, "p"):
                raise UsageError("A ramp sets the attribute p of the dropout, and yours has none.")
            setattr(self.module, "p", self.p_now)  # noqa: B010  # theirs, of a type that nobody knows
        was_training = self.module.training
        self.module.train()
        with as_default(generator):
            out: torch.Tensor = self.module(units)
        self.module.train(was_training)
        return out

    def at_test(self, units: torch.Tensor) -> torch.Tensor:
        """What the module makes of the units in eval mode."""
        out: torch.Tensor = self.module.eval()(units)
        return out
