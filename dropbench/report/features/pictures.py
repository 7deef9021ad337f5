"""What autoencoders learn, as in Figs. 7 and 8 of the 2014 paper: features, reconstructions, histograms."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dropbench.report.sweep.pictures import COLOURS, picture, picture_title
from dropbench.report.sweep.sweep import Setting, axis_text
from dropbench.report.units.panel import Panel
from dropbench.results import predictions
from dropbench.run.result import HISTOGRAM_BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Arrays = Mapping[str, np.ndarray]
HISTOGRAMS = {
    "activation_histogram": "activation of a unit for an image",
    "mean_activation_histogram": "mean activation of a unit over the images",
}
_ONE_SEED = "the first seed"
_SEPARATION = 1  # pixel between two images of a grid


def save_features(panel: Panel, folder: Path, path: Path) -> Path | None:
    """Draw the first layer's features, a grid for every setting side by side, and reconstructions below.

    They are those of the lowest seed. None where no run's features were kept in ``folder``.

    Raises:
        DropbenchError: if the picture cannot be written, or a file of features is damaged.

    """
    found: list[tuple[Setting, Arrays]] = []
    for setting in panel.settings:
        run_id = setting.run_ids[min(setting.run_ids)]
        if predictions.path_of(folder, run_id).exists():
            found.append((setting, predictions.load(folder, run_id)))
    if not found:
        return None
    with picture(path, picture_title(panel.sweep.fields, _ONE_SEED), (5.2 * len(found), 6.6)) as figure:
        grid = figure.subplots(2, len(found), squeeze=False, height_ratios=(5, 1.1))
        for (features, below), (setting, arrays) in zip(grid.T, found, strict=True):
            draw_images(features, _centred(arrays["features"]), columns=_side(len(arrays["features"])))
            features.set_title(f"first-layer weights, {_name(panel, setting)}")
            pairs = np.concatenate([arrays["originals"], arrays["reconstructions"]])
            draw_images(below, pairs, columns=len(arrays["originals"]))
            below.set_title("test images, and what the net makes of them", fontsize="small")
    return path


def save_histograms(panel: Panel, path: Path) -> Path:
    """Draw the histograms of activations and of the units' mean activations, every setting in one.

    Raises:
        DropbenchError: if the picture cannot be written.

    """
    with picture(path, picture_title(panel.sweep.fields, _ONE_SEED), (10, 4)) as figure:
        for axes, (measure, label) in zip(figure.subplots(1, 2), HISTOGRAMS.items(), strict=True):
            for number, setting in enumerate(panel.settings):
                _draw_histogram(axes, panel, setting, measure, COLOURS[number % len(COLOURS)])
            axes.set_xlabel(label)
            axes.set_ylabel("density")
            axes.grid(alpha=0.25)
            axes.legend(frameon=False, fontsize="small")
            if measure == "activation_histogram":  # most are at or near 0
                axes.set_yscale("log")
    return path


def draw_images(axes: "Axes", images: np.ndarray, columns: int) -> "Axes":
    """A grid of images ``(n, channels, height, width)`` of values 0 to 1, row by row."""
    n, channels, height, width = images.shape
    rows = -(-n // columns)
    canvas = np.ones((rows * (height + _SEPARATION), columns * (width + _SEPARATION), channels))
    for number, image in enumerate(images):
        top, left = (number // columns) * (height + _SEPARATION), (number % columns) * (width + _SEPARATION)
        canvas[top : top + height, left : left + width] = np.moveaxis(image, 0, -1)
    shown = canvas[:-_SEPARATION, :-_SEPARATION].clip(0, 1)
    axes.imshow(shown if channels == 3 else shown.mean(2), cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    return axes


def _centred(features: np.ndarray) -> np.ndarray:
    """Each feature on a scale of its own from 0 to 1, with a weight of 0 in the middle."""
    largest = np.abs(features).max(axis=(1, 2, 3), keepdims=True)
    scaled: np.ndarray = 0.5 + 0.5 * features / np.where(largest > 0, largest, 1)
    return scaled


def _side(images: int) -> int:
    return int(np.ceil(np.sqrt(images)))


def _draw_histogram(axes: "Axes", panel: Panel, setting: Setting, measure: str, colour: str) -> None:
    run_id = setting.run_ids[min(setting.run_ids)]

    def figure(name: str, at: float = 0.0) -> float:
        return panel.values[name, "1", at][run_id]

    low, width = figure(f"{measure}_low"), figure(f"{measure}_width")
    edges = [low + width * number for number in range(HISTOGRAM_BINS + 1)]
    shares = [figure(measure, number) for number in range(HISTOGRAM_BINS)]
    axes.stairs([share / width for share in shares], edges, color=colour, label=_name(panel, setting), lw=1.6)


def _name(panel: Panel, setting: Setting) -> str:
    axes: Sequence[str] = panel.sweep.varying or ("p_drop",)
    return ", ".join(f"{axis} {axis_text(setting.axes[axis], 'all')}" for axis in axes)
