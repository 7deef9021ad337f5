"""What autoencoders learn, as in Figs. 7 and 8 of the 2014 paper: features, reconstructions, histograms."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dropbench.report.figure import Axis, Figure, Images, Stairs, Subplot
from dropbench.report.style import Style
from dropbench.report.sweep.lines import picture_title, setting_name
from dropbench.report.sweep.sweep import Setting
from dropbench.report.units.panel import Panel
from dropbench.results import predictions
from dropbench.run.result import HISTOGRAM_BINS

HISTOGRAMS = {
    "activation_histogram": "activation of a unit for an image",
    "mean_activation_histogram": "mean activation of a unit over the images",
}
_LOG = ("activation_histogram",)  # most activations are at or near 0


def features_figure(panel: Panel, folder: Path) -> Figure | None:
    """The first layer's features, a grid for every setting side by side, and reconstructions below.

    They are those of the lowest seed, from the arrays in ``folder``; None where no run's were kept.

    Raises:
        DropbenchError: if a file of features is damaged.

    """
    above, below = [], []
    for setting in panel.settings:
        if predictions.path_of(folder, _first_run(setting)).exists():
            arrays = predictions.load(folder, _first_run(setting))
            name = setting_name(panel.sweep, setting)
            above.append(_features(arrays, f"first-layer weights, {name}"))
            below.append(_reconstructions(arrays, "test images, and what the net makes of them"))
    if not above:
        return None
    return Figure(
        "features",
        _title(panel),
        "First-layer weights, and reconstructions of test images",
        (*above, *below),
        columns=len(above),
        size=(5.2 * len(above), 6.6),
        heights=(5, 1.1),
    )


def histograms_figure(panel: Panel) -> Figure:
    """The histograms of activations and of the units' mean activations, of the lowest seed."""
    subplots = tuple(
        Subplot(
            Axis(label),
            Axis("density", log=measure in _LOG),
            tuple(_stairs(panel, setting, measure, number) for number, setting in enumerate(panel.settings)),
            caption=f"Histogram: {label}",
        )
        for measure, label in HISTOGRAMS.items()
    )
    return Figure(
        "activations", _title(panel), "Histograms of activations", subplots, columns=2, size=(10, 4)
    )


def _features(arrays: Mapping[str, np.ndarray], title: str) -> Subplot:
    """A square grid of features, each on a scale of its own from 0 to 1, with a weight of 0 in the middle."""
    features = arrays["features"]
    largest = np.abs(features).max(axis=(1, 2, 3), keepdims=True)
    scaled = 0.5 + 0.5 * features / np.where(largest > 0, largest, 1)
    return _images(scaled, math.ceil(math.sqrt(len(features))), title)


def _reconstructions(arrays: Mapping[str, np.ndarray], title: str) -> Subplot:
    """A row of test images above a row of what the net makes of them."""
    pairs = np.concatenate([arrays["originals"], arrays["reconstructions"]])
    return _images(pairs, len(arrays["originals"]), title)


def _images(images: np.ndarray, columns: int, title: str) -> Subplot:
    return Subplot(Axis(), Axis(), (Images(images, columns),), title)


def _stairs(panel: Panel, setting: Setting, measure: str, number: int) -> Stairs:
    def value(name: str, at: float = 0.0) -> float:
        return panel.values[name, "1", at][_first_run(setting)]

    low, width = value(f"{measure}_low"), value(f"{measure}_width")
    return Stairs(
        setting_name(panel.sweep, setting),
        tuple(low + width * edge for edge in range(HISTOGRAM_BINS + 1)),
        tuple(value(measure, bin_) / width for bin_ in range(HISTOGRAM_BINS)),
        Style(number),
    )


def _first_run(setting: Setting) -> str:
    return setting.run_ids[min(setting.run_ids)]


def _title(panel: Panel) -> str:
    return picture_title(panel.sweep.fields, "the first seed")
