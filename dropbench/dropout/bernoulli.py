"""The Bernoulli dropout layer of the lecture and of Srivastava et al. (2014), in both conventions."""

from typing import Self

import torch

from dropbench.dropout.in_graph import drop_in_graph
from dropbench.dropout.layer import DropoutLayer, Site
from dropbench.dropout.masks import LEVELS, drop, drop_levels, keep_mask
from dropbench.errors import unknown_name
from dropbench.run.blocks.dropout import CONVENTIONS


class BernoulliDropout(DropoutLayer):
    """Sets every unit of every sample to zero with probability ``p_drop``, independently.

    The lecture's E(DX) = (1 − p) E(X) leaves two ways to make training and test agree:

    - ``inverted``: kept units are divided by 1 − p in training; at test the layer is the identity.
    - ``weight-scaling``: kept units stay as they are in training; at test all are multiplied by 1 − p,
      which is the paper's scaling of the outgoing weights (Srivastava et al. 2014, section 2).

    Both use the probability that the mask really has (``p_drop`` rounded to 2⁻¹⁶), so the expected
    output in training is the output at test exactly.

    Args:
        p_drop: probability of *dropping* a unit, in [0, 1).
        convention: ``inverted`` or ``weight-scaling``.

    Raises:
        UsageError: for a probability out of range or an unknown convention.

    """

    def __init__(self, p_drop: float, convention: str = "inverted") -> None:
        super().__init__(p_drop)
        if convention not in CONVENTIONS:
            raise unknown_name("convention", convention, CONVENTIONS)
        self.convention = convention

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """With the convention of the run."""
        return cls(p_drop, site.convention)

    @property
    def levels(self) -> int:
        """Of 65,536 equally likely values, those that mean *drop*; see drop_levels."""
        return drop_levels(self.p_now)

    @property
    def keep(self) -> float:
        """The probability of keeping a unit that the mask really has."""
        return 1 - self.levels / LEVELS

    @property
    def scale(self) -> float:
        """Of kept units, in training."""
        return 1 / self.keep if self.convention == "inverted" else 1.0

    @property
    def does_nothing(self) -> bool:
        """Whether the mask would keep every unit."""
        return self.levels == 0

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Units × a mask of their own × the convention's scale."""
        if torch.compiler.is_compiling():
            return drop_in_graph(units, self.levels, self.scale, self.generator_number)
        return drop(units, self.levels, self.scale, generator)

    def at_test(self, units: torch.Tensor) -> torch.Tensor:
        """The identity, or the convention's map."""
        return units if self.convention == "inverted" else units * self.keep

    def extra_repr(self) -> str:
        """With the convention."""
        return f"{super().extra_repr()}, convention={self.convention!r}"


class SpatialDropout(BernoulliDropout):
    """Drops whole channels of each sample (Tompson et al. 2015); on units without a map it is Bernoulli's.

    Neighbouring pixels of a feature map tell much the same, so a mask of single ones drops little of what
    it says.

    Shapes: ``(batch, channels, height, width)``, or any other.
    """

    def disturb(self, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Units × a mask of their channels × the convention's scale."""
        if units.ndim != 4:
            return super().disturb(units, generator)
        mask = keep_mask(units.new_empty(units.shape[:2]), self.levels, generator)
        return units * mask[:, :, None, None] * self.scale
