"""Draws of random numbers, named by their place among all, and the chances that they decide."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

WORDS = 4
"""32-bit words in a block of random numbers; see dropbench.kernels.philox."""
_WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Draw:
    """The place of one draw among all random numbers: any number of words can be taken from it."""

    key: int
    """64 bits of the run's stream."""
    number: int
    """Counts the draws of a site, 32 bits; from ``base`` on, if there is one."""
    site: int
    part: int = 0
    base: torch.Tensor | None = None
    """A counter on the device, an int64 scalar, which is read when the random numbers are made: a graph holds
    ``number`` as it was, and draws anew at each replay where the counter moved on."""

    def of_part(self, part: int) -> "Draw":
        """Return independent numbers of the same draw, for a variant that needs several sets."""
        return replace(self, part=part)

    @property
    def counter(self) -> tuple[int, int, int, int, int]:
        """The lower and upper word of the key, part, number and site, as kernels on the CPU take them.

        It reads the base, if there is one.
        """
        if self.base is not None:
            return replace(self, number=self.number + int(self.base), base=None).counter
        return self.counter_from_base

    @property
    def counter_from_base(self) -> tuple[int, int, int, int, int]:
        """The same for what adds the base to the number itself, on the device."""
        return self.key & _WORD, self.key >> 32, self.part, self.number & _WORD, self.site


class Chance(NamedTuple):
    """The chance of an event that a random number of ``bits`` bits decides: below ``levels``, it happens."""

    levels: int
    bits: int

    @property
    def probability(self) -> float:
        """The probability that a uniform number of ``bits`` bits is below ``levels``."""
        return self.levels / (1 << self.bits)


def chance_of(p: float) -> Chance:
    """Return the chance nearest to the probability ``p``.

    Sixteen bits are taken where they give p and 1 − p within a thousandth of themselves, else 32. A p
    strictly between 0 and 1 never becomes 0 or 1, so a scale of 1/(1 − p) stays finite.
    """
    for bits in (16, 32):
        levels = round(p * (1 << bits))
        off = abs(levels / (1 << bits) - p)
        if off <= 1e-3 * min(p, 1 - p):
            break
    return Chance(max(min(levels, (1 << bits) - 1), int(p > 0)), bits)


NEVER = Chance(0, 16)
"""The chance of a unit to be dropped where none is."""
NO_DRAW = Draw(0, 0, 0)
"""The draw of a pass that drops no unit."""
