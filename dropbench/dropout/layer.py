"""What every dropout layer is: noise in training from the run's stream, a deterministic map at test."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, cast

import torch
from torch import nn

from dropbench.errors import UsageError


@dataclass(frozen=True)
class Site:
    """Where a dropout layer stands.

    ``name`` is ``input``, ``conv`` or ``hidden``; ``before`` the layer that its units go into, where the
    model told it; ``convention`` the run's.
    """

    name: str
    before: nn.Module | None
    convention: str


class DropoutLayer(nn.Module):
    """Multiplies units by random noise in training, and while sampling in eval mode (Monte-Carlo dropout).

    A variant says in ``disturb`` what it does to the units and, if it is not the identity, in ``at_test``
    what their expectation is; one that disturbs the weights of the next layer says so in ``connect``.
    Noise comes from ``generator`` alone, which the run sets to its own stream; without one, a draw is an
    error rather than a use of the global state.

    Args:
        p_drop: probability of *dropping* a unit, in [0, 1); other noise has the variance p/(1 − p) of it.

    Shapes: any, unchanged.

    Raises:
        UsageError: for a probability out of range, or if the variant says nowhere what it does.

    """

    on_weights = False
    """Disturbs the weights of the next layer rather than the units."""
    learns = False
    """Learns its rate; p_drop is where it starts."""

    def __init__(self, p_drop: float) -> None:
        super().__init__()
        if not 0 <= p_drop < 1:
            raise UsageError(f"p_drop = {p_drop} is no drop probability.", "Write at least 0 and below 1.")
        said_in = ("connect", "into") if self.on_weights else ("disturb", "forward")
        if all(getattr(type(self), name) is getattr(DropoutLayer, name) for name in said_in):
            raise UsageError(
                f"{type(self).__name__}, a DropoutLayer without {said_in[0]}(), does not say what it does.",
                "docs/extending.md shows a whole one.",
            )
        self.p_drop = p_drop
        self.site = "hidden"
        self.strength = 1.0
        """What a schedule multiplies p_drop by; see dropbench.dropout.control."""
        self.generator: torch.Generator | None = None
        self.generator_number = 0
        """Stands for ``generator`` in a graph of torch.compile; see dropbench.dropout.in_graph."""
        self.sampling = False
        """Draw noise in eval mode too; see dropbench.dropout.control."""
        self.tap: Callable[[torch.Tensor], torch.Tensor] | None = None
        """Sees, and may replace, the units that arrive here; see dropbench.dropout.control."""

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """The layer for a site of a model; a variant that wants to know more of the site overrides it."""
        return cls(p_drop)

    @property
    def p_now(self) -> float:
        """The probability of dropping that is in force."""
        return self.p_drop * self.strength

    def rate(self) -> float:
        """As ``p_now``; what was learned, where it is learned."""
        return self.p_now

    def penalty(self) -> torch.Tensor | None:
        """What a variant adds to the negative log-likelihood of the whole training set, in nats."""
        return None

    @property
    def does_nothing(self) -> bool:
        """Whether the layer is the identity in training and at test: it then costs nothing."""
        return self.p_now == 0

    @property
    def noisy(self) -> bool:
        """Whether the next pass draws noise."""
        return (self.training or self.sampling) and not self.does_nothing

    def forward(self, units: torch.Tensor, pre_activations: torch.Tensor | None = None) -> torch.Tensor:
        """Noise in training and while sampling; otherwise the deterministic map."""
        units = self.tapped(units)
        if self.does_nothing:
            return units
        return self.disturb(units, self.stream()) if self.noisy else self.at_test(units)

    def into(
        self, layer: nn.Module, units: torch.Tensor, pre_activations: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What ``layer``, the next one, makes of the units, under dropout.

        ``pre_activations`` are the units before their activation, in the same shape: standout wants them.
        Units of a feature map are flattened for a fully connected layer.
        """
        if self.on_weights:
            units = flat_for(layer, self.tapped(units))
            if self.noisy:
                return self.connect(layer, units, self.stream())
            return cast(torch.Tensor, layer(units))
        return cast(torch.Tensor, layer(flat_for(layer, self(units, pre_activations))))

    def tapped(self, units: torch.Tensor) -> torch.Tensor:
        """The units, shown to whoever looks."""
        return units if self.tap is None else self.tap(units)

    def stream(self) -> torch.Generator:
        """The generator; raises RuntimeError where none was given."""
        if self.generator is None:
            raise RuntimeError("this dropout layer was given no random stream; set its generator")
        return self.generator

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The units with fresh noise on them."""
        raise NotImplementedError  # a variant has this or connect, so neither is abstract; see __init__

    def connect(self, layer: nn.Module, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """What ``layer`` makes of the units with fresh noise on its weights."""
        raise NotImplementedError  # as disturb

    def at_test(self, units: torch.Tensor) -> torch.Tensor:
        """What the net sees at test: the units as they are, where the noise has mean 1."""
        return units

    def extra_repr(self) -> str:
        """Both probabilities, since papers differ in which they call p."""
        return f"p_drop={self.p_drop}, p_keep={1 - self.p_drop:g}"


def flat_for(layer: nn.Module, units: torch.Tensor) -> torch.Tensor:
    """``(batch, features)`` of a feature map that goes into a fully connected layer; else as they are."""
    return units.flatten(1) if isinstance(layer, nn.Linear) else units


def layer_before(site: Site, variant: str) -> nn.Linear | nn.Conv2d:
    """The layer that a site's units go into, for variants that work on its weights.

    Raises:
        UsageError: where the model did not tell it.

    """
    if not isinstance(site.before, nn.Linear | nn.Conv2d):
        raise UsageError(
            f"The dropout {variant} works on the weights of the layer after it, and the model names none.",
            "In your model write make_dropout(config, site, before=layer), and dropout.into(layer, units).",
        )
    return site.before
