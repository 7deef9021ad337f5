"""Streams: the random numbers of a dropout layer, one draw after another."""

from typing import Self

from dropbench.kernels.draws import Draw
from dropbench.run.streams import key_of


class Stream:
    """The draws of one dropout layer, each a function of the key, the site and its position alone.

    Args:
        key: 64 bits of the run's stream, shared by all layers of a net.
        site: the layer's number in its net.
        position: how many draws came before; a run that goes on in the middle continues from there.

    """

    def __init__(self, key: int, site: int = 0, position: int = 0) -> None:
        self.key = key
        self.site = site
        self.position = position

    @classmethod
    def of(cls, seed: int, name: str, *keys: int, site: int = 0) -> Self:
        """Return the draws of a site from the stream ``name``; see dropbench.run.streams."""
        return cls(key_of(seed, name, *keys), site)

    def draw(self) -> Draw:
        """Return the next draw."""
        drawn = Draw(self.key, self.position, self.site)
        self.position += 1
        return drawn
