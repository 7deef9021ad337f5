"""What the models share: activations, sizes of layers, and the smallest images they take."""

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
    """The layers of a list, as what they are."""
    return cast(Iterable[DropoutLayer], dropouts)


def activation_of(config: RunConfig) -> Activation:
    """What makes a layer's units of what its weights put out; a maxout unit takes ``pieces`` of these."""
    if config.model.activation == "maxout":
        return lambda outputs: outputs.view(len(outputs), -1, config.model.pieces).amax(2)
    return ACTIVATIONS[config.model.activation]


def sizes(layers: Iterable[int], config: RunConfig, site: str) -> list[int]:
    """How many units or channels the layers before a dropout ``site`` have in ``config``'s net, 1 at least.

    The model's width times as many, and where layers are widened as many again as make up for those dropped.
    """
    keep = 1 - config.dropout.p_at(site) if config.dropout.widened else 1.0
    return [max(1, round(units * config.model.width / keep)) for units in layers]


def at_least_8(image_shape: tuple[int, int, int], config: RunConfig) -> tuple[int, int, int]:
    """The shape of images that may be pooled three times; raises UsageError for smaller ones."""
    _, height, width = image_shape
    if min(height, width) < 8:
        raise UsageError(
            f"{config.model.name} pools three times and needs images of 8×8 or more, not {height}×{width}.",
            "Use `model=mlp`.",
        )
    return image_shape
