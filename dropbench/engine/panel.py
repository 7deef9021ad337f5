"""What dropout does to the units of a trained net: activity, independence, and how it bears their loss.

Looked at are the units at the hidden dropout sites, on the test images, which have no part in training.
"""

from collections.abc import Callable

import torch
from torch import nn

from dropbench.dropout.control import copies_fit, dropout_layers, tapped
from dropbench.dropout.layer import DropoutLayer
from dropbench.engine.device import autocast
from dropbench.engine.evaluate import EVALUATION_BATCH, error_percent, predict
from dropbench.engine.tasks import Split
from dropbench.engine.units import measure_activations
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig
from dropbench.run.result import ERROR_WITHOUT_UNITS, HISTOGRAM_BINS, SHARES, PanelRecord
from dropbench.run.streams import torch_generator

MOST_IMAGES = 4096
"""Images whose activations are held at once: 4,096 of 8,192 units are 128 MiB."""
REPEATS = 5
"""Random choices of the units to remove, for each share."""
_BATCH = 32  # times 46 choices of units


def hidden_sites(model: nn.Module) -> list[DropoutLayer]:
    """The sites whose units are looked at; raises UsageError where there are none."""
    sites = [layer for layer in dropout_layers(model) if layer.site == "hidden"]
    if not sites:
        raise UsageError(
            "This model has no hidden dropout site, whose units could be looked at.", "Leave out `panel`."
        )
    return sites


def measure_classifier(model: nn.Module, train: Split, test: Split, config: RunConfig) -> list[PanelRecord]:
    """The panel of a classifier.

    ``train_error_percent`` is that of the trained net on its training images, without dropout;
    ``test_error_percent`` (ERROR_WITHOUT_UNITS) that after removing the share ``at`` of units at random from
    every hidden layer at once, the others as they were: the mean over five choices.
    """
    predicted = predict(model, train.examples, train.positions, config.optimizer.precision)
    records = [PanelRecord("train_error_percent", "", 0.0, error_percent(predicted, train.labels))]
    records += _measure_units(model, test, config)
    errors = errors_without_units(model, test, config)
    # Last, and of these the largest share: its row tells that a panel is whole.
    return records + [PanelRecord(ERROR_WITHOUT_UNITS, "", share, error) for share, error in errors.items()]


def measure_autoencoder(model: nn.Module, test: Split, config: RunConfig) -> list[PanelRecord]:
    """The panel of an autoencoder: its hidden layer's measures, and two histograms.

    ``activation_histogram`` is of all activations, ``mean_activation_histogram`` of the units' means over
    the images: the share in each bin, by its number. The bins begin at ``…_low`` and have ``…_width``.
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
    low = values.min().item()
    reach = values.max().item() - low or 1.0  # where all are alike, the first bin has them
    shares = (torch.histc(values - low, HISTOGRAM_BINS, 0, reach) / len(values)).tolist()
    return [
        PanelRecord(f"{measure}_low", "1", 0.0, low),
        PanelRecord(f"{measure}_width", "1", 0.0, reach / HISTOGRAM_BINS),
        *(PanelRecord(measure, "1", float(number), share) for number, share in enumerate(shares)),
    ]


def _measure_units(model: nn.Module, test: Split, config: RunConfig) -> list[PanelRecord]:
    """The measures of dropbench.engine.units of every hidden layer."""
    return [
        PanelRecord(measure, str(number), 0.0, value)
        for number, site in enumerate(hidden_sites(model), start=1)
        for measure, value in measure_activations(
            _activations(model, site, test, config.optimizer.precision)
        ).items()
    ]


@torch.no_grad()
def _activations(model: nn.Module, site: DropoutLayer, split: Split, precision: str) -> torch.Tensor:
    """Of the first images of a split, ``(images, units)`` in float32."""
    kept: list[torch.Tensor] = []

    def keep(units: torch.Tensor) -> torch.Tensor:
        kept.append(units.flatten(1).float())
        return units

    with tapped({site: keep}):
        predict(model, split.examples, split.positions[:MOST_IMAGES], precision)
    return torch.cat(kept)


@torch.no_grad()
def errors_without_units(model: nn.Module, test: Split, config: RunConfig) -> dict[float, float]:
    """Test error in percent for every share of hidden units removed, the mean over REPEATS choices.

    Where the net allows it (see copies_fit), all choices pass through it at once, as one larger batch from
    the first hidden site on: what comes before it, a CNN's convolutions, is computed once.
    """
    device = test.positions.device
    generator = torch_generator(config.repetition.seed, "panel", config.repetition.member, device=device)
    choices = [share for share in SHARES for _ in range(REPEATS if share else 1)]
    at_once = len(choices) if copies_fit(config) else 1
    sites = hidden_sites(model)
    masks: dict[DropoutLayer, torch.Tensor] = {}  # of all choices, drawn when the units are first seen
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
    wrong = torch.zeros(len(choices), dtype=torch.float64, device=device)
    with tapped({site: remover(site) for site in sites}):
        for start in range(0, len(choices), at_once):
            chosen = slice(start, start + at_once)
            for part in torch.split(test.positions, _BATCH if at_once > 1 else EVALUATION_BATCH):
                images, labels = test.examples.batch(part)
                with autocast(device, config.optimizer.precision):
                    outputs = model(images).view(at_once, len(part), -1)
                wrong[chosen] += (outputs.argmax(2) != labels).sum(1)
    errors = (100 * wrong / len(test.positions)).tolist()
    return {
        share: sum(found) / len(found)
        for share in SHARES
        if (found := [error for choice, error in zip(choices, errors, strict=True) if choice == share])
    }


def _masks(choices: list[float], units: int, generator: torch.Generator) -> torch.Tensor:
    """0 for a removed unit, ``(choices, units)``; each choice removes its share of the units, rounded."""
    masks = torch.ones(len(choices), units, device=generator.device)
    for mask, share in zip(masks, choices, strict=True):
        order = torch.randperm(units, generator=generator, device=generator.device)
        mask[order[: round(share * units)]] = 0
    return masks
