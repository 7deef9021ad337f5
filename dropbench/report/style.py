"""Colours, markers and dashes by number: the same in files, on the page and in the terminal."""

from dataclasses import dataclass
from typing import NamedTuple

# Okabe & Ito's colours, told apart with every kind of colour vision, but for yellow, which is too light on
# white, and black, which vanishes on the dark page: a grey stands for both.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
GREY = "#666666"
"""The colour of what is no series: a level without dropout, a diagonal, a Pareto front."""
_SCALE = tuple(COLOURS[number] for number in (0, 5, 2, 4, 1))


class Marker(NamedTuple):
    """One marker as matplotlib, Plotly and a terminal write it."""

    file: str
    page: str
    letter: str


class Dash(NamedTuple):
    """One kind of line as matplotlib and Plotly write it."""

    file: str
    page: str


MARKERS = (
    Marker("o", "circle", "●"),
    Marker("s", "square", "■"),
    Marker("D", "diamond", "◆"),
    Marker("^", "triangle-up", "▲"),
    Marker("v", "triangle-down", "▼"),
    Marker("P", "cross", "✚"),
    Marker("*", "star", "★"),
)
DASHES = (Dash("-", "solid"), Dash("--", "dash"), Dash("-.", "dashdot"), Dash(":", "dot"))
SOLID, DASHED, DASH_DOTTED, DOTTED = range(len(DASHES))


@dataclass(frozen=True)
class Style:
    """How a mark is told from the others of its subplot.

    ``number`` gives it a colour and a marker; without one it is grey. ``dash`` is its place in DASHES.
    ``shade``, from 0 to 1, colours one of many lines that follow one another, from blue to vermilion.
    """

    number: int | None = None
    dash: int = SOLID
    shade: float | None = None

    @property
    def colour(self) -> str:
        """The colour, as ``#rrggbb``."""
        if self.shade is not None:
            return _between(self.shade)
        return GREY if self.number is None else COLOURS[self.number % len(COLOURS)]

    @property
    def marker(self) -> Marker:
        """The marker; after as many as there are colours, another one for each colour."""
        number = self.number or 0
        return MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]

    @property
    def line(self) -> Dash:
        """The kind of line."""
        return DASHES[self.dash % len(DASHES)]


REFERENCE = Style(dash=DASHED)
"""The style of what the series are read against."""


def line_style(number: int) -> Style:
    """The style of one of many lines: those of one colour differ in marker and dash; the first are solid.

    No style is repeated among the first 196.
    """
    return Style(number, dash=number // len(COLOURS))


def level_style(number: int) -> Style:
    """The style of a horizontal line of this number: never solid, as series are."""
    return Style(number, dash=DASHED + number % (len(DASHES) - DASHED))


def channels(colour: str) -> tuple[int, ...]:
    """Red, green and blue of ``#rrggbb``, from 0 to 255."""
    return tuple(bytes.fromhex(colour[1:]))


def _between(place: float) -> str:
    """The colour at a place, from 0 to 1, of the scale from blue to vermilion."""
    step, share = divmod(place * (len(_SCALE) - 1), 1)
    ends = _SCALE[int(step)], _SCALE[min(int(step) + 1, len(_SCALE) - 1)]
    mixed = (round(low + share * (high - low)) for low, high in zip(*map(channels, ends), strict=True))
    return f"#{bytes(mixed).hex()}"
