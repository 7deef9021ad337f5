"""Features, reconstructions and histograms of autoencoders, as in Figs. 7 and 8 of the 2014 paper."""

import math
from pathlib import Path

import numpy as np

from dropbench.report.figure import Axis, Figure, Images, Series, Subplot
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
_ONE_SEED = "the first seed"


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
            features, originals = _centred(arrays["features"]), arrays["originals"]
            grid = Images(features, columns=math.ceil(math.sqrt(len(features))))
            pairs = Images(np.concatenate([originals, arrays["reconstructions"]]), columns=len(originals))
            name = f"first-layer weights, {setting_name(panel.sweep, setting)}"
            above.append(Subplot(images=grid, title=name))
            below.append(Subplot(images=pairs, title="test images, and what the net makes of them"))
    if not above:
        return None
    return Figure(
        "features",
        picture_title(panel.sweep.fields, _ONE_SEED),
        "First-layer weights, and reconstructions of test images",
        (*above, *below),
        columns=len(above),
        size=(5.2 * len(above), 6.6),
        heights=(5, 1.1),
    )


def histograms_figure(panel: Panel) -> Figure:
    """The histograms of activations and of the units' mean activations, of the lowest seed."""
    subplots = []
    for measure, label in HISTOGRAMS.items():
        outlines = (_outline(panel, setting, measure, n) for n, setting in enumerate(panel.settings))
        subplots.append(Subplot(Axis(label), Axis("density", log=measure in _LOG), tuple(outlines)))
    title = picture_title(panel.sweep.fields, _ONE_SEED)
    caption = "histograms of activations"
    return Figure("activations", title, caption, tuple(subplots), columns=2, size=(10, 4))


def _centred(features: np.ndarray) -> np.ndarray:
    """Each feature on a scale of its own from 0 to 1, with a weight of 0 in the middle."""
    largest = np.abs(features).max(axis=(1, 2, 3), keepdims=True)
    scaled: np.ndarray = 0.5 + 0.5 * features / np.where(largest > 0, largest, 1)
    return scaled


def _outline(panel: Panel, setting: Setting, measure: str, number: int) -> Series:
    """The outline of a histogram, from 0 at its lower end to 0 at its upper end."""

    def value(name: str, at: float = 0.0) -> float:
        return panel.values[name, "1", at][_first_run(setting)]

    low, width = value(f"{measure}_low"), value(f"{measure}_width")
    edges = [low + width * edge for edge in range(HISTOGRAM_BINS + 1)]
    heights = [value(measure, bin_) / width for bin_ in range(HISTOGRAM_BINS)]
    name, xs, ys = setting_name(panel.sweep, setting), (edges[0], *edges), (0.0, *heights, 0.0)
    return Series(name, xs, ys, Style(number), markers=False, steps=True)


def _first_run(setting: Setting) -> str:
    return setting.run_ids[min(setting.run_ids)]
