"""The models: plain nn.Modules whose dropout sites are explicit attributes.

Sites are ``input`` (the image), ``conv`` (after each convolution block) and ``hidden`` (after each hidden
fully connected layer).
"""

from collections.abc import Callable, Iterable
from importlib import import_module
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from dropbench import own_code
from dropbench.config import SITES, RunConfig
from dropbench.dropout.control import dropout_layers
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.registry import make_dropout
from dropbench.errors import UsageError
from dropbench.recipes import RECIPES
from dropbench.streams import torch_generator

Activation = Callable[[torch.Tensor], torch.Tensor]
ACTIVATIONS: dict[str, Activation] = {
    "relu": torch.relu,
    "logistic": torch.sigmoid,
    "selu": torch.selu,
}
ModelFactory = Callable[[tuple[int, int, int], int, RunConfig], nn.Module]


def _typed(dropouts: nn.ModuleList) -> Iterable[DropoutLayer]:
    return cast(Iterable[DropoutLayer], dropouts)


def scaled(units: int, width: float) -> int:
    """How many units or channels a layer of ``units`` has in a net of this relative width, 1 at least."""
    return max(1, round(units * width))


class LectureCNN(nn.Module):
    """The lecture's net: Conv 3×3 with 64, 128 and 256 channels, a max-pool after each, FC 512, FC 512.

    Input ``(batch, channels, height, width)`` from 8×8 up, output logits ``(batch, classes)``. The numbers
    of channels and units are multiplied by ``config.width``.

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
        *maps, full = (scaled(units, config.width) for units in (64, 128, 256, 512))
        widths = (channels, *maps)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(fan_in, fan_out, kernel_size=3, padding=1) for fan_in, fan_out in pairwise(widths)
        )
        pooled = maps[-1] * (height // 8) * (width // 8)
        self.hidden = nn.ModuleList([nn.Linear(pooled, full), nn.Linear(full, full)])
        self.output = nn.Linear(full, classes)
        self.activation: Activation = ACTIVATIONS[config.activation]
        first, *after_conv = (*self.convolutions, self.hidden[0])
        self.input_dropout = make_dropout(config, "input", first)
        self.conv_dropouts = nn.ModuleList(make_dropout(config, "conv", layer) for layer in after_conv)
        self.hidden_dropouts = nn.ModuleList(
            make_dropout(config, "hidden", layer) for layer in (self.hidden[1], self.output)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of normalised images."""
        units = self.input_dropout.into(self.convolutions[0], images)
        after_conv = (*self.convolutions[1:], self.hidden[0])
        for dropout, layer in zip(_typed(self.conv_dropouts), after_conv, strict=True):
            # Activations are monotone, so pooling first is the same function on a quarter of the elements.
            units = F.max_pool2d(units, 2)
            units = dropout.into(layer, self.activation(units), units)
        for dropout, layer in zip(_typed(self.hidden_dropouts), (self.hidden[1], self.output), strict=True):
            units = dropout.into(layer, self.activation(units), units)
        return units


class MLP(nn.Module):
    """A fully connected net, as in the 2014 paper's experiments on MNIST.

    Input ``(batch, channels, height, width)``, output logits ``(batch, classes)``; hidden layers of
    ``config.layers`` units, multiplied by ``config.width``.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> None:
        super().__init__()
        channels, height, width = image_shape
        widths = (channels * height * width, *(scaled(units, config.width) for units in config.layers))
        self.hidden = nn.ModuleList(nn.Linear(fan_in, fan_out) for fan_in, fan_out in pairwise(widths))
        self.output = nn.Linear(widths[-1], classes)
        self.activation: Activation = ACTIVATIONS[config.activation]
        self.input_dropout = make_dropout(config, "input", self.hidden[0])
        self.hidden_dropouts = nn.ModuleList(
            make_dropout(config, "hidden", layer) for layer in (*self.hidden[1:], self.output)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of a batch of normalised images."""
        units = self.input_dropout.into(self.hidden[0], images)
        for dropout, layer in zip(_typed(self.hidden_dropouts), (*self.hidden[1:], self.output), strict=True):
            units = dropout.into(layer, self.activation(units), units)
        return units


class TiedLinear(nn.Module):
    """A fully connected layer with the weights of another, transposed, and a bias of its own."""

    def __init__(self, encoder: nn.Linear) -> None:
        super().__init__()
        self._encoder = (encoder,)  # in a tuple: its weights are the encoder's, and no second parameter
        self.bias = nn.Parameter(torch.zeros(encoder.in_features))

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        """``(batch, hidden)`` to ``(batch, pixels)``."""
        return F.linear(units, self._encoder[0].weight.t(), self.bias)


class Autoencoder(nn.Module):
    """One hidden layer that gives the image again, as in Fig. 7 of the 2014 paper.

    Input ``(batch, channels, height, width)`` of pixel values 0 to 1, output their logits in the same shape.
    ``config.tied`` makes the output's weights those of the hidden layer, transposed.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> None:
        super().__init__()
        if len(config.layers) != 1:
            raise UsageError(f"The autoencoder has one hidden layer, not {len(config.layers)}.")
        pixels = image_shape[0] * image_shape[1] * image_shape[2]
        self.hidden = nn.Linear(pixels, config.layers[0])
        self.output = TiedLinear(self.hidden) if config.tied else nn.Linear(config.layers[0], pixels)
        self.activation: Activation = ACTIVATIONS[config.activation]
        self.input_dropout = make_dropout(config, "input", self.hidden)
        self.hidden_dropout = make_dropout(config, "hidden", self.output)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of the images, as well as the net can."""
        units = self.input_dropout.into(self.hidden, images)
        units = self.hidden_dropout.into(self.output, self.activation(units), units)
        return units.view(images.shape)


def make_module(image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> nn.Module:
    """The module ``config`` names, with whatever weights torch gives it; see build_model.

    In a model of the user's own, torch's Dropout layers become hidden sites and its Dropout2d layers conv
    sites: p and the variant are the config's.

    Raises:
        UsageError: if the model cannot take images of ``image_shape`` ``(channels, height, width)``, or
            has no dropout site where ``config`` drops units.

    """
    generator = torch_generator(config.seed, "init", config.member)
    with torch.random.fork_rng(devices=[]):  # torch's own initialisation draws from the global generator
        if own_code.is_own(config.model):
            torch.default_generator.set_state(generator.get_state())
            return _own_model(image_shape, classes, config)
        module_name, _, attribute = RECIPES[config.model].factory.partition(":")
        factory = cast(ModelFactory, getattr(import_module(module_name), attribute))
        return factory(image_shape, classes, config)


def _own_model(image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> nn.Module:
    hint = "A model of your own is made by factory((channels, height, width), classes, config)."
    factory = own_code.load(config.model)
    model = own_code.make(config.model, nn.Module, hint, factory, image_shape, classes, config)
    for name, module in list(model.named_modules()):
        site = {nn.Dropout: "hidden", nn.Dropout2d: "conv"}.get(type(module))
        if site is not None:
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, make_dropout(config, site))
    sites = {layer.site for layer in dropout_layers(model)}
    for site in SITES:
        if config.p_drop_at(site) and site not in sites:
            raise UsageError(
                f"The model {config.model} has no {site} dropout site, so its p would change nothing.",
                'Put torch.nn.Dropout, or make_dropout(config, "input"), where units are to be dropped.',
            )
    return model


def build_model(image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> nn.Module:
    """The model ``config`` names, its weights from the ``init`` stream of its seed and member.

    A model of the user's own keeps the initialisation that it gives itself.

    Raises:
        UsageError: as make_module does.

    """
    model = make_module(image_shape, classes, config)
    if not own_code.is_own(config.model):
        initialise(model, config.activation, torch_generator(config.seed, "init", config.member))
    return model


def initialise(model: nn.Module, activation: str, generator: torch.Generator) -> None:
    """He initialisation (He et al. 2015): normal weights of variance gain²/fan-in, biases zero.

    The gain is √2 for ReLU and 1 for logistic units, SELU (Klambauer et al. 2017) and the output
    layer. The layers that stay without an activation are told by their name, ``output``.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            before_relu = activation == "relu" and name != "output"
            nn.init.kaiming_normal_(
                module.weight, nonlinearity="relu" if before_relu else "linear", generator=generator
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
