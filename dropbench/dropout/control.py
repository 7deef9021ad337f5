"""Control over the dropout layers of a model: their streams, schedule, rates, penalties and taps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dropbench.catalog.user_code import is_user_code, library_of
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.stream import Stream
from dropbench.errors import UsageError
from dropbench.run.blocks.dropout import PHILOX
from dropbench.run.config import RunConfig
from dropbench.run.streams import key_of


def dropout_layers(model: nn.Module) -> list[DropoutLayer]:
    """Return the dropout layers of ``model`` in the order of their definition."""
    return [module for module in model.modules() if isinstance(module, DropoutLayer)]


def check_random_numbers(config: RunConfig) -> None:
    """Raise UsageError if the noise of ``config`` was drawn as only recorded runs drew it."""
    if config.dropout.random_numbers != PHILOX and not config.without_dropout:
        raise UsageError(
            f"`random_numbers` {config.dropout.random_numbers} is of recorded runs: none is trained so now.",
            "Leave out `random_numbers`.",
        )


def set_streams(model: nn.Module, name: str, seed: int, member: int) -> None:
    """Give each dropout layer its own draws of the stream ``name`` (``mask`` or ``mc``).

    Dropping units at one site does not change the masks of another.
    """
    key = key_of(seed, name, member)
    for site, layer in enumerate(dropout_layers(model)):
        layer.stream = Stream(key, site)


@contextmanager
def monte_carlo(model: nn.Module) -> Iterator[None]:
    """Let the dropout layers of ``model`` draw masks in eval mode too (Monte-Carlo dropout), in this context.

    Other layers, such as batch norm, stay in eval mode.
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
    """Multiply the drop probability of every layer by ``strength``, in [0, 1], from now on."""
    for layer in dropout_layers(model):
        layer.strength = strength


def schedule_strength(config: RunConfig, epoch: int) -> float:
    """Return the factor on drop probabilities in ``epoch``, counted from 1.

    ``early`` and ``late`` dropout follow Liu et al. (2023). The ``ramp`` is linear, the simplest form of
    curriculum dropout (Morerio et al. 2017).
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
    """Return the mean drop probability in force at each kind of site, one of PROBABILITIES."""
    found: dict[str, list[float]] = {}
    for layer in dropout_layers(model):
        found.setdefault(layer.site, []).append(layer.rate())
    return {site: sum(values) / len(values) for site, values in found.items()}


def learns(model: nn.Module) -> bool:
    """Return whether a layer of ``model`` learns its drop probability."""
    return any(layer.learns and layer.p_drop for layer in dropout_layers(model))


def learned_rates(model: nn.Module, config: RunConfig) -> dict[str, float]:
    """Return the learned drop probabilities as metrics, of the sites where units are dropped at all."""
    if not learns(model):
        return {}
    found = rates(model)
    return {
        "learned_p_drop" + ("" if site == "hidden" else f"_{site}"): rate
        for site, rate in found.items()
        if config.dropout.p_at(site)
    }


def penalty(model: nn.Module) -> torch.Tensor | None:
    """Return the sum of the layers' penalties in nats for the whole training set; None if there are none."""
    found = [part for layer in dropout_layers(model) if (part := layer.penalty()) is not None]
    return torch.stack(found).sum() if found else None


@contextmanager
def tapped(taps: dict[DropoutLayer, Callable[[torch.Tensor], torch.Tensor]]) -> Iterator[None]:
    """Replace the units that arrive at each of these layers by the result of its tap, in this context."""
    for layer, tap in taps.items():
        layer.tap = tap
    try:
        yield
    finally:
        for layer in taps:
            layer.tap = None


def copies_fit(config: RunConfig) -> bool:
    """Return whether a tap may enlarge the batch at a site, because all later layers see only its output.

    This does not hold for a model of the user's own or of a library, which may have connections around the
    site, nor for standout, which also sees the pre-activations.
    """
    foreign = is_user_code(config.model.name) or library_of(config.model.name)
    return not foreign and config.dropout.variant != "standout"
