"""Dropout that is a module of the user's own."""

from collections.abc import Callable

import torch
from torch import nn

from dropbench.catalog import user_code
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.lending import as_default
from dropbench.errors import UsageError
from dropbench.kernels.draws import Draw


class OwnDropout(DropoutLayer):
    """A module of the user's own, made by ``factory(p_drop)``, that maps units to units.

    Its draws from torch's default generators come from the run's stream. It is in train mode when masks are
    to be drawn, which includes Monte-Carlo dropout, and in eval mode otherwise. A ramp sets its attribute
    ``p``.

    Raises:
        UsageError: if ``factory`` raises, or returns no module; in a pass, if a ramp needs a missing ``p``.

    """

    def __init__(self, p_drop: float, factory: Callable[[float], nn.Module]) -> None:
        super().__init__(p_drop)
        name = f"{getattr(factory, '__name__', factory)}({p_drop:g})"
        hint = "Dropout of your own is a torch.nn.Module, called as Class(p_drop)."
        self.module = user_code.make(name, nn.Module, hint, factory, p_drop) if p_drop else nn.Identity()
        self._ramped = False

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Apply the module in train mode."""
        self._follow_schedule()
        was_training = self.module.training
        self.module.train()
        with as_default(draw, units.device):
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
