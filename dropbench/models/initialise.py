"""The initial weights of a model."""

import math
from typing import Any

import torch
from torch import nn

from dropbench.catalog.models import InputShape
from dropbench.dropout.control import dropout_layers, set_strength, tapped
from dropbench.dropout.layer import Arriving, DropoutLayer
from dropbench.dropout.stream import Stream
from dropbench.kernels.noise import normal
from dropbench.run.config import RunConfig

_INTEGRATION_LIMIT = 10.0  # standard deviations; beyond it the normal density is negligible
_EXAMPLES = 32  # images that show what arrives at a site: 1 % of E(D²) is 0.5 % of the weights


def initialise(model: nn.Module, config: RunConfig, generator: torch.Generator) -> None:
    """Initialise normal weights of variance gain²/fan-in (He et al. 2015) and zero biases.

    The gain is √2 for ReLU, 1 for logistic units and SELU (Klambauer et al. 2017), and maxout_gain for maxout
    units. It is 1 for the output layer, which has no activation and is recognised by its name, ``output``.
    """
    gain = math.sqrt(2) if config.model.activation == "relu" else 1.0
    if config.model.activation == "maxout":
        gain = maxout_gain(config.model.pieces)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            deviation = (1.0 if name.rpartition(".")[2] == "output" else gain) / math.sqrt(fan_in)
            nn.init.normal_(module.weight, 0, deviation, generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@torch.no_grad()
def correct(model: nn.Module, input_shape: InputShape, strength: float, stream: Stream) -> None:
    """Divide the weights that noisy units go into by √E(D²), where D is the factor of the site's noise.

    The second moment of every layer's input in training is then what it is without dropout, as Hendrycks &
    Gimpel (2016, arXiv 1607.02488) propose for Bernoulli dropout. ``strength`` is the schedule's at the start
    of training. What arrives at a site is seen on normal images of mean 0 and variance 1. A next layer that
    has no weights of its own, such as a tied decoder, is left as it is, and so is one that the model does not
    name.
    """
    for layer, arriving in _arriving(model, input_shape, stream):
        weight = getattr(layer.next_layer, "weight", None)
        layer.strength = strength
        if isinstance(weight, nn.Parameter) and not layer.does_nothing:
            moment = layer.second_moment(arriving)
            if 0 < moment < math.inf:  # it has no value where all units that arrive are 0
                weight.div_(math.sqrt(moment))
        layer.strength = 1.0


def _arriving(
    model: nn.Module, input_shape: InputShape, stream: Stream
) -> list[tuple[DropoutLayer, Arriving]]:
    """The dropout layers, each with what arrives at it without any dropout."""
    found: list[tuple[DropoutLayer, Arriving]] = []
    pre_activations: dict[nn.Module, torch.Tensor | None] = {}

    def remember(layer: nn.Module, given: Any) -> None:
        pre_activations[layer] = given[1] if len(given) > 1 else None

    def seen(layer: DropoutLayer) -> Any:
        def tap(units: torch.Tensor) -> torch.Tensor:
            found.append((layer, Arriving(units, pre_activations.get(layer), stream.draw())))
            return units

        return tap

    layers = dropout_layers(model)
    set_strength(model, 0.0)
    hooks = [layer.register_forward_pre_hook(remember) for layer in layers]
    with tapped({layer: seen(layer) for layer in layers}):
        model.eval()(normal((_EXAMPLES, *input_shape), stream.draw(), torch.device("cpu")))
    model.train()
    for hook in hooks:
        hook.remove()
    set_strength(model, 1.0)
    return found


def maxout_gain(pieces: int) -> float:
    """Return 1/√E(m²), where m is the largest of ``pieces`` independent standard normal numbers.

    It keeps the mean square of the signal. Tseran & Montúfar (2021) tabulate its square.
    """
    at = torch.linspace(-_INTEGRATION_LIMIT, _INTEGRATION_LIMIT, 4001, dtype=torch.float64)
    normal = (-at.square() / 2).exp() / math.sqrt(2 * math.pi)
    density = pieces * normal * torch.special.ndtr(at) ** (pieces - 1)
    return float(torch.trapezoid(at.square() * density, at).rsqrt())
