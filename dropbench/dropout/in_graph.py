"""Dropout inside a graph of torch.compile: the draw is an opaque operation, the product is fused.

A graph knows a site by a number, and its scale as a tensor. So one graph serves all runs whose nets have the
same shapes; which masks the numbers stand for is said anew for each pass.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

Masks = Callable[[torch.Tensor], torch.Tensor]
"""Returns the next mask of a site in the shape, dtype and memory format of the units that it is given."""

_sites: list[Masks] = []


class Place:
    """A site as a graph knows it.

    Args:
        number: counts the sites of the graph, in which it is a constant.
        device: where the units are.

    """

    def __init__(self, number: int, device: torch.device) -> None:
        self.number = number
        self.scale = torch.ones((), device=device)
        """The factor on kept units, in float32: an input of the graph."""
        self._known = 1.0

    def follow(self, scale: float) -> None:
        """Set the factor on kept units; nothing waits for the device."""
        if scale != self._known:
            self.scale.fill_(scale)
            self._known = scale


@contextmanager
def drawing(sites: Sequence[Masks]) -> Iterator[None]:
    """Let the sites of a graph, by their numbers, draw these masks in this context."""
    _sites[:] = sites
    try:
        yield
    finally:
        _sites.clear()


@torch.library.custom_op(
    "dropbench::next_mask",
    mutates_args=(),
    tags=(torch.Tag.nondeterministic_seeded,),  # the backward pass must not draw the next mask
)
def _next_mask(like: torch.Tensor, site: int) -> torch.Tensor:
    mask, laid_out = _sites[site](like), torch.empty_like(like)
    return mask if mask.stride() == laid_out.stride() else laid_out.copy_(mask)  # as the graph expects


@_next_mask.register_fake
def _(like: torch.Tensor, site: int) -> torch.Tensor:
    return torch.empty_like(like)


def drop_in_graph(units: torch.Tensor, place: Place) -> torch.Tensor:
    """Drop units like dropbench.kernels.mask.drop, by the next mask of the site at ``place``."""
    mask: torch.Tensor = _next_mask(units.detach(), place.number)
    # As the kernels do: the product is in float32, since the scale may have no bfloat16.
    scaled = (units.float() * place.scale).to(units.dtype)
    return torch.where(mask != 0, scaled, 0.0)
