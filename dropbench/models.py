"""The models: plain nn.Modules whose dropout sites are explicit attributes.

Sites are ``input`` (the image), ``conv`` (after each convolution block) and ``hidden`` (after each hidden
fully connected layer).
"""

import math
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
_MOST_OF_NORMALS = 10.0  # standard deviations: beyond them is no weight
ModelFactory = Callable[[tuple[int, int, int], int, RunConfig], nn.Module]


def _typed(dropouts: nn.ModuleList) -> Iterable[DropoutLayer]:
    return cast(Iterable[DropoutLayer], dropouts)


def activation_of(config: RunConfig) -> Activation:
    """What makes a layer's units of what its weights put out; a maxout unit takes ``pieces`` of these."""
    if config.activation == "maxout":
        return lambda outputs: outputs.view(len(outputs), -1, config.pieces).amax(2)
    return ACTIVATIONS[config.activation]


def sizes(layers: Iterable[int], config: RunConfig, site: str) -> list[int]:
    """How many units or channels the layers before a dropout ``site`` have in ``config``'s net, 1 at least.

    ``config.width`` times as many, and where it is ``widened`` as many again as make up for those dropped.
    """
    keep = 1 - config.p_drop_at(site) if config.widened else 1.0
    return [max(1, round(units * config.width / keep)) for units in layers]


class LectureCNN(nn.Module):
    """The lecture's net: Conv 3×3 with 64, 128 and 256 channels, a max-pool after each, FC 512, FC 512.

    Input ``(batch, channels, height, width)`` from 8×8 up, output logits ``(batch, classes)``; sizes as
    sizes has them.

    Raises:
        UsageError: if the images are smaller than 8×8.

    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> None:
        super().__init__()
        channels, height, width = _at_least_8(image_shape, config)
        maps, (full,) = sizes((64, 128, 256), config, "conv"), sizes((512,), config, "hidden")
        widths = (channels, *maps)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(fan_in, fan_out, kernel_size=3, padding=1) for fan_in, fan_out in pairwise(widths)
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
    ``config.layers`` units (see sizes); a layer of maxout units has weights for each of their pieces.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> None:
        super().__init__()
        channels, height, width = image_shape
        widths = (channels * height * width, *sizes(config.layers, config, "hidden"))
        pieces = config.pieces if config.activation == "maxout" else 1
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
        """Logits of a batch of normalised images."""
        units = self.input_dropout.into(self.hidden[0], images)
        for dropout, layer in zip(_typed(self.hidden_dropouts), (*self.hidden[1:], self.output), strict=True):
            units = dropout.into(layer, self.activation(units), units)
        return units


class PaperCNN(nn.Module):
    """The 2014 paper's net for CIFAR-10 and SVHN: Conv 5×5 with 96, 128 and 256 channels, FC 2048, FC 2048.

    A max-pool 3×3 of stride 2 follows each convolution. The paper keeps units with probability 0.9 at the
    input, 0.75 after the first two convolutions, and 0.5 after the last one and the fully connected layers;
    so the last convolution's units are a hidden site here. Input ``(batch, channels, height, width)`` from
    8×8 up, output logits ``(batch, classes)``; sizes as sizes has them.
    """

    def __init__(self, image_shape: tuple[int, int, int], classes: int, config: RunConfig) -> None:
        super().__init__()
        channels, height, width = _at_least_8(image_shape, config)
        maps = [*sizes((96, 128), config, "conv"), *sizes((256,), config, "hidden")]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(fan_in, fan_out, kernel_size=5, padding=2)
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
        """Logits of a batch of normalised images."""
        units = self.input_dropout.into(self.convolutions[0], images)
        after = (*self.convolutions[1:], *self.hidden, self.output)
        dropouts = (*_typed(self.conv_dropouts), *_typed(self.hidden_dropouts))
        for number, (dropout, layer) in enumerate(zip(dropouts, after, strict=True)):
            if number < len(self.convolutions):
                units = F.max_pool2d(units, 3, stride=2, padding=1)  # first, as in LectureCNN
            units = dropout.into(layer, self.activation(units), units)
        return units


def _at_least_8(image_shape: tuple[int, int, int], config: RunConfig) -> tuple[int, int, int]:
    """The shape of images that may be pooled three times; raises UsageError for smaller ones."""
    _, height, width = image_shape
    if min(height, width) < 8:
        raise UsageError(
            f"{config.model} pools three times and needs images of 8×8 or more, not {height}×{width}.",
            "Use --model mlp.",
        )
    return image_shape


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
        self.activation = activation_of(config)
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
        initialise(model, config, torch_generator(config.seed, "init", config.member))
    return model


def initialise(model: nn.Module, config: RunConfig, generator: torch.Generator) -> None:
    """He initialisation (He et al. 2015): normal weights of variance gain²/fan-in, biases zero.

    The gain is √2 for ReLU, 1 for logistic units, SELU (Klambauer et al. 2017) and the output layer, and
    maxout_gain for maxout units. The layers that stay without an activation are told by their name,
    ``output``.
    """
    gain = math.sqrt(2) if config.activation == "relu" else 1.0
    if config.activation == "maxout":
        gain = maxout_gain(config.pieces)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            deviation = (1.0 if name == "output" else gain) / math.sqrt(fan_in)
            nn.init.normal_(module.weight, 0, deviation, generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def maxout_gain(pieces: int) -> float:
    """1/√E(m²) for the largest m of so many standard normal numbers: it keeps the signal's mean square.

    Tseran & Montúfar (2021), whose table has its squares.
    """
    at = torch.linspace(-_MOST_OF_NORMALS, _MOST_OF_NORMALS, 4001, dtype=torch.float64)
    normal = (-at.square() / 2).exp() / math.sqrt(2 * math.pi)
    density = pieces * normal * torch.special.ndtr(at) ** (pieces - 1)
    return float(torch.trapezoid(at.square() * density, at).rsqrt())
