"""Dropout inside a graph of torch.compile: the draw is an opaque operation, the product is fused."""

from weakref import WeakValueDictionary

import torch

from dropbench.dropout.stream import Stream
from dropbench.kernels.draws import Chance
from dropbench.kernels.mask import keep_mask

_streams: WeakValueDictionary[int, Stream] = WeakValueDictionary()


def number_of(stream: Stream) -> int:
    """Return the number that stands for ``stream`` in a graph, which cannot contain the object itself."""
    _streams[id(stream)] = stream
    return id(stream)


@torch.library.custom_op(
    "dropbench::next_mask",
    mutates_args=(),
    tags=(torch.Tag.nondeterministic_seeded,),  # the backward pass must not draw the next mask
)
def _next_mask(like: torch.Tensor, levels: int, bits: int, stream: int) -> torch.Tensor:
    return keep_mask(like, Chance(levels, bits), _streams[stream].draw())


@_next_mask.register_fake
def _(like: torch.Tensor, levels: int, bits: int, stream: int) -> torch.Tensor:
    return torch.empty_like(like)


def drop_in_graph(units: torch.Tensor, chance: Chance, scale: float, stream: int) -> torch.Tensor:
    """Drop units like dropbench.kernels.mask.drop; ``stream`` is the number_of the stream to draw from."""
    mask: torch.Tensor = _next_mask(units.detach(), chance.levels, chance.bits, stream)
    return torch.where(mask != 0, units * scale, 0.0)
