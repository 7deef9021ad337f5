"""The autoencoder with one hidden layer."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from dropbench.catalog.models import InputShape
from dropbench.dropout.registry import make_dropout
from dropbench.errors import UsageError
from dropbench.models.parts import activated_into, activation_of
from dropbench.run.config import RunConfig


class TiedLinear(nn.Module):
    """A fully connected layer with the transposed weights of ``encoder`` and its own bias."""

    def __init__(self, encoder: nn.Linear) -> None:
        super().__init__()
        self._encoder = (encoder,)  # in a tuple, so that its weights are not registered as parameters twice
        self.bias = nn.Parameter(torch.zeros(encoder.in_features))

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        """Map ``(batch, hidden)`` to ``(batch, pixels)``."""
        return F.linear(units, self._encoder[0].weight.t(), self.bias)


class Autoencoder(nn.Module):
    """An autoencoder with one hidden layer, as in Fig. 7 of the 2014 paper.

    The input is ``(batch, channels, height, width)`` with pixel values 0 to 1, the output their logits in the
    same shape. With ``config.model.tied`` the output layer has the transposed weights of the hidden layer.

    Raises:
        UsageError: if ``config.model.layers`` is not one layer.

    """

    def __init__(self, input_shape: InputShape, classes: int, config: RunConfig) -> None:
        super().__init__()
        if len(config.model.layers) != 1:
            raise UsageError(
                f"The autoencoder has one hidden layer, not {len(config.model.layers)}.",
                "Write one in `layers`.",
            )
        pixels = math.prod(input_shape)
        self.hidden = nn.Linear(pixels, config.model.layers[0])
        self.output = (
            TiedLinear(self.hidden) if config.model.tied else nn.Linear(config.model.layers[0], pixels)
        )
        self.activation = activation_of(config)
        self.input_dropout = make_dropout(config, "input", self.hidden)
        self.hidden_dropout = make_dropout(config, "hidden", self.output)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits of the reconstructed images, in the shape of ``images``."""
        units = self.input_dropout.into(self.hidden, images)
        units = activated_into(self.hidden_dropout, self.output, units, self.activation)
        return units.view(images.shape)
