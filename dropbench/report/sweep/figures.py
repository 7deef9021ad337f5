"""The figures of a sweep: the metric against p, and the curves of training."""

import pandas as pd

from dropbench.report.figure import (
    PAGE,
    Axis,
    Figure,
    Level,
    Mark,
    Series,
    Subplot,
    estimates_series,
    spans_widely,
)
from dropbench.report.statistics import mean_interval
from dropbench.report.style import DOTTED, SOLID, Style
from dropbench.report.sweep.lines import axis_of, horizontal_axis, lines_of, sweep_picture_title
from dropbench.report.sweep.sweep import Setting, Sweep, mean_of

_MOST_CURVES = 8
_LOSSES = (("loss", "loss, nats"), ("error_percent", "error, %"))


def error_figure(sweep: Sweep) -> Figure:
    """The metric on the test images against the sweep's main axis: mean, 95 % interval and every seed.

    One line for each combination of the other varying axes; the net without dropout is a level where no
    line passes through it. The scale is logarithmic where one bad setting would flatten all others.
    """
    x_axis = horizontal_axis(sweep)
    lines = lines_of(sweep, x_axis)
    on_lines = {id(setting) for settings in lines.values() for setting in settings}
    marks: list[Mark] = [
        estimates_series(
            label or "mean and 95 % interval",
            [setting.axes[x_axis] for setting in settings],
            [mean_interval(list(sweep.test(setting).values())) for setting in settings],
            Style(number),
            seeds=tuple(sweep.test(setting) for setting in settings),
        )
        for number, (label, settings) in enumerate(lines.items())
    ]
    marks += [
        Level("no dropout", mean_of(sweep.test(setting)))
        for setting in sweep.settings
        if setting.drops_nothing and sweep.test(setting) and id(setting) not in on_lines
    ]
    means = [mean_of(sweep.test(setting)) for setting in sweep.settings if sweep.test(setting)]
    places = [setting.axes[x_axis] for settings in lines.values() for setting in settings]
    what = f"test {sweep.metric.label}"
    return Figure(
        f"{sweep.metric.name}-against-p",
        sweep_picture_title(sweep),
        f"Test {sweep.metric.label} against {x_axis}",
        (Subplot(axis_of(x_axis, places), Axis(what, log=spans_widely(means)), tuple(marks)),),
    )


def curve_figures(sweep: Sweep, epochs: pd.DataFrame) -> list[Figure]:
    """Loss and error against the epoch, means over seeds, from the rows of epochs.csv; for the page alone."""
    settings = _told_apart(sweep)
    by_run = {
        run_id: number for number, setting in enumerate(settings) for run_id in setting.run_ids.values()
    }
    rows = epochs[epochs["run_id"].isin(by_run)]
    if rows.empty:
        return []
    means = (
        rows.assign(setting=rows["run_id"].map(by_run)).groupby(["setting", "epoch"]).mean(numeric_only=True)
    )
    return [
        _curve_figure(sweep, settings, means, column, label)
        for column, label in _LOSSES
        if not means[f"val_{column}"].isna().all()
    ]


def _curve_figure(
    sweep: Sweep, settings: list[Setting], means: pd.DataFrame, column: str, label: str
) -> Figure:
    """One quantity against the epoch; ``means`` are by the setting's number and the epoch."""
    curves = [
        _curve(means.loc[[number]].droplevel(0), column, split, sweep.label(setting) or "the run", shade)
        for number, setting in enumerate(settings)
        if number in means.index.get_level_values(0)
        for shade in [number / max(1, len(settings) - 1)]
        for split in ("train", "val")
    ]
    what = label.partition(",")[0]
    caption = f"Training ({what} with dropout on, dotted) and validation ({what}, solid) against the epoch"
    subplot = Subplot(Axis("epoch"), Axis(f"{label} (mean over seeds)"), tuple(curves))
    return Figure(
        f"{what}-against-epoch", sweep_picture_title(sweep), caption, (subplot,), shown_on=frozenset({PAGE})
    )


def _curve(curve: pd.DataFrame, column: str, split: str, name: str, shade: float) -> Series:
    """The column of one split against the epoch; training is dotted."""
    training = split == "train"
    return Series(
        f"{name}, training" if training else name,
        tuple(map(float, curve.index)),
        tuple(map(float, curve[f"{split}_{column}"])),
        Style(dash=DOTTED if training else SOLID, shade=shade),
        markers=False,
        companion_of=name if training else "",
    )


def _told_apart(sweep: Sweep) -> list[Setting]:
    """As many settings as curves can be told apart: all, or evenly chosen ones with both ends."""
    with_runs = [setting for setting in sweep.settings if setting.run_ids]
    if len(with_runs) <= _MOST_CURVES:
        return with_runs
    step = (len(with_runs) - 1) / (_MOST_CURVES - 1)
    return [with_runs[round(step * number)] for number in range(_MOST_CURVES)]
