"""Bernoulli dropout as in the lecture and in Srivastava et al. (2014): inverted, or with weight scaling."""

from typing import Self

import torch

from dropbench.dropout.in_graph import Place, drop_in_graph
from dropbench.dropout.layer import Arriving, DropoutLayer, Site
from dropbench.errors import unknown_name
from dropbench.kernels.draws import Chance, Draw, chance_of
from dropbench.kernels.mask import drop, keep_mask
from dropbench.run.blocks.dropout import CONVENTIONS


class BernoulliDropout(DropoutLayer):
    """Sets every unit of every sample to zero with probability ``p_drop``, independently.

    With a mask D, E(DX) = (1 − p) E(X) (see the lecture). Two conventions make training and test agree:

    - ``inverted`` (inverted dropout): kept units are divided by 1 − p in training; at test the layer is the
      identity.
    - ``weight-scaling``: kept units are left unchanged in training; at test all units are multiplied by
      1 − p, which equals the paper's scaling of the outgoing weights (Srivastava et al. 2014, section 2).

    Both use the actual drop probability of the mask (see ``chance``), so the expected output in training is
    exactly the output at test.

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
        self.place: Place | None = None
        """Where the layer is in a graph of torch.compile; None if in none."""

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """Return the layer for a site, with the run's convention."""
        return cls(p_drop, site.convention)

    @property
    def chance(self) -> Chance:
        """The chance that the mask drops a unit, the nearest to the probability in force."""
        return chance_of(self.p_now)

    @property
    def keep(self) -> float:
        """The actual probability that the mask keeps a unit."""
        return 1 - self.chance.probability

    @property
    def scale(self) -> float:
        """The factor on kept units in training."""
        return 1 / self.keep if self.convention == "inverted" else 1.0

    def second_moment(self, arriving: Arriving) -> float:
        """Return scale² (1 − p): 1/(1 − p) for inverted dropout, 1 − p for weight scaling."""
        return self.scale**2 * self.keep

    @property
    def does_nothing(self) -> bool:
        """Whether the layer is the identity; never within a graph of torch.compile, which serves every p."""
        # In this order: a graph that reads the p in force would be compiled for each p.
        return not (torch.compiler.is_compiling() and self.place) and super().does_nothing

    def with_noise(self, units: torch.Tensor) -> torch.Tensor:
        """Return the units dropped by the next mask; a graph of torch.compile draws it when it runs."""
        if torch.compiler.is_compiling() and self.place:
            return drop_in_graph(units, self.place)
        return super().with_noise(units)

    def next_mask(self, like: torch.Tensor) -> torch.Tensor:
        """Return the next mask, as keep_mask does; while the p in force is 0, it takes no draw."""
        return torch.ones_like(like) if self.does_nothing else keep_mask(like, self.chance, self.draw())

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Multiply the units by a new mask and by ``scale``."""
        return drop(units, self.chance, self.scale, draw)

    def at_test(self, units: torch.Tensor) -> torch.Tensor:
        """Return the units, multiplied by the keep probability under weight scaling."""
        return units if self.convention == "inverted" else units * self.keep

    def extra_repr(self) -> str:
        """Name the convention too."""
        return f"{super().extra_repr()}, convention={self.convention!r}"


class SpatialDropout(BernoulliDropout):
    """Drops whole channels of each sample (Tompson et al. 2015).

    Neighbouring pixels of a feature map are strongly correlated, so dropping single pixels removes little
    information. Units that are not feature maps are dropped one by one.

    Shapes: feature maps ``(batch, channels, height, width)``, or units of any other shape; unchanged.
    """

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Multiply the channels by a new mask and by ``scale``."""
        if units.ndim != 4:
            return super().disturb(units, draw)
        mask = keep_mask(units.new_empty(units.shape[:2]), self.chance, draw)
        return units * mask[:, :, None, None] * self.scale
