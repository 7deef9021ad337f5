"""Fully connected nets."""

import math
from itertools import pairwise
from typing import cast

import torch
from torch import nn

from dropbench.catalog.models import InputShape
from dropbench.dropout.registry import make_dropout
from dropbench.models.parts import activation_of, fully_connected, sizes, typed
from dropbench.run.config import RunConfig


class MLP(nn.Module):
    """A fully connected net, as in the 2014 paper's experiments on MNIST.

    The input is images ``(batch, channels, height, width)`` or rows ``(batch, features)``, the output logits
    ``(batch, classes)``. The hidden layers have ``config.model.layers`` units, which ``width`` and
    ``widened`` change (see dropbench.models.parts.sizes). A maxout unit has one set of weights for each of
    its pieces.
    """

    def __init__(self, input_shape: InputShape, classes: int, config: RunConfig) -> None:
        super().__init__()
        widths = (math.prod(input_shape), *sizes(config.model.layers, config, "hidden"))
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

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, classes)`` of prepared inputs."""
        dropouts = (self.input_dropout, *typed(self.hidden_dropouts))
        layers = cast(tuple[nn.Linear, ...], (*self.hidden, self.output))
        return fully_connected(inputs, dropouts, layers, self.activation)
