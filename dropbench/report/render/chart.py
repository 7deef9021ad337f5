"""Subplots as interactive charts of the page: Plotly's JSON, without importing Plotly."""

import json
import math
from typing import Any

from dropbench.report.figure import Axis, Level, Series, Subplot, log_ticks, tick_text
from dropbench.report.style import Style, channels

Trace = dict[str, Any]
_LARGEST, _SMALLEST = 18, 0.03
"""The diameter of the largest marker, in pixels, and the least share of its area."""
_MARGIN = 0.03
"""How far an axis of probabilities reaches beyond its outermost points."""
_EACH_WHOLE = 10
"""Up to so many whole numbers there is a tick at each."""
_LAYOUT = {
    "template": "none",
    "margin": {"l": 64, "r": 16, "t": 48, "b": 56},
    "legend": {"orientation": "h", "yref": "container", "y": 0, "x": 0, "yanchor": "bottom"},
    "hovermode": "closest",
}


def chart_json(subplot: Subplot) -> str:
    """A chart as JSON that may stand in a script element: no ``<`` is left in it, and NaN is null."""
    return json.dumps(_finite(chart(subplot)), allow_nan=False).replace("<", "\\u003c")


def chart(subplot: Subplot) -> dict[str, Any]:
    """The ``data`` and ``layout`` of a Plotly figure; the page's theme gives text and grid their colours."""
    seeds_named = sum(bool(series.dots) for series in subplot.series) == 1
    data = [trace for series in subplot.series for trace in _series(series, subplot.y, seeds_named)]
    data += [trace for level in subplot.levels for trace in _level(level, subplot.xs)]
    layout: dict[str, Any] = {
        **_LAYOUT,
        "showlegend": len(subplot.names) > 1 or seeds_named,
        "xaxis": _axis(subplot.x, subplot.xs),
        "yaxis": _axis(subplot.y, subplot.ys, subplot.title),
    }
    if subplot.x.complement and (places := sorted(set(subplot.xs))):
        layout["xaxis"]["range"] = [places[0] - _MARGIN, places[-1] + _MARGIN]
        layout["xaxis2"] = _complement(subplot.x, places)
        # An axis is only drawn where a trace is on it.
        unseen = _trace("", places, [None] * len(places), mode="markers")
        data.append(unseen | {"xaxis": "x2", "hoverinfo": "skip", "showlegend": False})
    return {"data": data, "layout": layout}


def _trace(group: str, xs: Any, ys: Any, **more: Any) -> Trace:
    return {"type": "scatter", "name": group, "legendgroup": group, "x": list(xs), "y": list(ys), **more}


def _series(series: Series, y_axis: Axis, seeds_named: bool) -> list[Trace]:
    """The band, the line and the seeds of a series; a legend may have a word for the seeds."""
    style, group = series.style, series.companion_of or series.name
    kinds = ["lines"] * series.joined + ["markers"] * series.markers
    line = _trace(group, series.x, _named(series.y, y_axis), mode="+".join(kinds), marker=_marker(series))
    line |= {
        "name": series.name,
        "showlegend": not series.companion_of,
        "opacity": 0.5 if series.faint else 1,
        "line": {
            "color": style.colour, "dash": style.line.page, "shape": "hv" if series.steps else "linear",
            "width": 1 if series.examples or series.faint else 2,
        },
        "text": [f"{size:,.0f} examples" for size in series.examples],
    }  # fmt: skip
    if series.low and not series.joined:
        below, above = series.reach
        bars = {"type": "data", "symmetric": False, "array": above, "arrayminus": below}
        line["error_x" if series.sideways else "error_y"] = bars
    shaded = series.joined and series.intervals
    band = [_band(group, series.x, series.low, series.high, style)] if shaded else []
    return [*band, line, *([_seeds(series, y_axis, seeds_named)] if series.dots else [])]


def _marker(series: Series) -> dict[str, Any]:
    symbol = "diamond-open" if series.hollow else series.style.marker.page
    marker = {"color": series.style.colour, "symbol": symbol}
    if series.examples:
        largest = max(series.examples)
        sizes = [max(size, _SMALLEST * largest) for size in series.examples]
        return {**marker, "sizemode": "area", "sizeref": 2 * largest / _LARGEST**2, "size": sizes}
    return {**marker, "size": 4 if series.faint else 8 if series.joined else 11}


def _seeds(series: Series, y_axis: Axis, named: bool) -> Trace:
    """A dot for the value of each seed."""
    xs, ys, seeds = zip(*series.dots, strict=True)
    look = {"color": series.style.colour, "symbol": series.style.marker.page, "size": 5, "opacity": 0.5}
    dots = _trace(series.name, xs, _named(ys, y_axis), mode="markers", marker=look, showlegend=named)
    return dots | {"name": "every seed", "text": [f"seed {seed}" for seed in seeds]}


def _named(ys: tuple[float, ...], y_axis: Axis) -> list[Any]:
    """The words at these heights where the axis has words, else the heights."""
    return [y_axis.categories[round(y)] for y in ys] if y_axis.categories else list(ys)


def _level(level: Level, xs: list[float]) -> list[Trace]:
    """A line from the first to the last place of the chart, which its legend can name."""
    ends = (min(xs, default=0.0), max(xs, default=1.0))
    line = {"color": level.style.colour, "dash": level.style.line.page, "width": 1.5}
    drawn = _trace(level.name, ends, [level.y] * 2, mode="lines", line=line)
    if not level.low < level.high:
        return [drawn]
    return [_band(level.name, ends, (level.low,) * 2, (level.high,) * 2, level.style, 0.08), drawn]


def _band(
    group: str, xs: tuple[float, ...], low: tuple[float, ...], high: tuple[float, ...], style: Style,
    opacity: float = 0.15,
) -> Trace:  # fmt: skip
    """The area between ``low`` and ``high``, where both are numbers."""
    upper = [(x, y) for x, y in zip(xs, high, strict=True) if not math.isnan(y)]
    lower = [(x, y) for x, y in zip(xs, low, strict=True) if not math.isnan(y)]
    outline = zip(*upper, *reversed(lower), strict=True)
    colour = ",".join(map(str, (*channels(style.colour), opacity)))
    area = _trace(
        group, *outline, mode="lines", line={"width": 0}, fill="toself", fillcolor=f"rgba({colour})"
    )
    return area | {"hoverinfo": "skip", "showlegend": False}


def _axis(axis: Axis, values: list[float], title: str = "") -> dict[str, Any]:
    shown: dict[str, Any] = {"title": {"text": axis.label or title}, "automargin": True, "zeroline": False}
    if axis.log:
        ticks = list(axis.ticks) or log_ticks(values)
        shown |= {"type": "log", "tickvals": ticks, "ticktext": [tick_text(tick) for tick in ticks]}
    if axis.whole and max(values, default=0) <= _EACH_WHOLE:
        shown["dtick"] = 1
    if axis.span:
        shown["range"] = list(axis.span)
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
