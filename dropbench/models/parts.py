"""Parts shared by the models: activations, layer sizes, and the check for images that are too small."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import nn

from dropbench.dropout.layer import DropoutLayer
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig

Activation = Callable[[torch.Tensor], torch.Tensor]
ACTIVATIONS: dict[str, Activation] = {
    "relu": torch.relu,
    "logistic": torch.sigmoid,
    "selu": torch.selu,
}


def typed(dropouts: nn.ModuleList) -> Iterable[DropoutLayer]:
    """Return the dropout layers of a ModuleList with their type."""
    return cast(Iterable[DropoutLayer], dropouts)


def activation_of(config: RunConfig) -> Activation:
    """Return the activation function; for maxout it is the maximum over each unit's ``pieces`` outputs."""
    if config.model.activation == "maxout":
        return lambda outputs: outputs.view(len(outputs), -1, config.model.pieces).amax(2)
    return ACTIVATIONS[config.model.activation]


def sizes(layers: Iterable[int], config: RunConfig, site: str) -> list[int]:
    """Return the number of units or channels of layers that end in a dropout ``site``.

    It is units × width, and units × width / (1 − p) with ``widened``, where p is the drop probability of the
    site: as many units are then kept on average as without dropout. The result is rounded and at least 1.
    """
    keep = 1 - config.dropout.p_at(site) if config.dropout.widened else 1.0
    return [max(1, round(units * config.model.width / keep)) for units in layers]


def at_least_8(image_shape: tuple[int, int, int], config: RunConfig) -> tuple[int, int, int]:
    """Return ``image_shape``; raise UsageError if the images are too small to be pooled three times."""
    _, height, width = image_shape
    if min(height, width) < 8:
        raise UsageError(
            f"{config.model.name} pools three times and needs images of 8×8 or more, not {height}×{width}.",
            "Use `model=mlp`.",
        )
    return image_shape
