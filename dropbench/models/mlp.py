"""Fully connected nets."""

from itertools import pairwise
from typing import cast

import torch
from torch import nn

from dropbench.dropout.registry import make_dropout
from dropbench.models.parts import activation_of, fully_connected, sizes, typed
from dropbench.run.config import RunConfig


class MLP(nn.Module):
    """A fully connected net, as in the 2014 paper's experiments on MNIST.

    The input is ``(batch, channels, height, width)``, the output logits ``(batch, classes)``. The hidden
    layers have ``config.model.layers`` units, which ``width`` and ``widened`` change (see
    dropbench.models.parts.sizes). A maxout unit has one set of weights for each of its pieces.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> None:
        super().__init__()
        channels, height, width = image_shape
        widths = (channels * height * width, *sizes(config.model.layers, config, "hidden"))
        pieces = config.model.pieces if config.model.activation == "maxout" else 1
        self.hidden = nn.ModuleList(
            nn.Linear(fan_in, fan_out * pieces) for fan_in, fan_out in pairwise(widths)
        )
        self.output = nn.Linear(widths[-1], classes)
        self.activation = activation_of(config)
        self.input_dropout = make_dropout(config, "input", self.hidden[0])
        self.hidden_dropouts = nn.ModuleList(
            make_dropout(config, "hidden", layer) for layer in (*self.hidden[1:], self.output)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, classes)`` of normalised images ``(batch, channels, height, width)``."""
        dropouts = (self.input_dropout, *typed(self.hidden_dropouts))
        layers = cast(tuple[nn.Linear, ...], (*self.hidden, self.output))
        return fully_connected(images, dropouts, layers, self.activation)
