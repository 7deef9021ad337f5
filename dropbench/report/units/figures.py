"""The figure of a panel: each measure against p, and the errors without a share of the units."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from dropbench.report.figure import Axis, Figure, Series, Subplot, estimates_series
from dropbench.report.statistics import Estimate
from dropbench.report.style import Style
from dropbench.report.sweep.lines import (
    axis_of,
    horizontal_axis,
    lines_of,
    setting_name,
    sweep_picture_title,
)
from dropbench.report.sweep.sweep import Setting
from dropbench.report.units.panel import MEASURES, Panel
from dropbench.run.result import ERROR_WITHOUT_UNITS, SHARES

_COLUMNS = 4


def panel_figure(panel: Panel) -> Figure:
    """A subplot for each measure and each error; those of which nothing was measured are left out."""
    subplots = [
        *(_measure(panel, measure.name, measure.label) for measure in MEASURES),
        _against_axis(
            panel,
            "error, %, without dropout",
            {
                "test": lambda setting: panel.estimate(setting, ERROR_WITHOUT_UNITS),
                "train": lambda setting: panel.estimate(setting, "train_error_percent"),
            },
        ),
        _without_units(panel),
    ]
    shown = tuple(subplot for subplot in subplots if subplot.marks)
    rows = -(-len(shown) // _COLUMNS)
    return Figure(
        "panel",
        sweep_picture_title(panel.sweep),
        "Measures of the hidden units on the test images, and errors without a share of them",
        shown,
        columns=min(_COLUMNS, len(shown)),
        size=(13, 3.3 * rows),
    )


def _measure(panel: Panel, measure: str, label: str) -> Subplot:
    """One measure of the units against the sweep's axis, a line for each hidden layer."""

    def of_layer(layer: str) -> Callable[[Setting], Estimate]:
        return lambda setting: panel.estimate(setting, measure, layer)

    return _against_axis(panel, label, {f"hidden layer {layer}": of_layer(layer) for layer in panel.layers})


def _against_axis(
    panel: Panel, title: str, estimates: Mapping[str, Callable[[Setting], Estimate]]
) -> Subplot:
    """Lines along the sweep's axis, one for each of ``estimates`` and each combination of the other axes."""
    x_axis = horizontal_axis(panel.sweep)
    marks: list[Series] = []
    for line, (label, settings) in enumerate(lines_of(panel.sweep, x_axis).items()):
        joined = _from_reference(panel, [s for s in settings if s in panel.settings], x_axis)
        for number, (name, estimate) in enumerate(estimates.items()):
            points = [(s.axes[x_axis], found) for s in joined if (found := estimate(s)).count]
            if points:
                xs, found_here = zip(*points, strict=True)
                full_name = ", ".join(part for part in (label, name) if part)
                style = Style(line * len(estimates) + number, dash=number)
                marks.append(estimates_series(full_name, xs, found_here, style))
    axis = axis_of(x_axis, (x for series in marks for x in series.x))
    return Subplot(replace(axis, complement=""), Axis(), tuple(marks), title, _caption(title, x_axis))


def _from_reference(panel: Panel, settings: list[Setting], x_axis: str) -> list[Setting]:
    """The settings of a line along p_drop begin at the net without dropout, whatever their variant."""
    reference = panel.sweep.reference(settings[0]) if settings and x_axis == "p_drop" else None
    if reference is None or reference in settings or reference not in panel.settings:
        return settings
    return [reference, *settings]


def _without_units(panel: Panel) -> Subplot:
    """Test error against the share of hidden units removed, a line for every setting."""
    settings = panel.settings
    marks = []
    for number, setting in enumerate(settings):
        found = [panel.estimate(setting, ERROR_WITHOUT_UNITS, at=share) for share in SHARES]
        if any(each.count for each in found):
            style = Style(number, shade=number / max(1, len(settings) - 1))
            marks.append(estimates_series(setting_name(panel.sweep, setting), SHARES, found, style))
    title = "test error, %, with units removed"
    x_axis = Axis("share of hidden units removed at random")
    return Subplot(x_axis, Axis(), tuple(marks), title, _caption(title, x_axis.label))


def _caption(title: str, against: str) -> str:
    return f"{title[0].upper()}{title[1:]}, against {against}"
