"""The variance shift of dropout, as a table and as subplots: what a layer gets in training and at test."""

from collections.abc import Callable, Iterable

from dropbench.report.figure import Axis, Subplot, estimates_series
from dropbench.report.statistics import mean_interval
from dropbench.report.style import Style
from dropbench.report.sweep.lines import setting_name
from dropbench.report.sweep.sweep import Setting, axis_columns, sweep_title
from dropbench.report.table import Column, Row, Table
from dropbench.report.units.panel import Panel, estimate_text, panel_row

_MOST_LAYERS = 8
"""Layers in a table; deep nets have a hundred."""
_VARIANCE, _SHIFT = "variance_ratio", "shift_ratio"


def variance_tables(panel: Panel) -> list[Table]:
    """A table of the layers, of many some at equal steps, or none where no variance was measured."""
    names = panel.layers_of_variances
    if not names:
        return []
    axes = axis_columns(panel.sweep)
    shifts = [Column("shift ratio\nof batch norm", estimate_text(_SHIFT, 3))] if _normalises(panel) else []
    return [
        Table(
            "panel-variances",
            f"Variance of what goes into a layer, in training and at test: {sweep_title(panel.sweep)}",
            (
                *axes,
                Column("layer", lambda row: row["layer"]),
                Column("variance in training\n/ at test", estimate_text(_VARIANCE, 3)),
                *shifts,
            ),
            tuple(
                _row(panel, setting, name)
                for name in _some(names)
                for setting in panel.settings
                if panel.variance_ratio(setting, name)
            ),
            tuple(_notes(panel)),
            lead=len(axes) + 1,
        )
    ]


def variance_subplots(panel: Panel) -> list[Subplot]:
    """Both ratios against the number of the layer, a line for every setting."""
    return [
        _subplot(panel, "variance of a layer's input, training / test", panel.variance_ratio),
        _subplot(panel, "shift ratio of batch norm (Li et al.)", panel.shift_ratio),
    ]


def _subplot(panel: Panel, title: str, ratios: Callable[[Setting, str], dict[int, float]]) -> Subplot:
    names = panel.layers_of_variances
    settings = [each for each in panel.settings if any(ratios(each, name) for name in names)]
    lines = tuple(
        estimates_series(
            setting_name(panel.sweep, setting),
            range(1, len(names) + 1),
            [mean_interval(list(ratios(setting, name).values())) for name in names],
            Style(number, shade=number / max(1, len(settings) - 1)),
        )
        for number, setting in enumerate(settings)
    )
    kind = "batch norm" if _normalises(panel) else "layer"
    return Subplot(
        Axis(f"number of the {kind}, in the order of a pass", whole=True), Axis(), lines, title=title
    )


def _row(panel: Panel, setting: Setting, name: str) -> Row:
    ratios = {_VARIANCE: panel.variance_ratio(setting, name), _SHIFT: panel.shift_ratio(setting, name)}
    found = {of: mean_interval(list(by_seed.values())) for of, by_seed in ratios.items()}
    return {**panel_row(panel, setting, found), "layer": name}


def _some(names: list[str]) -> list[str]:
    steps = max(1, min(len(names), _MOST_LAYERS) - 1)
    places = {round(step * (len(names) - 1) / steps) for step in range(steps + 1)}
    return [names[place] for place in sorted(places)]


def _normalises(panel: Panel) -> bool:
    return any(panel.shift_ratio(s, name) for s in panel.settings for name in panel.layers_of_variances)


def _notes(panel: Panel) -> Iterable[str]:
    yield (
        "On training examples, with the masks of training and without; batch norm uses its running "
        "statistics both times. The ratio is 1 where nothing is dropped before the layer."
    )
    if _normalises(panel):
        yield (
            "Shift ratio: the running variance and the variance at test, the larger divided by the smaller "
            "(Li et al. 2019). Running variances lag behind the weights, so it is not 1 without dropout, "
            "either: compare it with p = 0."
        )
    names = panel.layers_of_variances
    if len(shown := _some(names)) < len(names):
        yield f"{len(shown)} of the net's {len(names)} layers, at equal steps; the picture shows all."
    dropping = [setting for setting in panel.settings if not setting.drops_nothing]
    ratios = [ratio for s in dropping for name in names for ratio in panel.variance_ratio(s, name).values()]
    if ratios and set(ratios) == {1.0}:
        yield "Here nothing is dropped before any of these layers, so no variance shifts."
