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

    A step does ``begin``, draws at fixed distances from the counters, and does ``move_on``. After it, or
    after a replay, ``follow`` is called, since nothing is read back from the device.
    """

    def __init__(self, streams: Iterable[Stream], device: torch.device) -> None:
        self._streams = list(streams)
        self._bases = [
            torch.full((), stream.position, dtype=torch.int64, device=device) for stream in self._streams
        ]
        for stream, base in zip(self._streams, self._bases, strict=True):
            stream.base, stream.base_position = base, stream.position

    def go_on(self) -> None:
        """Move the counters to where the streams are, which were set in the meantime."""
        for stream, base in zip(self._streams, self._bases, strict=True):
            base.fill_(stream.position)
            stream.base_position = stream.position

    def begin(self) -> None:
        """Let the streams go on from where the counters are, whatever was drawn in vain."""
        for stream in self._streams:
            stream.position = stream.base_position

    def move_on(self) -> list[int]:
        """Move the counters on by the numbers of draws, and return these; the draws are used no more."""
        drawn = [stream.position - stream.base_position for stream in self._streams]
        if any(drawn):
            torch._foreach_add_(self._bases, drawn)
        return drawn

    def follow(self, drawn: Iterable[int]) -> None:
        """Note that a step has moved the counters on by these numbers of draws."""
        for stream, count in zip(self._streams, drawn, strict=True):
            stream.position = stream.base_position = stream.base_position + count
