"""Variants whose noise is drawn by torch, by torchvision, or by a module of the user's own.

They draw from torch's default generator, so during a draw it is given the state of the run's generator.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from dropbench.catalog import user_code
from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.layer import Arriving, DropoutLayer
from dropbench.dropout.lending import as_default
from dropbench.errors import UsageError

LARGEST_BLOCK = 3


class DropBlock(BernoulliDropout):
    """Drops squares of each feature map (Ghiasi et al. 2018), by torchvision's drop_block2d.

    The squares are 3×3, or smaller on smaller maps: the nets here pool their maps down to 3×3, which the
    paper's 7×7 squares would cover entirely. Kept units are scaled so that the mean mask of the batch is 1.
    Somewhat less than p is dropped, since torchvision does not account for overlapping squares. Without
    feature maps it is Bernoulli dropout.

    Shapes: feature maps ``(batch, channels, height, width)``, or units of any other shape; unchanged.
    """

    def second_moment(self, arriving: Arriving) -> float:
        """Return 1/(mean mask), on maps that of (1 − γ)ᵏ over the places, which k squares of rate γ cover."""
        if arriving.units.ndim != 4:
            return super().second_moment(arriving)
        height, width = arriving.units.shape[2:]
        block = self._block(arriving.units)
        centres = (height - block + 1, width - block + 1)
        rate = self.p_now * height * width / (block**2 * centres[0] * centres[1])
        squares = F.conv_transpose2d(torch.ones(1, 1, *centres), torch.ones(1, 1, block, block))
        return 1 / ((1 - min(rate, 1.0)) ** squares).double().mean().item()

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Multiply the units by torchvision's mask and scale."""
        if units.ndim != 4:
            return super().disturb(units, generator)
        from torchvision.ops import drop_block2d  # here, since no other variant needs torchvision in a worker

        with as_default(generator):  # in float32: the scale is 1 over the mean of a mask
            noise: torch.Tensor = drop_block2d(
                torch.ones_like(units, dtype=torch.float32), self.p_now, self._block(units)
            )
        return units * noise.to(units.dtype)

    @staticmethod
    def _block(units: torch.Tensor) -> int:
        """The side of the squares on these maps, an odd number."""
        block: int = min(LARGEST_BLOCK, *units.shape[2:])
        return block - (block + 1) % 2


class AlphaDropout(DropoutLayer):
    """Sets units to SELU's negative limit, then maps all linearly to restore mean and variance.

    It is due to Klambauer et al. (2017), computed by torch's alpha_dropout, and made for units of mean 0 and
    variance 1.
    """

    def second_moment(self, arriving: Arriving) -> float:
        """Return 1: it keeps mean 0 and variance 1."""
        return 1.0

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Apply torch's alpha dropout."""
        with as_default(generator):
            out: torch.Tensor = F.alpha_dropout(units, self.p_now, training=True)
        return out


class OwnDropout(DropoutLayer):
    """A module of the user's own, made by ``factory(p_drop)``, that maps units to units.

    Its draws from torch's default generator come from the run's stream. It is in train mode when masks are to
    be drawn, which includes Monte-Carlo dropout, and in eval mode otherwise. A ramp sets its attribute ``p``.

    Raises:
        UsageError: if ``factory`` raises, or returns no module; in a pass, if a ramp needs a missing ``p``.

    """

    def __init__(self, p_drop: float, factory: Callable[[float], nn.Module]) -> None:
        super().__init__(p_drop)
        name = f"{getattr(factory, '__name__', factory)}({p_drop:g})"
        hint = "Dropout of your own is a torch.nn.Module, called as Class(p_drop)."
        self.module = user_code.make(name, nn.Module, hint, factory, p_drop) if p_drop else nn.Identity()
        self._ramped = False

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Apply the module in train mode."""
        self._follow_schedule()
        was_training = self.module.training
        self.module.train()
        with as_default(generator):
            out: torch.Tensor = self.module(units)
        self.module.train(was_training)
        return out

    def at_test(self, units: torch.Tensor) -> torch.Tensor:
        """Apply the module in eval mode."""
        self._follow_schedule()
        out: torch.Tensor = self.module.eval()(units)
        return out

    def _follow_schedule(self) -> None:
        """Give the module its drop probability in force, from the first one on that a ramp has changed."""
        self._ramped = self._ramped or self.strength != 1
        if self._ramped:
            if not hasattr(self.module, "p"):
                raise UsageError(
                    "`dropout_schedule=ramp` sets the attribute p of your dropout, which has none.",
                    "Add the attribute, or use another schedule.",
                )
            setattr(self.module, "p", self.p_now)  # noqa: B010  # the user's class, whose type is unknown here
