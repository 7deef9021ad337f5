"""What the engine does to the dropout layers of a whole model: give them streams, let them sample."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dropbench.dropout.layer import DropoutLayer
from dropbench.streams import torch_generator


def dropout_layers(model: nn.Module) -> list[DropoutLayer]:
    """The dropout layers of ``model``, in the order of its definition."""
    return [module for module in model.modules() if isinstance(module, DropoutLayer)]


def set_streams(model: nn.Module, stream: str, seed: int, member: int, device: torch.device) -> None:
    """Give each dropout layer its own generator of ``stream`` (``mask`` or ``mc``).

    One per layer, so that dropping at one site never moves the masks of another.
    """
    for site, layer in enumerate(dropout_layers(model)):
        layer.generator = torch_generator(seed, stream, member, site, device=device)


@contextmanager
def monte_carlo(model: nn.Module) -> Iterator[None]:
    """Within this context the dropout layers of ``model`` draw masks although it is in eval mode.

    Only they do: a batch-norm layer, say, keeps its eval behaviour.
    """
    layers = dropout_layers(model)
    for layer in layers:
        layer.sampling = True
    try:
        yield
    finally:
        for layer in layers:
            layer.sampling = False
