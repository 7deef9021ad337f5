"""A figure as data, as a table is: what to draw and the numbers in it. Rendering is elsewhere.

A new figure is one function that returns a Figure, and one test of it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropbench.report.style import REFERENCE, Style

if TYPE_CHECKING:  # a terminal that only shows tables need not wait for numpy
    import numpy as np

    from dropbench.report.statistics import Estimate

_MOST_TOLD = 20
_POWERS = [10.0**power for power in range(-9, 10)]
_MANY_DECADES = 1e4
_FAR = 5
_MARGIN = 0.06


@dataclass(frozen=True)
class Axis:
    """One axis: its label, with the unit, and its scale."""

    label: str = ""
    log: bool = False
    ticks: tuple[float, ...] = ()
    """The places of the only ticks; none: the renderer chooses."""
    whole: bool = False
    """Whether ticks stand at whole numbers alone."""
    complement: str = ""
    """The label of a second scale, of 1 − value, on the other side; empty where there is none."""
    categories: tuple[str, ...] = ()
    """The words that stand at 0, 1, 2, …, from the bottom up, in place of numbers."""
    span: tuple[float, float] | None = None
    """The lowest and the highest place shown, where what lies beyond is cut off; None: all are shown."""


@dataclass(frozen=True)
class Series:
    """Points ``(x, y)`` in order, with intervals from ``low`` to ``high`` and the values of their seeds.

    NaN marks where nothing was measured.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: Style
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    seeds: tuple[Mapping[int, float], ...] = ()
    """The values by seed, for each point."""
    band: bool = False
    """Whether intervals are a band everywhere; else they are bars in a file."""
    joined: bool = True
    markers: bool = True
    hollow: bool = False
    steps: bool = False
    """Whether y stays until the next x, as on a Pareto front and in a histogram."""
    examples: tuple[float, ...] = ()
    """How many examples each point stands for, by the area of its marker; none: all areas are the same."""
    sideways: bool = False
    """Whether intervals and seeds are of x, as in rows under each other."""
    companion_of: str = ""
    """The name of the series that it goes with; it then has no place of its own in the legend."""
    faint: bool = False

    @property
    def intervals(self) -> list[tuple[float, float, float]]:
        """The ``(x, low, high)`` of every interval that has a width: that of one seed has none."""
        bounds = zip(self.x, self.low, self.high, strict=bool(self.low))
        return [(x, low, high) for x, low, high in bounds if low < high]

    @property
    def reach(self) -> tuple[list[float], list[float]]:
        """How far each interval reaches below its mean, and above."""
        bounds = list(zip(self.x if self.sideways else self.y, self.low, self.high, strict=True))
        return [mean - low for mean, low, _ in bounds], [high - mean for mean, _, high in bounds]

    @property
    def dots(self) -> list[tuple[float, float, int]]:
        """Every seed's ``(x, y, seed)``."""
        return [
            (value, y, seed) if self.sideways else (x, value, seed)
            for x, y, by_seed in zip(self.x, self.y, self.seeds, strict=bool(self.seeds))
            for seed, value in by_seed.items()
        ]


@dataclass(frozen=True)
class Level:
    """A horizontal line through the whole subplot, with a band from ``low`` to ``high`` if there is one."""

    name: str
    y: float
    style: Style = REFERENCE
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, eq=False)
class Images:
    """A grid of images ``(n, channels, height, width)`` of values 0 to 1, row by row."""

    images: "np.ndarray[Any, Any]"
    columns: int


@dataclass(frozen=True)
class Subplot:
    """Series and levels on a pair of axes, or a grid of images."""

    x: Axis = Axis()
    y: Axis = Axis()
    series: tuple[Series, ...] = ()
    levels: tuple[Level, ...] = ()
    images: Images | None = None
    title: str = ""
    remark: str = ""
    """A sentence more for whoever does not see it."""

    @property
    def names(self) -> list[str]:
        """The names that a legend lists."""
        shown = [series.name for series in self.series if not series.companion_of]
        return [*shown, *(level.name for level in self.levels)]

    @property
    def xs(self) -> list[float]:
        """All finite places."""
        return [x for series in self.series for x in series.x if math.isfinite(x)]

    @property
    def ys(self) -> list[float]:
        """All finite heights."""
        heights = [y for series in self.series for y in series.y] + [level.y for level in self.levels]
        return [y for y in heights if math.isfinite(y)]

    @property
    def alt(self) -> str:
        """Every mean in words; of long lines the ends, the lowest and the highest."""
        told = [_in_words(series, self.y) for series in self.series if not series.companion_of]
        told += [f"{level.name} {level.y:.4g}" for level in self.levels]
        if self.images is not None:
            number, _, height, width = self.images.images.shape
            told.append(f"{number} images of {height} × {width} pixels")
        means = "; ".join(words for words in told if words)
        return " ".join(sentence for sentence in (means and f"{means}.", self.remark) if sentence)


@dataclass(frozen=True)
class Figure:
    """One picture: subplots in a grid of ``columns``, with the title above them.

    ``name`` starts the name of its file; ``size`` is in inches. The page shows each subplot as a chart. The
    caption says what the figure shows; with several subplots, what all of them have in common.
    """

    name: str
    title: str
    caption: str
    subplots: tuple[Subplot, ...]
    columns: int = 1
    size: tuple[float, float] = (6.4, 4.4)
    heights: tuple[float, ...] = ()
    """How high the rows of the grid are, relative to each other; none: all the same."""
    one_legend: bool = False
    """Whether one legend below serves all subplots."""
    page_only: bool = False
    """Whether it is no picture file."""

    @property
    def has_images(self) -> bool:
        """Whether any subplot shows images, which no chart can hold."""
        return any(subplot.images is not None for subplot in self.subplots)

    def caption_of(self, subplot: Subplot) -> str:
        """The caption of one of its subplots alone."""
        if len(self.subplots) == 1:
            return self.caption
        what = subplot.title or subplot.y.label
        shown = f"{what[:1].upper()}{what[1:]}"
        return shown if subplot.images else f"{shown} against {subplot.x.label}; {self.caption}"

    @property
    def alt(self) -> str:
        """The figure in words, for whoever does not see it."""
        return " ".join(f"{self.caption_of(subplot)}. {subplot.alt}" for subplot in self.subplots)


def estimates_series(
    name: str, x: Iterable[float], estimates: "Sequence[Estimate]", style: Style, **more: Any
) -> Series:
    """A series of means with their 95 % intervals; ``more`` are other fields of Series."""
    low = tuple(each.mean - each.below for each in estimates)
    high = tuple(each.mean + each.above for each in estimates)
    return Series(name, tuple(map(float, x)), tuple(e.mean for e in estimates), style, low, high, **more)


def spans_widely(values: Sequence[float]) -> bool:
    """Whether positive values, one at least, are so far apart that a linear scale hides the small ones."""
    return bool(values) and min(values) > 0 and max(values) > 5 * min(values)


def cut(values: Iterable[float], step: float) -> float:
    """The place above which values are so few and so high that they would flatten all others; else infinite.

    It is five times as far above the lowest value as the lower half of the values reaches, with ``step``
    added, a difference that matters. So it moves with the values, and needs no 0.
    """
    ordered = sorted(value for value in values if math.isfinite(value))
    if not ordered:
        return math.inf
    lowest, middle = ordered[0], ordered[(len(ordered) - 1) // 2]
    highest = lowest + _FAR * (middle - lowest + step)
    return highest if ordered[-1] > highest else math.inf


def span_below(series: Iterable[Series], highest: float) -> tuple[float, float] | None:
    """The span that holds all points up to ``highest``, with their intervals; None where that is infinite."""
    if math.isinf(highest):
        return None
    places = [
        place
        for each in series
        for point in zip(each.y, each.low or each.y, each.high or each.y, strict=True)
        if point[0] <= highest
        for place in point
        if math.isfinite(place)
    ]
    margin = _MARGIN * (max(places) - min(places))
    return min(places) - margin, max(places) + margin


def log_ticks(values: Iterable[float]) -> list[float]:
    """The ticks of a logarithmic axis that shows these values: 1, 2, 5, 10, …, or only powers of ten."""
    positive = [value for value in values if value > 0]
    many = bool(positive) and max(positive) > _MANY_DECADES * min(positive)
    return _POWERS if many else [digit * power for power in _POWERS for digit in (1, 2, 5)]


def tick_text(value: float) -> str:
    """A tick as people write it: 0.2, 50,000; small powers of ten as 1e-05."""
    return f"{value:g}" if value < 1e-3 else f"{value:,.12g}"


def _in_words(series: Series, y_axis: Axis) -> str:
    points = [(x, y) for x, y in zip(series.x, series.y, strict=True) if not math.isnan(x + y)]
    told = [f"{y:.4g} at {x:.4g}" for x, y in points]
    if series.sideways:
        told = [f"{y_axis.categories[round(y)]} {x:.4g}" for x, y in points]
    elif len(told) > _MOST_TOLD:
        order = sorted(range(len(points)), key=lambda place: points[place][1])
        told = [told[0], f"lowest {told[order[0]]}", f"highest {told[order[-1]]}", told[-1]]
    return f"{series.name}: {', '.join(told)}" if told else ""
