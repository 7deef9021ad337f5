"""Parts shared by the models: activations, layer sizes, and the check for images that are too small."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

import torch
from torch import nn

from dropbench.catalog.models import InputShape
from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.layer import DropoutLayer, flat_for
from dropbench.errors import UsageError
from dropbench.kernels.convolution import narrow_conv2d, side_by_side
from dropbench.kernels.draws import NEVER, NO_DRAW, Chance, Draw
from dropbench.kernels.linear import linear_relu_drop, takes_layer
from dropbench.kernels.pool import bias_of, max_pool, pool_relu
from dropbench.kernels.relu import relu_drop
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


def activated_into(
    dropout: DropoutLayer, layer: nn.Module, pre_activations: torch.Tensor, activation: Activation
) -> torch.Tensor:
    """Apply the activation, dropout and ``layer``; the first two are one pass if they can be."""
    mask = _mask_of(dropout) if activation is torch.relu else None
    if mask is None:
        units = activation(pre_activations)
        return dropout.into(layer, units, pre_activations)
    return cast(torch.Tensor, layer(flat_for(layer, relu_drop(pre_activations, *mask))))


def fully_connected(
    units: torch.Tensor, dropouts: Sequence[DropoutLayer], layers: Sequence[nn.Linear], activation: Activation
) -> torch.Tensor:
    """Return the output of layers, each after its dropout, with the activation between them.

    A layer, ReLU and the next dropout are one pass if they can be.
    """
    pre_activations: torch.Tensor | None = None
    dropped = False  # whether the pass that made the units dropped some already
    for dropout, layer, after in zip(dropouts, layers, (*dropouts[1:], None), strict=True):
        if not dropped and (dropout.on_weights or _reads_pre_activations(dropout)):
            pre_activations = dropout.into(layer, units, pre_activations)
        else:
            units = units if dropped else flat_for(layer, dropout(units))
            can_be_one = after is not None and activation is torch.relu and takes_layer(units, layer.weight)
            mask = _mask_of(after) if can_be_one else None
            dropped = mask is not None
            if mask is not None:
                units = linear_relu_drop(units, layer.weight, layer.bias, *mask)
                continue
            pre_activations = layer(units)
        units = pre_activations if after is None else activation(pre_activations)
    return units


class PooledConv2d(nn.Conv2d):
    """A convolution whose maps go into a max-pool by ``pooled_into``, where its bias gets its gradient.

    Its size is odd, and zeros around the images keep theirs.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the maps; no gradient flows from here into the bias."""
        bias = None if self.bias is None else self.bias.detach()
        images_in_row = side_by_side(images, self.kernel_size[0])
        if images_in_row > 1 and self.weight.dtype == images.dtype:
            return narrow_conv2d(images, self.weight, bias, images_in_row)
        return cast(torch.Tensor, self._conv_forward(images, self.weight, bias))


def pooled_into(
    dropout: DropoutLayer,
    layer: nn.Module,
    maps: torch.Tensor,
    window: int,
    activation: Activation,
    convolution: PooledConv2d,
) -> torch.Tensor:
    """Apply a max-pool, the activation, dropout and ``layer``; all but the last are one pass if they can be.

    The maps are those of ``convolution``, and ``window`` is that of dropbench.kernels.pool.pool_relu.
    Activations are monotone, so pooling first gives the same result on a quarter of the elements.
    """
    bias = convolution.bias
    mask = _mask_of(dropout) if activation is torch.relu else None
    if mask is not None:
        return cast(torch.Tensor, layer(flat_for(layer, pool_relu(maps, window, *mask, bias))))
    if activation is torch.relu and not _reads_pre_activations(dropout):
        return dropout.into(layer, pool_relu(maps, window, bias=bias))
    pooled = max_pool(maps if bias is None else bias_of(maps, bias), window)
    return dropout.into(layer, activation(pooled), pooled)


def _mask_of(dropout: DropoutLayer | None) -> tuple[Chance, float, Draw] | None:
    """Return chance, scale and draw for a pass that drops a site's units itself; None if the layer has to."""
    # First: a graph that reads the p in force would be compiled for each p.
    if torch.compiler.is_compiling() or type(dropout) is not BernoulliDropout or dropout.tap is not None:
        return None
    if dropout._forward_hooks or dropout._forward_pre_hooks:  # somebody looks at the units
        return None
    if dropout.noisy:
        return dropout.chance, dropout.scale, dropout.draw()
    return (NEVER, 1.0, NO_DRAW) if dropout.does_nothing else None


def _reads_pre_activations(dropout: DropoutLayer) -> bool:
    """Whether the layer may take more than the units: all that override these methods may."""
    kind = type(dropout)
    return kind.forward is not DropoutLayer.forward or kind.into is not DropoutLayer.into


def sizes(layers: Iterable[int], config: RunConfig, site: str) -> list[int]:
    """Return the number of units or channels of layers that end in a dropout ``site``.

    It is units × width, and units × width / (1 − p) with ``widened``, where p is the drop probability of the
    site: as many units are then kept on average as without dropout. The result is rounded and at least 1.
    """
    keep = 1 - config.dropout.p_at(site) if config.dropout.widened else 1.0
    return [max(1, round(units * config.model.width / keep)) for units in layers]


def at_least_8(input_shape: InputShape, config: RunConfig) -> InputShape:
    """Return ``input_shape``; raise UsageError if the images are too small to be pooled three times."""
    _, height, width = input_shape
    if min(height, width) < 8:
        raise UsageError(
            f"{config.model.name} pools three times and needs images of 8×8 or more, not {height}×{width}.",
            "Use `model=mlp`.",
        )
    return input_shape
