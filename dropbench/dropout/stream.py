"""Streams: the random numbers of a dropout layer, one draw after another."""

from collections.abc import Iterable
from typing import Self

import torch

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
        self.base: torch.Tensor | None = None
        """A counter on the device that draws are counted from; see Counters."""
        self.base_position = 0
        """The position that ``base`` is at when the step begins that draws."""

    @classmethod
    def of(cls, seed: int, name: str, *keys: int, site: int = 0) -> Self:
        """Return the draws of a site from the stream ``name``; see dropbench.run.streams."""
        return cls(key_of(seed, name, *keys), site)

    def draw(self) -> Draw:
        """Return the next draw."""
        drawn = Draw(self.key, self.position - self.base_position, self.site, base=self.base)
        self.position += 1
        return drawn


class Counters:
    """Counters of streams on a device, which a step moves on itself: so each replay of its graph draws anew.

    Within a step, ``streams`` draw at fixed distances from their counters; ``move_on`` ends the step.
    """

    def __init__(self, streams: Iterable[Stream], device: torch.device) -> None:
        self._streams = list(streams)
        self._bases = [
            torch.full((), stream.position, dtype=torch.int64, device=device) for stream in self._streams
        ]
        for stream, base in zip(self._streams, self._bases, strict=True):
            stream.base, stream.base_position = base, stream.position

    @property
    def positions(self) -> list[int]:
        """The streams' positions."""
        return [stream.position for stream in self._streams]

    def move_on(self) -> None:
        """Move the counters to the positions that the streams have reached; no draw is used any more."""
        drawn = [stream.position - stream.base_position for stream in self._streams]
        if any(drawn):
            torch._foreach_add_(self._bases, drawn)
        self.are_at(self.positions)

    def are_at(self, positions: Iterable[int]) -> None:
        """Note that the counters are, or will be, at these positions, from which the streams go on."""
        for stream, position in zip(self._streams, positions, strict=True):
            stream.position = stream.base_position = position
