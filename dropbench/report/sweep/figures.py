"""The figures of a sweep: the metric against p, and the curves of training."""

import logging
import math
from collections.abc import Sequence

import pandas as pd

from dropbench.report.figure import (
    Axis,
    Figure,
    Level,
    Series,
    Subplot,
    cut,
    estimates_series,
    span_below,
    spans_widely,
)
from dropbench.report.scale import DOUBLED
from dropbench.report.statistics import mean_interval
from dropbench.report.style import DOTTED, Style, line_style
from dropbench.report.sweep.lines import axis_of, horizontal_axis, lines_of, sweep_picture_title
from dropbench.report.sweep.sweep import Setting, Sweep, mean_of
from dropbench.run import telling
from dropbench.run.blocks.data import REGRESSION

_log = logging.getLogger(__name__)
_MOST_CURVES = 8
_FEW = 3
"""Lines of test examples that each have one of training examples beside it, and bands for intervals."""
_LOSSES = (("loss", "loss, nats"), ("error_percent", "error, %"))


def error_figure(sweep: Sweep) -> Figure:
    """The metric on test and training examples against the sweep's main axis, as Figure 9 of the 2014 paper.

    Both are means with 95 % intervals, the training examples' with dropout off; every seed is a dot on the
    test's. One line for each combination of the other varying axes, of which a few have a line for training,
    too; the net without dropout is a level where no line passes through it. The scale is logarithmic where
    one bad setting would flatten all others; training errors near 0 have no place on that. The NLL of a
    density has none either: there the axis ends below such a setting, and its label says where that is.
    """
    x_axis = horizontal_axis(sweep)
    lines = lines_of(sweep, x_axis)
    few = len(lines) <= _FEW
    on_lines = {id(setting) for settings in lines.values() for setting in settings}
    series = [
        estimates_series(
            label or "test",
            [setting.axes[x_axis] for setting in settings],
            [mean_interval(list(sweep.test(setting).values()), sweep.scale("test")) for setting in settings],
            line_style(number),
            seeds=tuple(sweep.test(setting) for setting in settings),
            band=few,
        )
        for number, (label, settings) in enumerate(lines.items())
    ]
    shown = [(setting, mean_of(sweep.test(setting))) for setting in sweep.settings if sweep.test(setting)]
    means = [mean for _, mean in shown]
    wide = sweep.scale("test").ratios and spans_widely(means)
    if few and not wide:
        series += [
            line
            for number, (label, settings) in enumerate(lines.items())
            if (line := _training(sweep, label, settings, x_axis, number)) is not None
        ]
    levels = tuple(
        Level("no dropout", mean_of(sweep.test(setting)))
        for setting in sweep.settings
        if setting.drops_nothing and sweep.test(setting) and id(setting) not in on_lines
    )
    places = [setting.axes[x_axis] for settings in lines.values() for setting in settings]
    trains = any(line.hollow for line in series)
    what = "test and training" if trains else "test"
    label = f"{'' if trains else 'test '}{sweep.metric.label}"
    highest = math.inf if sweep.scale("test").ratios else cut(means, math.log(DOUBLED))
    cut_off = [f"{mean:.0f} at {sweep.label(setting)}" for setting, mean in shown if mean > highest]
    y_axis = Axis(
        f"{label} (above: {'; '.join(cut_off)})" if cut_off else label,
        log=wide,
        span=span_below(series, highest),
    )
    subplot = Subplot(axis_of(x_axis, places), y_axis, tuple(series), levels)
    caption = f"{what[0].upper()}{what[1:]} {sweep.metric.label} against {x_axis}"
    return Figure(f"{sweep.metric.name}-against-p", sweep_picture_title(sweep), caption, (subplot,))


def _training(
    sweep: Sweep, label: str, settings: Sequence[Setting], x_axis: str, number: int
) -> Series | None:
    """The line of the training examples beside one of the test examples; None where none was measured."""
    measured = [setting for setting in settings if sweep.train(setting)]
    if not measured:
        return None
    return estimates_series(
        f"{label}, training" if label else "training, dropout off",
        [setting.axes[x_axis] for setting in measured],
        [mean_interval(list(sweep.train(s).values()), sweep.scale("train", s)) for s in measured],
        Style(number, dash=DOTTED),
        hollow=True,
        band=True,
        companion_of=label,
    )


def curve_figures(sweep: Sweep, epochs: pd.DataFrame) -> list[Figure]:
    """Loss and error against the epoch, means over seeds, from the rows of epochs.csv; for the page alone."""
    settings = _told_apart(sweep)
    by_run = {
        run_id: number for number, setting in enumerate(settings) for run_id in setting.run_ids.values()
    }
    rows = epochs[epochs["run_id"].isin(by_run)]
    if lacking := len(by_run) - rows["run_id"].nunique():
        runs = telling.counted(len(by_run), "run")
        what = "there are no curves" if rows.empty else "their curves are those of the others"
        _log.warning(f"epochs.csv has nothing of {lacking:,} of {runs} of {sweep.fields['model']}: {what}.")
    if rows.empty:
        return []
    means = (
        rows.assign(setting=rows["run_id"].map(by_run)).groupby(["setting", "epoch"]).mean(numeric_only=True)
    )
    figures = []
    for column, label in _LOSSES:
        if means[f"val_{column}"].isna().all():
            continue
        curves = [
            _curve(means.loc[[number], f"{split}_{column}"], split, sweep.label(setting) or "the run", shade)
            for number, setting in enumerate(settings)
            if number in means.index.get_level_values(0)
            for shade in [number / max(1, len(settings) - 1)]
            for split in ("train", "val")
        ]
        what = label.partition(",")[0]
        caption = (
            f"Training ({what} with dropout on, dotted) and validation ({what}, solid) against the epoch"
        )
        ys = [y for curve in curves for y in curve.y]
        highest = cut(ys, math.log(DOUBLED)) if sweep.task == REGRESSION else math.inf
        above = "" if math.isinf(highest) else f"; above: up to {max(ys):.0f}"
        y_axis = Axis(f"{label} (mean over seeds{above})", span=span_below(curves, highest))
        subplot = Subplot(Axis("epoch"), y_axis, tuple(curves))
        title = sweep_picture_title(sweep)
        figures.append(Figure(f"{what}-against-epoch", title, caption, (subplot,), page_only=True))
    return figures


def _curve(values: "pd.Series[float]", split: str, name: str, shade: float) -> Series:
    """The values of one split by setting and epoch; training is dotted."""
    xs, ys = (tuple(map(float, each)) for each in (values.index.get_level_values("epoch"), values))
    if split == "val":
        return Series(name, xs, ys, Style(shade=shade), markers=False)
    dotted = Style(dash=DOTTED, shade=shade)
    return Series(f"{name}, training", xs, ys, dotted, markers=False, companion_of=name)


def _told_apart(sweep: Sweep) -> list[Setting]:
    """The settings whose curves are drawn: all, or as many as can be told apart, evenly chosen."""
    with_runs = [setting for setting in sweep.settings if setting.run_ids]
    if len(with_runs) <= _MOST_CURVES:
        return with_runs
    step = (len(with_runs) - 1) / (_MOST_CURVES - 1)
    return [with_runs[round(step * number)] for number in range(_MOST_CURVES)]
