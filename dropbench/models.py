"""The models: plain nn.Modules whose dropout sites are explicit attributes.

Sites are ``input`` (the image), ``conv`` (after each convolution block) and ``hidden`` (after each hidden
fully connected layer).
"""

from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from dropbench.config import RunConfig
from dropbench.dropout.registry import make_dropout
from dropbench.errors import UsageError
from dropbench.recipes import RECIPES
from dropbench.streams import torch_generator

ModelFactory = Callable[[tuple[int, int, int], int, RunConfig], nn.Module]


class LectureCNN(nn.Module):
    """The lecture's net: Conv 3×3 with 64, 128 and 256 channels, a max-pool after each, FC 512, FC 512.

    Input ``(batch, channels, height, width)`` from 8×8 up, output logits ``(batch, classes)``.

    Raises:
        UsageError: if the images are smaller than 8×8.

    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> None:
        super().__init__()
        channels, height, width = image_shape
        if min(height, width) < 8:
            raise UsageError(
                f"lecture-cnn pools three times and needs images of 8×8 or more, not {height}×{width}.",
                "Use --model mlp.",
            )
        self.input_dropout = make_dropout(config, config.p_drop_input)
        widths = (channels, 64, 128, 256)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(fan_in, fan_out, kernel_size=3, padding=1) for fan_in, fan_out in pairwise(widths)
        )
        self.conv_dropouts = nn.ModuleList(make_dropout(config, config.p_drop_conv) for _ in range(3))
        self.hidden = nn.ModuleList([nn.Linear(256 * (height // 8) * (width // 8), 512), nn.Linear(512, 512)])
        self.hidden_dropouts = nn.ModuleList(make_dropout(config, config.p_drop) for _ in range(2))
        self.output = nn.Linear(512, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of normalised images."""
        units = self.input_dropout(images)
        for convolution, dropout in zip(self.convolutions, self.conv_dropouts, strict=True):
            # ReLU is monotone, so pooling first is the same function on a quarter of the elements.
            units = dropout(F.relu(F.max_pool2d(convolution(units), 2)))
        units = units.flatten(1)
        for layer, dropout in zip(self.hidden, self.hidden_dropouts, strict=True):
            units = dropout(F.relu(layer(units)))
        return cast(torch.Tensor, self.output(units))


class MLP(nn.Module):
    """A fully connected net, as in the 2014 paper's experiments on MNIST.

    Input ``(batch, channels, height, width)``, output logits ``(batch, classes)``; hidden layers of
    ``config.layers`` units, ReLU or logistic.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> None:
        super().__init__()
        channels, height, width = image_shape
        widths = (channels * height * width, *config.layers)
        self.input_dropout = make_dropout(config, config.p_drop_input)
        self.hidden = nn.ModuleList(nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(widths))
        self.hidden_dropouts = nn.ModuleList(make_dropout(config, config.p_drop) for _ in config.layers)
        self.output = nn.Linear(widths[-1], classes)
        self.activation = torch.relu if config.activation == "relu" else torch.sigmoid

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of normalised images."""
        units = self.input_dropout(images.flatten(1))
        for layer, dropout in zip(self.hidden, self.hidden_dropouts, strict=True):
            units = dropout(self.activation(layer(units)))
        return cast(torch.Tensor, self.output(units))


def make_module(image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> nn.Module:
    """The module ``config`` names, with whatever weights torch gives it; see build_model.

    Raises:
        UsageError: if the model cannot take images of ``image_shape`` ``(channels, height, width)``.

    """
    module_name, _, attribute = RECIPES[config.model].factory.partition(":")
    factory = cast(ModelFactory, getattr(import_module(module_name), attribute))
    with torch.random.fork_rng(devices=[]):  # torch's own initialisation draws from the global generator
        return factory(image_shape, classes, config)


def build_model(image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> nn.Module:
    """The model ``config`` names, its weights from the ``init`` stream of its seed and member.

    Raises:
        UsageError: as make_module does.

    """
    model = make_module(image_shape, classes, config)
    initialise(model, config.activation, torch_generator(config.seed, "init", config.member))
    return model


def initialise(model: nn.Module, activation: str, generator: torch.Generator) -> None:
    """He initialisation (He et al. 2015): normal weights of variance gain²/fan-in, biases zero.

    The gain is √2 for ReLU and 1 for logistic units and for the output layer. The layers that stay
    without an activation are told by their name, ``output``.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            before_relu = activation == "relu" and name != "output"
            nn.init.kaiming_normal_(
                module.weight, nonlinearity="relu" if before_relu else "linear", generator=generator
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
