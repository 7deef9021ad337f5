"""The figure of a panel: each measure against p, the errors without a share of the units, the variances."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from dropbench.report.figure import Axis, Figure, Series, Subplot, estimates_series
from dropbench.report.statistics import Estimate
from dropbench.report.style import Style
from dropbench.report.sweep.lines import axis_of, horizontal_axis, lines_of, setting_name, sweep_picture_title
from dropbench.report.sweep.sweep import Setting
from dropbench.report.units.panel import MEASURES, Panel
from dropbench.report.units.variances import variance_subplots
from dropbench.run.result import SHARES

_COLUMNS = 4
_Estimates = Mapping[str, Callable[[Setting], Estimate]]


def panel_figure(panel: Panel) -> Figure:
    """A subplot for each measure and each error; those of which nothing was measured are left out."""
    errors: _Estimates = {
        "test": partial(panel.estimate, measure=panel.test_error),
        "train": partial(panel.estimate, measure=panel.train_error),
    }
    subplots = [_measure(panel, measure.name, measure.label) for measure in MEASURES]
    subplots += [
        _against_axis(panel, f"{panel.metric.label}, without dropout", errors),
        _without_units(panel),
        *variance_subplots(panel),
    ]
    shown = tuple(subplot for subplot in subplots if subplot.series)
    size = (13, 3.3 * -(-len(shown) // _COLUMNS))
    caption = "on the test examples"
    return Figure("panel", sweep_picture_title(panel.sweep), caption, shown, min(_COLUMNS, len(shown)), size)


def _measure(panel: Panel, measure: str, label: str) -> Subplot:
    """One measure of the units against the sweep's axis, a line for each hidden layer."""
    layers: _Estimates = {
        f"hidden layer {layer}": partial(panel.estimate, measure=measure, layer=layer)
        for layer in panel.layers
    }
    return _against_axis(panel, label, layers)


def _against_axis(panel: Panel, title: str, estimates: _Estimates) -> Subplot:
    """Lines along the sweep's axis, one for each of ``estimates`` and each combination of the other axes."""
    x_axis = horizontal_axis(panel.sweep)
    lines: list[Series] = []
    for line, (label, settings) in enumerate(lines_of(panel.sweep, x_axis).items()):
        joined = _from_reference(panel, [s for s in settings if s in panel.settings], x_axis)
        for number, (name, estimate) in enumerate(estimates.items()):
            found = {setting.axes[x_axis]: estimate(setting) for setting in joined}
            measured = {x: each for x, each in found.items() if each.count}
            if measured:
                full_name = ", ".join(part for part in (label, name) if part)
                style = Style(line * len(estimates) + number, dash=number)
                lines.append(estimates_series(full_name, measured, list(measured.values()), style))
    axis = axis_of(x_axis, (x for series in lines for x in series.x))
    return Subplot(replace(axis, complement=""), Axis(), tuple(lines), title=title)


def _from_reference(panel: Panel, settings: list[Setting], x_axis: str) -> list[Setting]:
    """The settings of a line, from the net without dropout on if it is along p, whatever its variant."""
    reference = panel.sweep.reference(settings[0]) if settings and x_axis == "p_drop" else None
    if reference is None or reference in settings or reference not in panel.settings:
        return settings
    return [reference, *settings]


def _without_units(panel: Panel) -> Subplot:
    """Test error against the share of hidden units removed, a line for every setting."""
    settings = [s for s in panel.settings if panel.by_seed(s, panel.test_error)]
    lines = tuple(
        estimates_series(
            setting_name(panel.sweep, setting),
            SHARES,
            [panel.estimate(setting, panel.test_error, at=share) for share in SHARES],
            Style(number, shade=number / max(1, len(settings) - 1)),
        )
        for number, setting in enumerate(settings)
    )
    x_axis = Axis("share of hidden units removed at random")
    return Subplot(x_axis, Axis(), lines, title=f"test {panel.metric.label}, with units removed")
