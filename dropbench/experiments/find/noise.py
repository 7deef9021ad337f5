"""The noise of a dropout layer as code: torch's layer where one does the same, else a formula."""

from collections.abc import Callable

import torch

from dropbench.catalog.user_code import is_user_code
from dropbench.dropout.concrete import TEMPERATURE
from dropbench.dropout.dropblock import LARGEST_BLOCK, DropBlock
from dropbench.dropout.residual import StochasticDepth
from dropbench.experiments.find.places import Place
from dropbench.run.config import RunConfig

THINNED = "thinned"

_FORMULAS = {
    "gaussian": "x * (1 + sqrt(p / (1 - p)) * randn_like(x)) in training",
    "uniform": "x * empty_like(x).uniform_(1 - h, 1 + h) in training, h = sqrt(3 * p / (1 - p))",
    "dropconnect": "F.dropout(weight, p) in training, a mask for each example",
    "variational": "normal noise of variance weight² * p / (1 - p) in training, p of each input",
    "concrete": f"x * sigmoid({-1 / TEMPERATURE:g} * (logit(p) + logit(u))) / (1 - p) in training, "
    "u uniform, one for a map",
    "standout": "x * (rand_like(x) < q) in training, x * q at test, q = sigmoid(z - logit(p)) of the "
    "pre-activation z",
    THINNED: "a mask of units that are 0 with probability p, one for all examples, in training and at test",
}
"""The noise that torch has no layer for, on units x or on weights."""


def noise_in_code(config: RunConfig, place: Place) -> str:
    """Return the noise of a place that drops units, with its p.

    It is a layer of torch or torchvision only where that does the same; formula_of tells of any other.
    """
    p, name = place.layer.p_drop, _name(config)
    if isinstance(place.layer, StochasticDepth):
        stochastic = f'torchvision.ops.StochasticDepth({p:.3g}, "row")'
        return _scaled(config, stochastic, "(1 - p)")
    if is_user_code(config.dropout.variant) or name not in _LAYERS:
        return f"{name}({p:g})"
    layer = _LAYERS[name](p, place)
    return layer if name in ("alpha", "dropblock") else _scaled(config, layer, f"{1 - p:.4g}")


def formula_of(config: RunConfig) -> str:
    """Return what the noise of ``config`` does, if torch has no layer for it; else nothing."""
    name = _name(config)
    if is_user_code(config.dropout.variant) or name not in _FORMULAS:
        return ""
    inverted = ", others are / (1 - p)" if name == THINNED and config.dropout.convention == "inverted" else ""
    return f"{name}(p): {_FORMULAS[name]}{inverted}"


def _name(config: RunConfig) -> str:
    """The name of the noise; of the user's own it is that of its class, without a digest."""
    if config.dropout.thinned:
        return THINNED
    return config.dropout.variant.rpartition(":")[2].partition("-")[0]


def _scaled(config: RunConfig, layer: str, keep: str) -> str:
    """The layer, which divides kept units by 1 − p in training, in the convention of the run."""
    return f"{layer} * {keep}" if config.dropout.convention == "weight-scaling" else layer


def _bernoulli(p: float, place: Place) -> str:
    return f"nn.Dropout({p:g})"


def _spatial(p: float, place: Place) -> str:
    return f"nn.Dropout2d({p:g})" if place.has_maps else _bernoulli(p, place)


def _alpha(p: float, place: Place) -> str:
    return f"nn.AlphaDropout({p:g})"


def _dropblock(p: float, place: Place) -> str:
    if not place.has_maps:
        return _bernoulli(p, place)
    side = LARGEST_BLOCK
    if place.shape:
        side, _, _ = DropBlock.squares(torch.empty(1, *place.shape, device="meta"))
    return f"torchvision.ops.DropBlock2d({p:g}, {side})"


_LAYERS: dict[str, Callable[[float, Place], str]] = {
    "bernoulli": _bernoulli,
    "spatial": _spatial,
    "alpha": _alpha,
    "dropblock": _dropblock,
}
"""The layers of torch and torchvision that do the same."""
