"""What every dropout layer is: noise in training from the run's stream, a deterministic map at test."""

import torch
from torch import nn

from dropbench.errors import UsageError


class DropoutLayer(nn.Module):
    """Multiplies units by random noise in training, and while sampling in eval mode (Monte-Carlo dropout).

    A variant says in ``disturb`` what it does to the units and, if it is not the identity, in ``at_test``
    what their expectation is. Noise comes from ``generator`` alone, which the run sets to its own stream;
    without one, a draw is an error rather than a use of the global state.

    Args:
        p_drop: probability of *dropping* a unit, in [0, 1); other noise has the variance p/(1 − p) of it.

    Shapes: any, unchanged.

    Raises:
        UsageError: for a probability out of range.

    """

    def __init__(self, p_drop: float) -> None:
        super().__init__()
        if not 0 <= p_drop < 1:
            raise UsageError(f"p_drop = {p_drop} is no drop probability.", "Write at least 0 and below 1.")
        self.p_drop = p_drop
        self.generator: torch.Generator | None = None
        self.generator_number = 0
        """Stands for ``generator`` in a graph of torch.compile; see dropbench.dropout.in_graph."""
        self.sampling = False
        """Draw noise in eval mode too; see dropbench.dropout.control."""

    @property
    def does_nothing(self) -> bool:
        """Whether the layer is the identity in training and at test: it then costs nothing."""
        return self.p_drop == 0

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        """Noise in training and while sampling; otherwise the deterministic map."""
        if self.does_nothing:
            return units
        if self.training or self.sampling:
            if self.generator is None:
                raise RuntimeError("this dropout layer was given no random stream; set its generator")
            return self.disturb(units, self.generator)
        return self.at_test(units)

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The units with fresh noise on them."""
        raise NotImplementedError

    def at_test(self, units: torch.Tensor) -> torch.Tensor:
        """What the net sees at test: the units as they are, where the noise has mean 1."""
        return units

    def extra_repr(self) -> str:
        """Both probabilities, since papers differ in which they call p."""
        return f"p_drop={self.p_drop}, p_keep={1 - self.p_drop:g}"
