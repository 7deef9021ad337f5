"""The panel against p: a small picture for each measure, and the errors without a share of the units."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from dropbench.report.statistics import Estimate, mean_interval
from dropbench.report.sweep.pictures import (
    AXIS_LABELS,
    COLOURS,
    MARKERS,
    error_bars,
    horizontal_axis,
    lines_of,
    picture,
    title_of,
)
from dropbench.report.sweep.sweep import Setting, axis_text
from dropbench.report.units.panel import MEASURES, Panel
from dropbench.run.result import ERROR_WITHOUT_UNITS, SHARES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = ("-", "--", ":", "-.")


def save_panel(panel: Panel, path: Path) -> Path:
    """Draw all of a panel into one picture file.

    Raises:
        DropbenchError: if it cannot be written.

    """
    with picture(path, title_of(panel.sweep), figsize=(13, 6.6)) as figure:
        grid = figure.subplots(2, 4).flatten()
        for axes, measure in zip(grid, MEASURES, strict=False):
            for number, layer in enumerate(panel.layers):
                name = f"hidden layer {layer}" if len(panel.layers) > 1 else ""

                def of(setting: Setting, measure: str = measure.name, layer: str = layer) -> Estimate:
                    return panel.estimate(setting, measure, layer)

                _draw_lines(axes, panel, of, name, number)
            axes.set_title(measure.label, fontsize="medium")
        for number, (name, by_seed) in enumerate(
            (
                ("test", lambda setting: panel.by_seed(setting, ERROR_WITHOUT_UNITS)),
                ("train", lambda setting: panel.by_seed(setting, "train_error_percent")),
            )
        ):

            def error(setting: Setting, by_seed: Callable[..., dict[int, float]] = by_seed) -> Estimate:
                return mean_interval(list(by_seed(setting).values()))

            _draw_lines(grid[-2], panel, error, name, number)
        grid[-2].set_title("error, %, without dropout", fontsize="medium")
        draw_errors_without_units(grid[-1], panel)
        for axes in grid[:-1]:
            axes.set_xlabel(AXIS_LABELS[horizontal_axis(panel.sweep)], fontsize="small")
        for axes in grid:
            axes.grid(alpha=0.25)
            if axes.get_legend_handles_labels()[1]:
                axes.legend(frameon=False, fontsize="x-small")
    return path


def _draw_lines(
    axes: "Axes", panel: Panel, estimate: Callable[[Setting], Estimate], name: str, number: int
) -> None:
    """One line along the sweep's axis for each combination of the others, with 95 % intervals."""
    x_axis = horizontal_axis(panel.sweep)
    measured = panel.settings
    for line, (label, settings) in enumerate(lines_of(panel.sweep, x_axis).items()):
        points = [setting for setting in settings if setting in measured]
        reference = panel.sweep.reference(points[0]) if points else None
        if reference in measured and reference not in points and x_axis == "p_drop":
            points.insert(0, reference)  # every variant's line begins at the net without dropout
        found = [estimate(setting) for setting in points]
        colour = COLOURS[(line * 2 + number) % len(COLOURS)]
        axes.errorbar(
            [setting.axes[x_axis] for setting in points],
            [e.mean for e in found],
            yerr=error_bars(found),
            color=colour,
            marker=MARKERS[number % len(MARKERS)],
            ls=_STYLES[number % len(_STYLES)],
            markersize=4,
            capsize=2,
            label=", ".join(part for part in (label, name) if part) or None,
        )


def draw_errors_without_units(axes: "Axes", panel: Panel) -> "Axes":
    """Test error against the share of hidden units removed, a line for every setting."""
    from matplotlib import colormaps

    settings = panel.settings
    for number, setting in enumerate(settings):
        found = [panel.estimate(setting, ERROR_WITHOUT_UNITS, at=share) for share in SHARES]
        axes.errorbar(
            SHARES,
            [e.mean for e in found],
            yerr=error_bars(found),
            color=colormaps["viridis"](0.9 * number / max(1, len(settings) - 1)),
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            capsize=2,
            label=", ".join(f"{axis} {axis_text(setting.axes[axis], 'all')}" for axis in panel.sweep.varying),
        )
    axes.set_title("test error, %, with units removed", fontsize="medium")
    axes.set_xlabel("share of hidden units removed at random", fontsize="small")
    return axes
