"""The panel: how active and independent a trained net's units are, and how it copes with losing them.

The measured units are those at the hidden dropout sites, on the held-out test images.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from dropbench.dropout.control import copies_fit, dropout_layers, tapped
from dropbench.dropout.layer import DropoutLayer
from dropbench.engine.device import autocast
from dropbench.engine.evaluate import evaluation_batch, outputs_of
from dropbench.engine.task import Predictor, Split
from dropbench.engine.units import measure_activations
from dropbench.engine.variances import measure_variances
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig
from dropbench.run.result import HISTOGRAM_BINS, SHARES, PanelRecord
from dropbench.run.streams import torch_generator

MOST_IMAGES = 4096
"""Images whose activations are in memory at once: for 8,192 units they take 128 MiB."""
REPEATS = 5
"""Random choices of the units to remove, for each share."""
_BATCH = 32  # examples, each with 46 choices of units


def hidden_sites(model: nn.Module) -> list[DropoutLayer]:
    """Return the hidden dropout sites, whose units are measured; raise UsageError if there are none.

    Of a library's net it is the head alone: its other sites may have millions of units, or be in attention.
    """
    layers = dropout_layers(model)
    sites = [layer for layer in layers if layer.site == "head"]
    sites = sites or [layer for layer in layers if layer.site == "hidden" and not layer.within]
    if not sites:
        raise UsageError(
            "This model has no hidden dropout site whose units could be measured.", "Leave out `panel`."
        )
    return sites


def measure_predictor(
    model: nn.Module, task: Predictor, train: Split, test: Split, config: RunConfig
) -> list[PanelRecord]:
    """Return the panel of a classifier, or of a net for a regression.

    It has the measures of dropbench.engine.units for each hidden layer, the variances of
    dropbench.engine.variances, and two errors. They are in percent, ``…_error_percent``, or root mean squared
    ones in the unit of the target, ``…_rmse``:

    - ``train_…``: the error of the trained net on its training examples, with no unit dropped.
    - ``test_…`` (WITHOUT_UNITS): the test error after a share ``at`` of the units of every hidden layer was
      removed at random and the other units were left unchanged; mean over five choices.
    """
    error = task.error_on(model, train, config.optimizer.precision)
    records = [
        PanelRecord(f"train_{task.error}", "", 0.0, error),
        *_measure_units(model, test, config),
        *measure_variances(model, train, config),
    ]
    errors = errors_without_units(model, task, test, config)
    # They come last, ending with the largest share: if that row was written, the panel is complete.
    return records + [PanelRecord(f"test_{task.error}", "", share, error) for share, error in errors.items()]


def measure_autoencoder(model: nn.Module, test: Split, config: RunConfig) -> list[PanelRecord]:
    """Return the panel of an autoencoder: the measures of its hidden layer, and two histograms.

    ``activation_histogram`` counts all activations, ``mean_activation_histogram`` the means of the units over
    the images. Each has the share in each bin, with ``at`` the number of the bin. The first bin begins at
    ``…_low``, and every bin has the width ``…_width``.
    """
    (site,) = hidden_sites(model)
    activations = _activations(model, site, test, config.optimizer.precision)
    return [
        *(
            PanelRecord(measure, "1", 0.0, value)
            for measure, value in measure_activations(activations).items()
        ),
        *_histogram("activation_histogram", activations.flatten()),
        *_histogram("mean_activation_histogram", activations.mean(0)),
    ]


def _histogram(measure: str, values: torch.Tensor) -> list[PanelRecord]:
    low, high = torch.stack(values.aminmax()).tolist()
    reach = high - low or 1.0  # if all values are equal, they are in the first bin
    if not math.isfinite(reach):  # no bins: the run is told to have diverged
        return []
    shares = (torch.histc(values - low, HISTOGRAM_BINS, 0, reach) / len(values)).tolist()
    return [
        PanelRecord(f"{measure}_low", "1", 0.0, low),
        PanelRecord(f"{measure}_width", "1", 0.0, reach / HISTOGRAM_BINS),
        *(PanelRecord(measure, "1", float(number), share) for number, share in enumerate(shares)),
    ]


def _measure_units(model: nn.Module, test: Split, config: RunConfig) -> list[PanelRecord]:
    """Return the measures of dropbench.engine.units for every hidden layer."""
    return [
        PanelRecord(measure, str(number), 0.0, value)
        for number, site in enumerate(hidden_sites(model), start=1)
        for measure, value in measure_activations(
            _activations(model, site, test, config.optimizer.precision)
        ).items()
    ]


@torch.no_grad()
def _activations(model: nn.Module, site: DropoutLayer, split: Split, precision: str) -> torch.Tensor:
    """Return the activations at ``site`` for the first images of a split, ``(images, units)`` in float32."""
    recorded: list[torch.Tensor] = []

    def record(units: torch.Tensor) -> torch.Tensor:
        recorded.append(units.flatten(1).float())
        return units

    with tapped({site: record}):
        outputs_of(model, split.examples, split.positions[:MOST_IMAGES], precision)
    return torch.cat(recorded)


@torch.no_grad()
def errors_without_units(
    model: nn.Module, task: Predictor, test: Split, config: RunConfig
) -> dict[float, float]:
    """Return the test error for each of SHARES of hidden units removed; the mean over REPEATS choices.

    If the net allows it (see copies_fit), all choices are evaluated at once, as one larger batch from the
    first hidden site on. The layers before that site (a CNN's convolutions) are then computed once. So it is
    with the head of a library's net, whose classifier sees nothing else.
    """
    device = test.positions.device
    generator = torch_generator(config.repetition.seed, "panel", config.repetition.member, device=device)
    choices = [share for share in SHARES for _ in range(REPEATS if share else 1)]
    sites = hidden_sites(model)
    at_once = len(choices) if copies_fit(config) or sites[0].site == "head" else 1
    masks: dict[DropoutLayer, torch.Tensor] = {}  # for all choices, drawn when a site's units are first seen
    chosen = slice(0)

    def remover(site: DropoutLayer) -> Callable[[torch.Tensor], torch.Tensor]:
        def remove(units: torch.Tensor) -> torch.Tensor:
            shape = units.shape[1:]
            if site not in masks:
                masks[site] = _masks(choices, shape.numel(), generator).view(len(choices), 1, *shape)
            if site is sites[0]:
                spread = units.expand(at_once, *units.shape)
            else:
                spread = units.view(at_once, -1, *shape)
            return (spread * masks[site][chosen]).flatten(0, 1)

        return remove

    model.eval()
    size = _BATCH if at_once > 1 else evaluation_batch(model, test.examples, config.optimizer.precision)
    faults = torch.zeros(len(choices), dtype=torch.float64, device=device)
    with tapped({site: remover(site) for site in sites}):
        for start in range(0, len(choices), at_once):
            chosen = slice(start, start + at_once)
            for part in torch.split(test.positions, size):
                inputs, targets = test.examples.batch(part)
                with autocast(device, config.optimizer.precision):
                    outputs = model(inputs).view(at_once, len(part), -1)
                faults[chosen] += task.faults(outputs, targets).sum(1)
    errors = [task.error_of(found, len(test.positions)) for found in faults.tolist()]
    return {
        share: sum(found) / len(found)
        for share in SHARES
        if (found := [error for choice, error in zip(choices, errors, strict=True) if choice == share])
    }


def _masks(choices: list[float], units: int, generator: torch.Generator) -> torch.Tensor:
    """Return masks ``(choices, units)`` that remove the share of units of each choice, rounded."""
    masks = torch.ones(len(choices), units, device=generator.device)
    for mask, share in zip(masks, choices, strict=True):
        order = torch.randperm(units, generator=generator, device=generator.device)
        mask[order[: round(share * units)]] = 0
    return masks
