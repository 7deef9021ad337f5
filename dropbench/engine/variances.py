"""The variance of a layer's input with dropout and without, and the one that batch norm keeps."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from dropbench.dropout.control import dropout_layers, monte_carlo, set_streams, tapped
from dropbench.dropout.layer import DropoutLayer, flat_for
from dropbench.engine.device import autocast
from dropbench.engine.evaluate import EVALUATION_BATCH
from dropbench.engine.task import Split
from dropbench.models.gaussian import GaussianNet
from dropbench.run.config import RunConfig
from dropbench.run.result import RUNNING_VARIANCE, TEST_VARIANCE, TRAINING_VARIANCE, PanelRecord

Tap = Callable[[torch.Tensor], torch.Tensor]
MOST_EXAMPLES = 1024
"""Training examples, at equal steps, that variances are measured on: two passes of a deep net are slow."""


def measure_variances(model: nn.Module, train: Split, config: RunConfig) -> list[PanelRecord]:
    """Return the variance shift of dropout (Li et al. 2019) at each layer that it is measured at.

    These are the batch-norm layers with running statistics or, in a net without any, all fully connected
    layers and convolutions. For each there is the variance over training examples, and over places in a
    feature map, of what goes into it; the mean over its channels:

    - TRAINING_VARIANCE: with the dropout of training, whose masks are drawn from the stream ``panel``;
    - TEST_VARIANCE: without dropout, or with the factor that a layer has at test;
    - RUNNING_VARIANCE: the one that a batch-norm layer keeps from training and uses at test.

    The net is in eval mode both times, so batch norm uses, and does not change, its running statistics. Thus
    the first two differ by dropout alone, and are the same number where nothing is dropped before a layer.
    """
    layers = measured_layers(model)
    count = min(len(train.positions), MOST_EXAMPLES)
    steps = torch.linspace(0, len(train.positions) - 1, count, dtype=torch.float64).long()
    some = Split(train.examples, train.positions[steps.to(train.positions.device)])
    with _masks_of_the_panel(model, config):
        in_training = _variances(model, layers, some, config.optimizer.precision)
    at_test = _variances(model, layers, some, config.optimizer.precision)
    records = []
    for name, variance in at_test.items():
        records.append(PanelRecord(TRAINING_VARIANCE, name, 0.0, in_training[name]))
        records.append(PanelRecord(TEST_VARIANCE, name, 0.0, variance))
        kept = getattr(layers[name], "running_var", None)
        if kept is not None:
            records.append(PanelRecord(RUNNING_VARIANCE, name, 0.0, kept.double().mean().item()))
    return records


def measured_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers whose input is measured, by their names in the net."""
    net = model.net if isinstance(model, GaussianNet) else model
    modules = dict(net.named_modules())
    norms: dict[str, nn.Module] = {
        name: each
        for name, each in modules.items()
        if isinstance(each, _BatchNorm) and each.running_var is not None
    }
    return norms or {name: each for name, each in modules.items() if isinstance(each, nn.Linear | _ConvNd)}


@contextmanager
def _masks_of_the_panel(model: nn.Module, config: RunConfig) -> Iterator[None]:
    """Let the dropout layers draw masks from the stream ``panel`` in eval mode, in this context."""
    before = [(layer, layer.stream) for layer in dropout_layers(model)]
    set_streams(model, "panel", config.repetition.seed, config.repetition.member)
    try:
        with monte_carlo(model):
            yield
    finally:
        for layer, stream in before:
            layer.stream = stream


@torch.no_grad()
def _variances(
    model: nn.Module, layers: Mapping[str, nn.Module], split: Split, precision: str
) -> dict[str, float]:
    """Return the mean over channels of the variance of what goes into each layer, in the order of the pass.

    Layers that are no part of the pass are left out.
    """
    found: dict[str, _Moments] = {}

    def see(name: str, units: torch.Tensor) -> torch.Tensor:
        channels = units if isinstance(layers[name], nn.Linear) else units.movedim(1, -1)
        found.setdefault(name, _Moments()).add(channels.reshape(-1, channels.shape[-1]))
        return units

    def on_call(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def look(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            see(name, (*given, *named.values())[0])

        return look

    def on_arrival(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda units: see(name, flat_for(layers[name], units))

    model.eval()
    sites = dropout_layers(model)
    # A pass that is several layers in one calls none of them, unless somebody looks at its units.
    taps: dict[DropoutLayer, Tap] = {site: lambda units: units for site in sites}
    # A site with noise on the weights of the next layer does not call it.
    fed = {site.next_layer: site for site in sites if site.on_weights}
    with ExitStack() as looking:
        for name, layer in layers.items():
            if layer in fed:
                taps[fed[layer]] = on_arrival(name)
            else:
                looking.callback(layer.register_forward_pre_hook(on_call(name), with_kwargs=True).remove)
        looking.enter_context(tapped(taps))
        for part in torch.split(split.positions, EVALUATION_BATCH):
            inputs, _ = split.examples.batch(part)
            with autocast(inputs.device, precision):
                model(inputs)
    return {name: moments.variance().mean().item() for name, moments in found.items()}


class _Moments:
    """Count, means and summed squared deviations of channels, batch by batch (Chan et al. 1983)."""

    def __init__(self) -> None:
        self._count = 0
        self._means = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, values: torch.Tensor) -> None:
        """Take ``(values, channels)`` into account."""
        variances, means = (each.double().cpu() for each in torch.var_mean(values.float(), 0, correction=0))
        count = self._count + len(values)
        moved = means - self._means
        self._squares = (
            self._squares + len(values) * variances + moved.square() * (self._count * len(values) / count)
        )
        self._means = self._means + moved * (len(values) / count)
        self._count = count

    def variance(self) -> torch.Tensor:
        """Return the unbiased variance of each channel, ``(channels,)`` in float64."""
        return self._squares / (self._count - 1)
