"""A sweep's pictures on the page: the metric against p, and the curves of training."""

import math

import pandas as pd

from dropbench.report.render.chart import LOG_SCALE, Chart, add_line, colour, graded, new_figure, symbol
from dropbench.report.statistics import mean_interval
from dropbench.report.sweep.pictures import AXIS_LABELS, horizontal_axis, is_wide, lines_of
from dropbench.report.sweep.sweep import Setting, Sweep, mean_of
from dropbench.report.units.panel import MEASURES, Panel
from dropbench.run.result import ERROR_WITHOUT_UNITS, SHARES

_MOST_CURVES = 8


def sweep_charts(sweep: Sweep, epochs: pd.DataFrame) -> list[Chart]:
    """The metric against the sweep's main axis, and loss and error against the epoch."""
    charts = []
    if sum(bool(sweep.test(setting)) for setting in sweep.settings) >= 2:
        charts.append(_against_axis(sweep))
    return [*charts, *_curves(sweep, epochs)]


def _against_axis(sweep: Sweep) -> Chart:
    x_axis = horizontal_axis(sweep)
    figure = new_figure(AXIS_LABELS[x_axis], f"test {sweep.metric.label}")
    lines = lines_of(sweep, x_axis)
    ticks: set[float] = set()
    for number, (label, settings) in enumerate(lines.items()):
        xs = [float(setting.axes[x_axis]) for setting in settings]
        found = [mean_interval(list(sweep.test(setting).values())) for setting in settings]
        band = ([e.mean - e.below for e in found], [e.mean + e.above for e in found])
        name = label or "mean and 95 % interval"
        add_line(
            figure, number, name, xs, [e.mean for e in found], band if any(e.above for e in found) else None
        )
        dots = [
            (x, value, seed)
            for x, setting in zip(xs, settings, strict=True)
            for seed, value in sweep.test(setting).items()
        ]
        figure.add_scatter(
            x=[dot[0] for dot in dots], y=[dot[1] for dot in dots], text=[f"seed {dot[2]}" for dot in dots],
            mode="markers",
            marker={"color": colour(number), "size": 5, "opacity": 0.5, "symbol": symbol(number)},
            name=f"{label}, seeds" if label else "every seed", legendgroup=name, showlegend=len(lines) == 1,
        )  # fmt: skip
        ticks.update(xs)
    on_lines = {id(setting) for settings in lines.values() for setting in settings}
    for setting in sweep.settings:
        if setting.drops_nothing and sweep.test(setting) and id(setting) not in on_lines:
            level = mean_of(sweep.test(setting))
            figure.add_hline(
                y=level, line={"dash": "dash", "width": 1, "color": "grey"}, annotation_text="no dropout"
            )
    if is_wide(sweep):
        figure.update_yaxes(**LOG_SCALE)
    if x_axis == "train_size":
        figure.update_xaxes(**LOG_SCALE)
    if x_axis == "p_drop":
        shown = sorted(ticks)
        figure.update_xaxes(range=[min(shown) - 0.03, max(shown) + 0.03])
        figure.update_layout(
            xaxis2={
                "overlaying": "x", "side": "top", "matches": "x", "showgrid": False, "zeroline": False,
                "title": {"text": "p_keep = 1 − p_drop, the 2014 paper's p", "font": {"size": 11}},
                "tickvals": shown, "ticktext": [f"{1 - tick:.4g}" for tick in shown],
            }
        )  # fmt: skip
        figure.add_scatter(
            x=shown, y=[None] * len(shown), xaxis="x2", hoverinfo="skip", showlegend=False, mode="markers"
        )
    what = f"Test {sweep.metric.label} against {x_axis}"
    return Chart(what, f"{what}. {_in_words(sweep)}", figure)


def _in_words(sweep: Sweep) -> str:
    """The means, for whoever hears the picture."""
    metric = sweep.metric
    parts = [
        f"{sweep.label(setting) or 'one setting'}: {metric.value(mean_of(sweep.test(setting)))}"
        for setting in sweep.settings
        if sweep.test(setting)
    ]
    return f"Means: {'; '.join(parts[:20])}{' and more' if len(parts) > 20 else ''}."


def _curves(sweep: Sweep, epochs: pd.DataFrame) -> list[Chart]:
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
    charts = []
    for column, what in (("loss", "loss, nats"), ("error_percent", "error, %")):
        if means[f"val_{column}"].isna().all():
            continue
        figure = new_figure("epoch", f"{what} (mean over seeds)")
        for number, setting in enumerate(settings):
            if number not in means.index.get_level_values(0):
                continue
            curve = means.loc[number]
            for split, dash in (("train", "dot"), ("val", "solid")):
                figure.add_scatter(
                    x=curve.index.tolist(), y=curve[f"{split}_{column}"].tolist(), mode="lines",
                    name=sweep.label(setting) or "the run", legendgroup=str(number),
                    showlegend=split == "val",
                    line={"color": graded(number, len(settings)), "dash": dash}, text=[split] * len(curve),
                )  # fmt: skip
        title = what.partition(",")[0]
        caption = (
            f"Training ({title} with dropout on, dotted) and validation ({title}, solid) against the epoch"
        )
        last = means.groupby(level=0).tail(1)[f"val_{column}"]
        words = "; ".join(
            f"{sweep.label(settings[int(number)]) or 'the run'} ends at {value:.4g}"
            for number, value in zip(last.index.get_level_values(0), last, strict=True)
            if not math.isnan(value)
        )
        charts.append(Chart(caption, f"{caption}. On validation {words}.", figure))
    return charts


def _told_apart(sweep: Sweep) -> list[Setting]:
    """As many settings as curves can be told apart: all, or evenly chosen ones with both ends."""
    with_runs = [setting for setting in sweep.settings if setting.run_ids]
    if len(with_runs) <= _MOST_CURVES:
        return with_runs
    step = (len(with_runs) - 1) / (_MOST_CURVES - 1)
    return [with_runs[round(step * number)] for number in range(_MOST_CURVES)]


def panel_charts(panel: Panel) -> list[Chart]:
    """Each measure of the hidden units against the sweep's main axis; the error without a share of them."""
    x_axis = horizontal_axis(panel.sweep)
    charts = []
    for measure in MEASURES:
        figure = new_figure(AXIS_LABELS[x_axis], measure.label)
        words = []
        for number, layer in enumerate(panel.layers):
            points = [
                (float(setting.axes[x_axis]), panel.estimate(setting, measure.name, layer))
                for setting in panel.settings
                if panel.has(setting, layer) and not math.isnan(float(setting.axes[x_axis]))
            ]
            points.sort(key=lambda point: point[0])
            found = [estimate for _, estimate in points]
            band = ([e.mean - e.below for e in found], [e.mean + e.above for e in found])
            name = f"hidden layer {layer}"
            add_line(figure, number, name, [x for x, _ in points], [e.mean for e in found], band)
            words.append(f"{name} {', '.join(f'{e.mean:.{measure.digits}f}' for e in found)}")
        caption = f"{measure.label[0].upper()}{measure.label[1:]} against {x_axis}"
        charts.append(Chart(caption, f"{caption}: {'; '.join(words)}.", figure))
    if any(panel.by_seed(setting, ERROR_WITHOUT_UNITS) for setting in panel.settings):
        figure = new_figure("share of hidden units removed at random", "test error, %")
        for number, setting in enumerate(panel.settings):
            means = [panel.estimate(setting, ERROR_WITHOUT_UNITS, at=share).mean for share in SHARES]
            add_line(figure, number, panel.sweep.label(setting) or "the runs", list(SHARES), means)
        caption = "Test error with a share of the hidden units removed"
        charts.append(Chart(caption, f"{caption}, a line for each setting.", figure))
    return charts
