"""The Bernoulli dropout layer of the lecture and of Srivastava et al. (2014), in both conventions."""

import torch
from torch import nn

from dropbench.config import CONVENTIONS
from dropbench.dropout.in_graph import drop_in_graph
from dropbench.dropout.masks import LEVELS, drop, drop_levels
from dropbench.errors import UsageError, unknown_name


class BernoulliDropout(nn.Module):
    """Sets every unit of every sample to zero with probability ``p_drop``, independently.

    The lecture's E(DX) = (1 − p) E(X) leaves two ways to make training and test agree:

    - ``inverted``: kept units are divided by 1 − p in training; at test the layer is the identity.
    - ``weight-scaling``: kept units stay as they are in training; at test all are multiplied by 1 − p,
      which is the paper's scaling of the outgoing weights (Srivastava et al. 2014, section 2).

    Both use the probability that the mask really has (``p_drop`` rounded to 2⁻¹⁶), so the expected
    output in training is the output at test exactly. Masks come from ``generator`` alone, which the run
    sets to its own stream; without one, a draw is an error rather than a use of the global state.

    Args:
        p_drop: probability of *dropping* a unit, in [0, 1).
        convention: ``inverted`` or ``weight-scaling``.

    Shapes: any, unchanged.

    Raises:
        UsageError: for a probability out of range or an unknown convention.

    """

    def __init__(self, p_drop: float, convention: str = "inverted") -> None:
        super().__init__()
        if not 0 <= p_drop < 1:
            raise UsageError(f"p_drop = {p_drop} is no drop probability.", "Write at least 0 and below 1.")
        if convention not in CONVENTIONS:
            raise unknown_name("convention", convention, CONVENTIONS)
        self.p_drop = p_drop
        self.convention = convention
        self.levels = drop_levels(p_drop)
        self.keep = 1 - self.levels / LEVELS
        self.generator: torch.Generator | None = None
        self.generator_number = 0
        """Stands for ``generator`` in a graph of torch.compile; see dropbench.dropout.in_graph."""
        self.sampling = False
        """Draw masks in eval mode too (Monte-Carlo dropout); see dropbench.dropout.control."""

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        """Drop units in training and while sampling; otherwise the deterministic map of the convention."""
        if not self.levels:
            return units
        if self.training or self.sampling:
            if self.generator is None:
                raise RuntimeError("this dropout layer was given no random stream; set its generator")
            scale = 1 / self.keep if self.convention == "inverted" else 1.0
            if torch.compiler.is_compiling():
                return drop_in_graph(units, self.levels, scale, self.generator_number)
            return drop(units, self.levels, scale, self.generator)
        return units if self.convention == "inverted" else units * self.keep

    def extra_repr(self) -> str:
        """Both probabilities, since papers differ in which they call p."""
        return f"p_drop={self.p_drop}, p_keep={1 - self.p_drop:g}, convention={self.convention!r}"
