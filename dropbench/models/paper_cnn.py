"""The 2014 paper's convolutional net."""

from itertools import pairwise
from typing import cast

import torch
from torch import nn

from dropbench.catalog.models import InputShape
from dropbench.dropout.registry import make_dropout
from dropbench.models.parts import (
    PooledConv2d,
    activated_into,
    activation_of,
    at_least_8,
    pooled_into,
    sizes,
    typed,
)
from dropbench.run.config import RunConfig


class PaperCNN(nn.Module):
    """The 2014 paper's net for CIFAR-10 and SVHN: Conv 5×5 with 96, 128 and 256 channels, FC 2048, FC 2048.

    A 3×3 max-pool of stride 2 follows each convolution. The paper keeps units with probability 0.9 at the
    input, 0.75 after the first two convolutions, and 0.5 after the last one and the fully connected layers;
    the last convolution is therefore a hidden site here.

    The input is ``(batch, channels, height, width)`` with at least 8×8 pixels, the output logits
    ``(batch, classes)``. ``width`` and ``widened`` change the sizes (see dropbench.models.parts.sizes).

    Raises:
        UsageError: if the images are smaller than 8×8.

    """

    def __init__(self, input_shape: InputShape, classes: int, config: RunConfig) -> None:
        super().__init__()
        channels, height, width = at_least_8(input_shape, config)
        maps = [*sizes((96, 128), config, "conv"), *sizes((256,), config, "hidden")]
        self.convolutions = nn.ModuleList(
            PooledConv2d(fan_in, fan_out, kernel_size=5, padding=2)
            for fan_in, fan_out in pairwise((channels, *maps))
        )
        for _ in maps:
            height, width = -(-height // 2), -(-width // 2)
        units = [maps[-1] * height * width, *sizes((2048, 2048), config, "hidden")]
        self.hidden = nn.ModuleList(nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(units))
        self.output = nn.Linear(units[-1], classes)
        self.activation = activation_of(config)
        first, *others = self.convolutions
        self.input_dropout = make_dropout(config, "input", first)
        self.conv_dropouts = nn.ModuleList(make_dropout(config, "conv", layer) for layer in others)
        self.hidden_dropouts = nn.ModuleList(
            make_dropout(config, "hidden", layer) for layer in (*self.hidden, self.output)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, classes)`` of normalised images ``(batch, channels, height, width)``."""
        units = self.input_dropout.into(self.convolutions[0], images)
        after = (*self.convolutions[1:], *self.hidden, self.output)
        dropouts = (*typed(self.conv_dropouts), *typed(self.hidden_dropouts))
        for number, (dropout, layer) in enumerate(zip(dropouts, after, strict=True)):
            if number < len(self.convolutions):
                convolution = cast(PooledConv2d, self.convolutions[number])
                units = pooled_into(dropout, layer, units, 3, self.activation, convolution)
            else:
                units = activated_into(dropout, layer, units, self.activation)
        return units
