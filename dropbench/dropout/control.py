"""What the engine does to the dropout layers of a whole model: give them streams, let them sample."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dropbench.catalog.own_code import is_own
from dropbench.dropout.layer import DropoutLayer
from dropbench.run.config import RunConfig
from dropbench.run.streams import torch_generator


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


def set_strength(model: nn.Module, strength: float) -> None:
    """Multiply every p_drop of ``model`` by ``strength``, in [0, 1], from now on."""
    for layer in dropout_layers(model):
        layer.strength = strength


def schedule_strength(config: RunConfig, epoch: int) -> float:
    """What p_drop is multiplied by in ``epoch``, counted from 1.

    ``early`` and ``late`` dropout are those of Liu et al. (2023); the ramp is a curriculum (Morerio et al.
    2017) in its simplest form, a straight line.
    """
    cutoff = config.dropout.cutoff_epoch or 1
    if config.dropout.schedule == "early":
        return float(epoch <= cutoff)
    if config.dropout.schedule == "late":
        return float(epoch > cutoff)
    if config.dropout.schedule == "ramp" and epoch < cutoff:
        return (epoch - 1) / (cutoff - 1)
    return 1.0


def rates(model: nn.Module) -> dict[str, float]:
    """The mean probability of dropping that is in force at each site."""
    found: dict[str, list[float]] = {}
    for layer in dropout_layers(model):
        found.setdefault(layer.site, []).append(layer.rate())
    return {site: sum(values) / len(values) for site, values in found.items()}


def learns(model: nn.Module) -> bool:
    """Whether a layer of ``model`` learns its rate."""
    return any(layer.learns and layer.p_drop for layer in dropout_layers(model))


def penalty(model: nn.Module) -> torch.Tensor | None:
    """The sum of the layers' penalties, in nats for the whole training set; None where none has any."""
    found = [part for layer in dropout_layers(model) if (part := layer.penalty()) is not None]
    return torch.stack(found).sum() if found else None


@contextmanager
def tapped(taps: dict[DropoutLayer, Callable[[torch.Tensor], torch.Tensor]]) -> Iterator[None]:
    """Within this context, let each of these layers pass on what its tap makes of the units that arrive."""
    for layer, tap in taps.items():
        layer.tap = tap
    try:
        yield
    finally:
        for layer in taps:
            layer.tap = None


def copies_fit(config: RunConfig) -> bool:
    """Whether a tap may multiply the batch at a site: what follows sees the units of that site and no other.

    Not so in a model of the user's own, which may have connections around the site, nor under standout, which
    also sees the units before their activation.
    """
    return not is_own(config.model.name) and config.dropout.variant != "standout"
