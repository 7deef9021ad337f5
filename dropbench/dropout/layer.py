"""DropoutLayer, the base class of all variants: random noise in training, a deterministic map at test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import nn

from dropbench.dropout.stream import Stream
from dropbench.errors import UsageError
from dropbench.kernels.draws import Draw


@dataclass(frozen=True)
class Site:
    """The place of a dropout layer in a model.

    ``name`` is ``input``, ``conv``, ``hidden`` or ``head``. ``before`` is the next layer, which the
    units go into, or None if the model does not name it. ``convention`` is the run's.
    """

    name: str
    before: nn.Module | None
    convention: str


@dataclass(frozen=True)
class Arriving:
    """The units at a site at the start of training, without any dropout: an example for second_moment."""

    units: torch.Tensor
    """``(batch, …)``."""
    pre_activations: torch.Tensor | None
    """The units before their activation, in the same shape; None at the input."""
    draw: Draw
    """Random numbers for noise."""


class DropoutLayer(nn.Module):
    """Multiplies units by random noise in training, and in eval mode while sampling (Monte-Carlo dropout).

    A variant overrides ``disturb``, which adds the noise, and ``at_test`` if the layer is not the identity at
    test. A variant with noise on the weights of the next layer sets ``on_weights`` and overrides ``connect``.
    One that knows its ``second_moment`` in closed form overrides that, too.
    Noise is made of the random numbers of a draw alone, the next one of ``stream``, which the run sets; if
    there is none, a draw raises RuntimeError instead of using torch's global generator.

    Args:
        p_drop: probability of *dropping* a unit, in [0, 1); continuous noise has the same variance p/(1 − p).

    Shapes: any, unchanged.

    Raises:
        UsageError: if ``p_drop`` is out of range, or if the variant has no ``disturb`` (``connect``).

    """

    on_weights = False
    """The noise is on the weights of the next layer, not on the units."""
    learns = False
    """The drop probability is learned, starting from p_drop."""
    within = False
    """The noise is within another module, so no units are seen to arrive; see dropbench.dropout.within."""

    def __init__(self, p_drop: float) -> None:
        super().__init__()
        if not 0 <= p_drop < 1:
            raise UsageError(f"`p_drop` {p_drop} is not a drop probability.", "Write at least 0 and below 1.")
        required = ("connect", "into") if self.on_weights else ("disturb", "forward")
        if all(getattr(type(self), name) is getattr(DropoutLayer, name) for name in required):
            raise UsageError(
                f"{type(self).__name__} is a DropoutLayer without {required[0]}().",
                f"Define {required[0]}(); docs/extending.md has an example.",
            )
        self.p_drop = p_drop
        self.site = "hidden"
        self.strength = 1.0
        """The schedule's factor on p_drop; see dropbench.dropout.control."""
        self.stream: Stream | None = None
        self.sampling = False
        """Whether to draw noise in eval mode too; see dropbench.dropout.control."""
        self.tap: Callable[[torch.Tensor], torch.Tensor] | None = None
        """A function that sees, and may replace, the units that arrive; see dropbench.dropout.control."""
        self._next: tuple[nn.Module | None] = (None,)  # in a tuple, so that torch does not register it

    @property
    def next_layer(self) -> nn.Module | None:
        """The layer that the units go into; None if the model does not name it."""
        return self._next[0]

    def lead_into(self, layer: nn.Module | None) -> None:
        """Say which layer the units go into; it does not become a part of this one."""
        self._next = (layer,)

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """Return the layer for a site of a model; a variant that needs the site overrides this."""
        return cls(p_drop)

    @property
    def p_now(self) -> float:
        """The drop probability in force: p_drop × the schedule's strength."""
        return self.p_drop * self.strength

    def rate(self) -> float:
        """Return the drop probability in force: ``p_now``, or the learned one."""
        return self.p_now

    def penalty(self) -> torch.Tensor | None:
        """Return the variant's own penalty in nats for the whole training set; None if it has none."""
        return None

    @property
    def does_nothing(self) -> bool:
        """Whether the layer is the identity in training and at test, and is skipped."""
        return self.p_drop == 0 or self.strength == 0

    @property
    def noisy(self) -> bool:
        """Whether the next pass draws noise."""
        return (self.training or self.sampling) and not self.does_nothing

    def forward(self, units: torch.Tensor, pre_activations: torch.Tensor | None = None) -> torch.Tensor:
        """Add noise in training and while sampling; otherwise apply the deterministic map."""
        units = self.tapped(units)
        if self.does_nothing:
            return units
        return self.with_noise(units) if self.noisy else self.at_test(units)

    def into(
        self, layer: nn.Module, units: torch.Tensor, pre_activations: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Apply dropout and then ``layer``, the next layer; return its output.

        ``pre_activations`` are the units before their activation, in the same shape; standout needs them.
        Feature maps are flattened if ``layer`` is fully connected.
        """
        if self.on_weights:
            units = flat_for(layer, self.tapped(units))
            if self.noisy:
                return self.connect(layer, units, self.draw())
            return cast(torch.Tensor, layer(units))
        return cast(torch.Tensor, layer(flat_for(layer, self(units, pre_activations))))

    def second_moment(self, arriving: "Arriving") -> float:
        """Return E(D²), where D is the factor on a unit in training, with the drop probability in force.

        The second moment of what goes into the next layer is E(D²) times the one without dropout; the
        initialisation ``corrected`` divides the next layer's weights by √E(D²). For noise on weights it is
        the factor on the second moment of the next layer's output, whose weights are independent of mean 0.

        This is measured on the units that arrive; a variant with a closed form overrides it.
        """
        units, draw = arriving.units, arriving.draw
        with torch.no_grad():
            if self.on_weights:
                layer = cast(nn.Module, self.next_layer)
                units = flat_for(layer, units)
                noisy, plain = self.connect(layer, units, draw), cast(torch.Tensor, layer(units))
            else:
                noisy, plain = self.disturb(units, draw), units
        return (noisy.double().square().mean() / plain.double().square().mean()).item()

    def tapped(self, units: torch.Tensor) -> torch.Tensor:
        """Return the units after the tap, if there is one."""
        return units if self.tap is None else self.tap(units)

    def draw(self) -> Draw:
        """Return the next draw of the stream; raise RuntimeError if there is none."""
        if self.stream is None:
            raise RuntimeError("This dropout layer has no random stream; set its stream.")
        return self.stream.draw()

    def with_noise(self, units: torch.Tensor) -> torch.Tensor:
        """Return the units with the noise of the next draw on them."""
        return self.disturb(units, self.draw())

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Return the units with new noise on them."""
        raise NotImplementedError  # not abstract: a variant overrides this or connect; see __init__

    def connect(self, layer: nn.Module, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Return the output of ``layer`` with new noise on its weights."""
        raise NotImplementedError  # not abstract, like disturb

    def at_test(self, units: torch.Tensor) -> torch.Tensor:
        """Return the units that the net sees at test; they are unchanged if the noise has mean 1."""
        return units

    def extra_repr(self) -> str:
        """Show both probabilities, since papers differ in which one they call p."""
        return f"p_drop={self.p_drop}, p_keep={1 - self.p_drop:g}"


def flat_for(layer: nn.Module, units: torch.Tensor) -> torch.Tensor:
    """Return the units flattened to ``(batch, features)`` if ``layer`` is fully connected; else unchanged."""
    return units.flatten(1) if isinstance(layer, nn.Linear) else units


def layer_before(site: Site, variant: str) -> nn.Linear | nn.Conv2d:
    """Return the next layer after a site, for variants that use its weights.

    Raises:
        UsageError: if the model does not name it, or if it is neither nn.Linear nor nn.Conv2d.

    """
    if not isinstance(site.before, nn.Linear | nn.Conv2d):
        raise UsageError(
            f"The dropout {variant} needs the weights of the next layer, and the model names none.",
            "In your model write make_dropout(config, site, before=layer), and dropout.into(layer, units).",
        )
    return site.before
