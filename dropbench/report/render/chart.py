"""Subplots as interactive charts of the page: Plotly's JSON, without importing Plotly."""

import json
import math
from typing import Any

from dropbench.report.figure import (
    Axis,
    Level,
    Series,
    Stairs,
    Subplot,
    log_ticks,
    tick_text,
    values_of,
)
from dropbench.report.style import Style, channels

Trace = dict[str, Any]
_LARGEST = 18
"""The diameter of the largest marker, in pixels, and the least share of its area."""
_SMALLEST = 0.03
_MARGIN = 0.03
"""How far an axis of probabilities reaches beyond its outermost points."""
_WHOLE = 10
"""Up to so many whole numbers there is a tick at each."""


def chart_json(subplot: Subplot) -> str:
    """A chart as JSON that may stand in a script element: no ``<`` is left in it, and NaN is null."""
    return json.dumps(_finite(chart(subplot)), allow_nan=False).replace("<", "\\u003c")


def chart(subplot: Subplot) -> dict[str, Any]:
    """The ``data`` and ``layout`` of a Plotly figure; the page's theme gives text and grid their colours."""
    several = sum(bool(series.seeds) for series in subplot.of_kind(Series)) > 1
    data: list[Trace] = []
    for mark in subplot.marks:
        if isinstance(mark, Series):
            data += _series(mark, subplot, several)
        elif isinstance(mark, Level):
            data += _level(mark, values_of(subplot, "x"))
        elif isinstance(mark, Stairs):
            data.append(_stairs(mark))
    layout: dict[str, Any] = {
        "template": "none",
        "margin": {"l": 64, "r": 16, "t": 48, "b": 56},
        "legend": {"orientation": "h", "y": -0.25, "x": 0, "yanchor": "top"},
        "hovermode": "closest",
        "showlegend": len(subplot.names) > 1 or any(trace.get("showlegend") for trace in data),
        "xaxis": _axis(subplot.x, values_of(subplot, "x")),
        "yaxis": _axis(subplot.y, values_of(subplot, "y")),
    }
    if not subplot.y.label:
        layout["yaxis"]["title"] = {"text": subplot.title}
    if subplot.x.complement and (places := sorted(set(values_of(subplot, "x")))):
        layout["xaxis"]["range"] = [places[0] - _MARGIN, places[-1] + _MARGIN]
        layout["xaxis2"] = _complement(subplot.x, places)
        # An axis is only drawn where a trace is on it.
        data.append({**_trace("", places, [None] * len(places)), "xaxis": "x2", "hoverinfo": "skip",
                     "showlegend": False, "mode": "markers"})  # fmt: skip
    return {"data": data, "layout": layout}


def _trace(name: str, xs: Any, ys: Any, **more: Any) -> Trace:
    return {"type": "scatter", "name": name, "x": list(xs), "y": list(ys), "legendgroup": name, **more}


def _series(series: Series, subplot: Subplot, several: bool) -> list[Trace]:
    """The band, the line and the seeds of a series; ``several`` says that others have seeds, too."""
    colour, symbol = series.style.colour, series.style.marker.page
    ys: list[Any] = list(series.y)
    if subplot.y.categories:
        ys = [subplot.y.categories[round(y)] for y in series.y]
    marker: dict[str, Any] = {"color": colour, "symbol": symbol, "size": 8}
    line = _trace(series.name, series.x, ys, mode=_mode(series), marker=marker, line=_line(series))
    if series.hollow:
        marker |= {"symbol": "diamond-open", "size": 11}
    if series.faint:
        marker["size"] = 4
        line["opacity"] = 0.5
    if series.companion_of:
        line |= {"showlegend": False, "legendgroup": series.companion_of}
    if series.sizes:
        largest = max(series.sizes)
        marker["sizemode"], marker["sizeref"] = "area", 2 * largest / _LARGEST**2
        marker["size"] = [max(size, _SMALLEST * largest) for size in series.sizes]
        line["text"] = [f"{size:,.0f} examples" for size in series.sizes]
    banded = series.joined and any(low < high for low, high in zip(series.low, series.high, strict=True))
    if series.low and not series.joined:
        line["error_x" if series.sideways else "error_y"] = _error(series)
    band = _band(series.name, series.x, series.low, series.high, series.style) if banded else []
    seeds = _seeds(series, ys, several) if any(series.seeds) else []
    return [*band, line, *seeds]


def _mode(series: Series) -> str:
    kinds = ["lines"] * series.joined + ["markers"] * series.markers
    return "+".join(kinds)


def _line(series: Series) -> dict[str, Any]:
    width = 1 if series.sizes or series.faint else 2
    shape = "hv" if series.steps else "linear"
    return {"color": series.style.colour, "dash": series.style.line.page, "width": width, "shape": shape}


def _error(series: Series) -> dict[str, Any]:
    means = series.x if series.sideways else series.y
    above = [high - mean for mean, high in zip(means, series.high, strict=True)]
    below = [mean - low for mean, low in zip(means, series.low, strict=True)]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below}


def _seeds(series: Series, ys: list[Any], several: bool) -> list[Trace]:
    """A dot for the value of each seed."""
    xs, values, texts = [], [], []
    for x, y, by_seed in zip(series.x, ys, series.seeds, strict=True):
        for seed, value in by_seed.items():
            xs.append(value if series.sideways else x)
            values.append(y if series.sideways else value)
            texts.append(f"seed {seed}")
    look = {
        "color": series.style.colour, "size": 5, "opacity": 0.5, "symbol": series.style.marker.page
    }  # fmt: skip
    dots = _trace("every seed", xs, values, mode="markers", marker=look, text=texts, showlegend=not several)
    return [dots | {"legendgroup": series.name}]


def _level(level: Level, xs: list[float]) -> list[Trace]:
    """A line from the first to the last place of the chart, which its legend can name."""
    ends = [min(xs, default=0.0), max(xs, default=1.0)]
    line = {"color": level.style.colour, "dash": level.style.line.page, "width": 1.5}
    band = _band(level.name, ends, [level.low] * 2, [level.high] * 2, level.style, 0.08)
    drawn = _trace(level.name, ends, [level.y] * 2, mode="lines", line=line)
    return [*(band if level.low < level.high else []), drawn]


def _band(name: str, xs: Any, low: Any, high: Any, style: Style, opacity: float = 0.15) -> list[Trace]:
    """The area between ``low`` and ``high``, where both are numbers."""
    points = [p for p in zip(xs, low, high, strict=True) if not any(map(math.isnan, p))]
    around = [x for x, _, _ in points], [high for _, _, high in points], [low for _, low, _ in points]
    red, green, blue = channels(style.colour)
    outline = _trace(name, [*around[0], *reversed(around[0])], [*around[1], *reversed(around[2])])
    return [
        outline
        | {
            "mode": "lines", "line": {"width": 0}, "fill": "toself",
            "fillcolor": f"rgba({red},{green},{blue},{opacity})", "hoverinfo": "skip", "showlegend": False,
        }
    ]  # fmt: skip


def _stairs(stairs: Stairs) -> Trace:
    heights = [*stairs.heights, stairs.heights[-1]]
    line = {"color": stairs.style.colour, "shape": "hv", "width": 2}
    return _trace(stairs.name, stairs.edges, heights, mode="lines", line=line)


def _axis(axis: Axis, values: list[float]) -> dict[str, Any]:
    shown: dict[str, Any] = {"title": {"text": axis.label}, "automargin": True, "zeroline": False}
    if axis.log:
        ticks = axis.ticks or log_ticks(values)
        shown |= {"type": "log", "tickvals": list(ticks), "ticktext": [tick_text(tick) for tick in ticks]}
    if axis.whole and max(values, default=0) <= _WHOLE:
        shown["dtick"] = 1
    if axis.categories:
        shown |= {"type": "category", "categoryorder": "array", "categoryarray": list(axis.categories)}
    return shown


def _complement(axis: Axis, places: list[float]) -> dict[str, Any]:
    """The second scale, of 1 − value, on the other side."""
    return {
        "overlaying": "x", "side": "top", "matches": "x", "showgrid": False, "zeroline": False,
        "title": {"text": axis.complement, "font": {"size": 11}},
        "tickvals": places, "ticktext": [f"{1 - place:.4g}" for place in places],
    }  # fmt: skip


def _finite(content: Any) -> Any:
    """The same with None for every number that JSON does not have."""
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
