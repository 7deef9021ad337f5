"""The lecture's convolutional net."""

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


class LectureCNN(nn.Module):
    """The lecture's net: Conv 3×3 with 64, 128 and 256 channels, a max-pool after each, FC 512, FC 512.

    The input is ``(batch, channels, height, width)`` with at least 8×8 pixels, the output logits
    ``(batch, classes)``. ``width`` and ``widened`` change the sizes (see dropbench.models.parts.sizes).

    Raises:
        UsageError: if the images are smaller than 8×8.

    """

    def __init__(self, input_shape: InputShape, classes: int, config: RunConfig) -> None:
        super().__init__()
        channels, height, width = at_least_8(input_shape, config)
        maps, (full,) = sizes((64, 128, 256), config, "conv"), sizes((512,), config, "hidden")
        widths = (channels, *maps)
        self.convolutions = nn.ModuleList(
            PooledConv2d(fan_in, fan_out, kernel_size=3, padding=1) for fan_in, fan_out in pairwise(widths)
        )
        pooled = maps[-1] * (height // 8) * (width // 8)
        self.hidden = nn.ModuleList([nn.Linear(pooled, full), nn.Linear(full, full)])
        self.output = nn.Linear(full, classes)
        self.activation = activation_of(config)
        first, *after_conv = (*self.convolutions, self.hidden[0])
        self.input_dropout = make_dropout(config, "input", first)
        self.conv_dropouts = nn.ModuleList(make_dropout(config, "conv", layer) for layer in after_conv)
        self.hidden_dropouts = nn.ModuleList(
            make_dropout(config, "hidden", layer) for layer in (self.hidden[1], self.output)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, classes)`` of normalised images ``(batch, channels, height, width)``."""
        units = self.input_dropout.into(self.convolutions[0], images)
        after_conv = (*self.convolutions[1:], self.hidden[0])
        sites = zip(typed(self.conv_dropouts), self.convolutions, after_conv, strict=True)
        for dropout, convolution, layer in sites:
            units = pooled_into(dropout, layer, units, 2, self.activation, cast(PooledConv2d, convolution))
        for dropout, layer in zip(typed(self.hidden_dropouts), (self.hidden[1], self.output), strict=True):
            units = activated_into(dropout, layer, units, self.activation)
        return units
