"""Dropout inside a graph of torch.compile: the draw is an opaque operation, the product is fused."""

from weakref import WeakValueDictionary

import torch

from dropbench.dropout.masks import keep_mask

_generators: WeakValueDictionary[int, torch.Generator] = WeakValueDictionary()


def number_of(generator: torch.Generator) -> int:
    """Return the number that stands for ``generator`` in a graph, which cannot contain the object itself."""
    _generators[id(generator)] = generator
    return id(generator)


@torch.library.custom_op(
    "dropbench::keep_mask",
    mutates_args=(),
    tags=(torch.Tag.nondeterministic_seeded,),  # the backward pass must not draw the mask a second time
)
def _keep_mask(like: torch.Tensor, levels: int, generator: int) -> torch.Tensor:
    return keep_mask(like, levels, _generators[generator])


@_keep_mask.register_fake
def _(like: torch.Tensor, levels: int, generator: int) -> torch.Tensor:
    return torch.empty_like(like)


def drop_in_graph(units: torch.Tensor, levels: int, scale: float, generator: int) -> torch.Tensor:
    """Drop units like dropbench.dropout.masks.drop; ``generator`` is the number_of the generator."""
    mask: torch.Tensor = _keep_mask(units.detach(), levels, generator)
    return units * mask * scale
