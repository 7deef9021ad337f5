"""A figure as data, as a table is: what to draw and the numbers in it. Rendering is elsewhere.

A new figure is one function that returns a Figure, and one test of it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dropbench.report.style import REFERENCE, Style

if TYPE_CHECKING:  # a terminal that only shows tables need not wait for numpy
    import numpy as np

    from dropbench.report.statistics import Estimate

FILE, PAGE = "file", "page"
"""Where a figure may be shown; a terminal draws the one that its table names."""
_MOST_TOLD = 20
_ONE_TWO_FIVE = tuple(digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5))
_DECADES = tuple(10.0**power for power in range(-9, 10))
_MANY_DECADES = 1e4
_SIDE_BY_SIDE = (10, 5.2)


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
    """What stands at 0, 1, 2, …, from the bottom up, in place of numbers."""


@dataclass(frozen=True)
class Series:
    """Points ``(x, y)`` in order, with intervals from ``low`` to ``high`` and the values of their seeds.

    Intervals are drawn as bars, with ``band`` as a band. ``sideways`` says that intervals and seeds are of x,
    as in rows under each other. NaN marks where nothing was measured.
    """

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    style: Style
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    seeds: tuple[Mapping[int, float], ...] = ()
    band: bool = False
    joined: bool = True
    markers: bool = True
    hollow: bool = False
    steps: bool = False
    """Whether y stays until the next x, as on a Pareto front."""
    companion_of: str = ""
    """The name of the series that it goes with; it then has no place of its own in the legend."""
    faint: bool = False
    sizes: tuple[float, ...] = ()
    """The areas of the markers, as numbers of what each stands for; none: all the same."""
    sideways: bool = False


@dataclass(frozen=True)
class Level:
    """A horizontal line through the whole subplot, with a band from ``low`` to ``high`` if there is one."""

    name: str
    y: float
    style: Style = REFERENCE
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Stairs:
    """The outline of a histogram: ``heights`` between ``edges``, of which there is one more."""

    name: str
    edges: tuple[float, ...]
    heights: tuple[float, ...]
    style: Style


@dataclass(frozen=True, eq=False)
class Images:
    """A grid of images ``(n, channels, height, width)`` of values 0 to 1, row by row."""

    images: "np.ndarray[Any, Any]"
    columns: int


Mark = Series | Level | Stairs | Images


@dataclass(frozen=True)
class Subplot:
    """Marks on a pair of axes."""

    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    title: str = ""
    caption: str = ""
    """What this subplot shows, where its figure has several."""
    remark: str = ""
    """What else should be heard by whoever does not see it."""

    def of_kind(self, kind: type[Any]) -> list[Any]:
        """The marks of one class, in order."""
        return [mark for mark in self.marks if isinstance(mark, kind)]

    @property
    def names(self) -> list[str]:
        """What a legend lists."""
        return [m.name for m in self.marks if not isinstance(m, Images) and not _is_companion(m)]

    @property
    def alt(self) -> str:
        """Every mean in words, of long lines the ends and the lowest."""
        told = "; ".join(words for mark in self.marks if (words := _in_words(mark, self.y)))
        return " ".join(part for part in (told and f"{told}.", self.remark) if part)


@dataclass(frozen=True)
class Figure:
    """One picture: subplots in a grid of ``columns``, with the title above them.

    ``name`` starts the name of its file; ``size`` is in inches.
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
    shown_on: frozenset[str] = frozenset({FILE, PAGE})

    @property
    def has_images(self) -> bool:
        """Whether any subplot shows images, which no chart can hold."""
        return any(subplot.of_kind(Images) for subplot in self.subplots)

    def caption_of(self, subplot: Subplot) -> str:
        """The caption of one of its subplots alone."""
        return subplot.caption or self.caption

    @property
    def alt(self) -> str:
        """The figure in words, for whoever does not see it."""
        return " ".join([f"{self.caption}.", *(subplot.alt for subplot in self.subplots)])


def estimates_series(
    name: str, x: Sequence[float], estimates: "Sequence[Estimate]", style: Style, **more: Any
) -> Series:
    """A series of means with their 95 % intervals; ``more`` are other fields of Series."""
    return Series(
        name,
        tuple(map(float, x)),
        tuple(each.mean for each in estimates),
        style,
        tuple(each.mean - each.below for each in estimates),
        tuple(each.mean + each.above for each in estimates),
        **more,
    )


def side_by_side(name: str, title: str, caption: str, subplots: Sequence[Subplot]) -> Figure:
    """A figure of subplots in one row with one legend below."""
    return Figure(
        name, title, caption, tuple(subplots), columns=len(subplots), size=_SIDE_BY_SIDE, one_legend=True
    )


def spans_widely(values: Sequence[float]) -> bool:
    """Whether positive values, one at least, are so far apart that a linear scale hides the small ones."""
    return bool(values) and min(values) > 0 and max(values) > 5 * min(values)


def log_ticks(values: Sequence[float]) -> tuple[float, ...]:
    """The ticks of a logarithmic axis that shows these values: 1, 2, 5, 10, …, or only powers of ten."""
    positive = [value for value in values if value > 0]
    many = bool(positive) and max(positive) > _MANY_DECADES * min(positive)
    return _DECADES if many else _ONE_TWO_FIVE


def tick_text(value: float) -> str:
    """A tick as people write it: 0.2, 50,000; powers of ten beyond as 1e-05."""
    return f"{value:g}" if value < 1e-3 else f"{value:,.12g}"


def values_of(subplot: Subplot, axis: str) -> list[float]:
    """All finite values on ``x`` or ``y``, without levels' on x: they have none."""
    return [value for mark in subplot.marks for value in _values(mark, axis) if math.isfinite(value)]


def _is_companion(mark: Mark) -> bool:
    return isinstance(mark, Series) and bool(mark.companion_of)


def _values(mark: Mark, axis: str) -> Iterator[float]:
    if isinstance(mark, Series):
        yield from mark.x if axis == "x" else mark.y
    elif isinstance(mark, Stairs):
        yield from mark.edges if axis == "x" else mark.heights
    elif isinstance(mark, Level) and axis == "y":
        yield mark.y


def _in_words(mark: Mark, y_axis: Axis) -> str:
    if isinstance(mark, Images):
        number, _, height, width = mark.images.shape
        return f"{number} images of {height} × {width} pixels"
    if isinstance(mark, Level):
        return f"{mark.name} {mark.y:.4g}"
    if isinstance(mark, Stairs):
        highest = max(range(len(mark.heights)), key=mark.heights.__getitem__)
        return f"{mark.name}, highest at {mark.edges[highest]:.3g}"
    if mark.sideways:
        told = [f"{y_axis.categories[round(y)]} {x:.4g}" for x, y in zip(mark.x, mark.y, strict=True)]
    elif mark.companion_of:
        return ""
    else:
        told = [f"{y:.4g} at {x:.4g}" for x, y in zip(mark.x, mark.y, strict=True) if not math.isnan(y)]
    if len(told) > _MOST_TOLD:
        lowest = min((y, x) for x, y in zip(mark.x, mark.y, strict=True) if not math.isnan(y))
        told = [told[0], f"lowest {lowest[0]:.4g} at {lowest[1]:.4g}", told[-1]]
    return f"{mark.name}: {', '.join(told)}" if told else ""
