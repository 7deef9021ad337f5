"""What every interactive picture of the page is: a plotly figure, and what it shows in words."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropbench.report.sweep.pictures import COLOURS

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "star")
DASHES = ("solid", "dash", "dot", "dashdot")
_TICKS = [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 5)]
LOG_SCALE = {"type": "log", "tickvals": _TICKS, "ticktext": [f"{tick:,.12g}" for tick in _TICKS]}
"""A logarithmic axis with whole numbers at its ticks: plotly's own writes 2 for 20, too."""


@dataclass(frozen=True)
class Chart:
    """A figure with its caption and, for whoever does not see it, what it shows."""

    caption: str
    alt: str
    figure: "Figure"

    @property
    def data(self) -> str:
        """The figure as JSON that may stand in a script element: no ``<`` is left in it."""
        return json.dumps(json.loads(self.figure.to_json())).replace("<", "\\u003c")


def new_figure(x_title: str, y_title: str, **layout: Any) -> "Figure":
    """An empty figure in the page's style; colours of text and grid are the theme's."""
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.update_layout(
        template="none",
        margin={"l": 64, "r": 16, "t": 48, "b": 56},
        legend={"orientation": "h", "y": -0.25, "x": 0, "yanchor": "top"},
        hovermode="closest",
        xaxis={"title": {"text": x_title}, "automargin": True, "zeroline": False},
        yaxis={"title": {"text": y_title}, "automargin": True, "zeroline": False},
        **layout,
    )
    return figure


def colour(number: int) -> str:
    """The same as in the pictures that are files."""
    return COLOURS[:-1][number % (len(COLOURS) - 1)]  # black would vanish in the dark


def graded(number: int, of: int) -> str:
    """A colour for each of many lines that follow one another."""
    from plotly.colors import sample_colorscale

    found: str = sample_colorscale("Turbo", [0.1 + 0.75 * number / max(1, of - 1)])[0]
    return found


def symbol(number: int) -> str:
    """Tells lines apart where colours do not."""
    return SYMBOLS[number % len(SYMBOLS)]


def faint(hexadecimal: str, opacity: float = 0.15) -> str:
    """A colour for a band."""
    red, green, blue = (int(hexadecimal[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def add_line(
    figure: "Figure",
    number: int,
    name: str,
    xs: list[float],
    ys: list[float],
    band: tuple[list[float], list[float]] | None = None,
    **where: Any,
) -> None:
    """A line with marks, and its band of (lower, upper) if there is one."""
    paint = colour(number)
    if band is not None:
        lower, upper = band
        figure.add_scatter(
            x=[*xs, *reversed(xs)], y=[*upper, *reversed(lower)], fill="toself", fillcolor=faint(paint),
            line={"width": 0}, hoverinfo="skip", showlegend=False, legendgroup=name, mode="lines", **where,
        )  # fmt: skip
    figure.add_scatter(
        x=xs, y=ys, name=name, legendgroup=name, mode="lines+markers",
        line={"color": paint, "dash": DASHES[number // len(SYMBOLS) % len(DASHES)]},
        marker={"symbol": symbol(number), "size": 8}, **where,
    )  # fmt: skip
