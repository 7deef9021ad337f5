"""Figures as picture files, and one subplot drawn into matplotlib axes."""

import io
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from dropbench.errors import DropbenchError, unknown_name
from dropbench.report.figure import (
    Axis,
    Figure,
    Images,
    Level,
    Series,
    Stairs,
    Subplot,
    log_ticks,
    tick_text,
    values_of,
)
from dropbench.report.style import REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FORMATS = ("png", "svg", "pdf")
DOTS_PER_INCH = 300  # of what is not drawn in lines: fit for print
_SMALL = 2
"""From more subplots than these on, a figure has small letters."""
_DODGE = 0.006
"""How far lines are moved aside, as a share of the axis, so that they do not hide each other's intervals."""
_LARGEST, _SMALLEST = 120, 0.05
"""The area of the largest marker in square points, and the least share of it."""
_SEPARATION = 1  # pixel between two images of a grid
_DESCRIPTION = {"png": "Description", "svg": "Description", "pdf": "Subject"}


def check_formats(formats: Collection[str]) -> None:
    """Raise UsageError for a format that pictures are not drawn in."""
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("picture format", name, FORMATS)


def save(figure: Figure, path: Path) -> Path:
    """Draw a figure into ``path``, whose ending is the format; makes the folder where there is none.

    The file carries the figure's words as its description.

    Raises:
        DropbenchError: if it cannot be written.

    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            _write(figure, file, path.suffix[1:])
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error
    return path


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    buffer = io.BytesIO()
    _write(figure, buffer, "png")
    return buffer.getvalue()


def _write(figure: Figure, file: BinaryIO, form: str) -> None:
    about = {"Title": figure.title.replace("\n", ", "), _DESCRIPTION[form]: figure.alt}
    _canvas(figure).savefig(file, format=form, dpi=DOTS_PER_INCH, metadata=about)


def _canvas(figure: Figure) -> "Canvas":
    """All subplots in their grid, under the title; without pyplot, which would keep them."""
    from matplotlib.figure import Figure as Canvas  # here, as all of matplotlib: a table needs none of it

    canvas = Canvas(figsize=figure.size, layout="constrained")
    rows = -(-len(figure.subplots) // figure.columns)
    heights = figure.heights or None
    grid = canvas.subplots(rows, figure.columns, squeeze=False, height_ratios=heights).flatten()
    for axes, subplot in zip(grid, figure.subplots, strict=False):
        draw(subplot, axes, legend=not figure.one_legend, small=len(figure.subplots) > _SMALL)
    for axes in grid[len(figure.subplots) :]:
        axes.remove()
    if figure.one_legend:
        listed = _listed(figure.subplots[0], grid[0])
        canvas.legend(*listed, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    # A label is text: no dollar sign in a folder's name may start a formula.
    canvas.suptitle(figure.title, fontsize="medium", parse_math=False)
    return canvas


def draw(subplot: Subplot, axes: "Axes", *, legend: bool = True, small: bool = False) -> "Axes":
    """Draw every mark of a subplot into matplotlib axes and return them; ``small`` is for many in a grid."""
    dodged = _dodges(subplot)
    for mark in subplot.marks:
        if isinstance(mark, Series):
            _draw_series(axes, mark, dodged.get(id(mark), 0.0), small)
        elif isinstance(mark, Level):
            _draw_level(axes, mark)
        elif isinstance(mark, Stairs):
            axes.stairs(mark.heights, mark.edges, color=mark.style.colour, label=mark.name, lw=1.6)
        else:
            _draw_images(axes, mark)
    if subplot.title:
        axes.set_title(subplot.title, fontsize="medium")
    if not subplot.of_kind(Images):
        axes.grid(alpha=0.25)
        _scale(axes, subplot, small)
        if legend and len(subplot.names) > 1:
            axes.legend(*_listed(subplot, axes), frameon=False, fontsize="x-small" if small else "small")
    return axes


def _listed(subplot: Subplot, axes: "Axes") -> tuple[list[Any], list[str]]:
    """The handles and names of a legend, in the order of the marks: matplotlib's own is by their kinds."""
    handles, labels = axes.get_legend_handles_labels()
    drawn = dict(zip(labels, handles, strict=True))
    names = [name for name in subplot.names if name in drawn]
    return [drawn[name] for name in names], names


def _dodges(subplot: Subplot) -> dict[int, float]:
    """How far each line with intervals is moved along a linear axis; not at all where there is only one."""
    lines = [s for s in subplot.of_kind(Series) if s.joined and s.low and not s.band]
    if len(lines) < 2 or subplot.x.log:
        return {}
    width = max(values_of(subplot, "x"), default=0.0) or 1.0
    return {id(line): _DODGE * width * (number - (len(lines) - 1) / 2) for number, line in enumerate(lines)}


def _draw_series(axes: "Axes", series: Series, dodge: float, small: bool) -> None:
    xs, look = [x + dodge for x in series.x], _look(series, small)
    if series.sizes:
        shares = np.asarray(series.sizes) / max(series.sizes)
        axes.plot(xs, series.y, **look | {"alpha": 0.5, "marker": "", "label": None})
        area, marker = _LARGEST * shares.clip(_SMALLEST), look["marker"]
        axes.scatter(xs, series.y, area, color=look["color"], marker=marker, label=look["label"])
    elif series.low and not series.band:
        reach: dict[str, Any] = {"xerr" if series.sideways else "yerr": _reach(series)}
        axes.errorbar(xs, series.y, **reach, **look, capsize=2 if small else 3)
    else:
        axes.plot(xs, series.y, **look)
    if series.band:
        axes.fill_between(xs, series.low, series.high, color=series.style.colour, alpha=0.12, lw=0)
    for x, y, by_seed in zip(xs, series.y, series.seeds, strict=False):
        values, places = list(by_seed.values()), [y if series.sideways else x] * len(by_seed)
        points = (values, places) if series.sideways else (places, values)
        axes.plot(*points, ".", color=series.style.colour, alpha=0.45, markersize=4)


def _look(series: Series, small: bool) -> dict[str, Any]:
    """Colour, line and marker of a series, as matplotlib takes them."""
    look = {
        "color": series.style.colour,
        "alpha": 0.45 if series.faint else 1.0,
        "ls": series.style.line.file if series.joined else "",
        "lw": 0.8 if series.faint else 1.0 if series.sizes or series.style == REFERENCE else 1.6,
        "marker": series.style.marker.file if series.markers else "",
        "markersize": 3 if series.faint else 4 if small or series.band else 5 if series.joined else 6,
        "label": None if series.companion_of else series.name,
        "zorder": 1 if series.style == REFERENCE else 2,
        "drawstyle": "steps-post" if series.steps else "default",
    }
    return look | {"marker": "D", "markersize": 7, "mfc": "none"} if series.hollow else look


def _reach(series: Series) -> list[list[float]]:
    """How far each interval reaches below and above its mean, as matplotlib takes it."""
    means = series.x if series.sideways else series.y
    below = [mean - low for mean, low in zip(means, series.low, strict=True)]
    return [below, [high - mean for mean, high in zip(means, series.high, strict=True)]]


def _draw_level(axes: "Axes", level: Level) -> None:
    style = level.style
    axes.axhline(level.y, color=style.colour, lw=1.2, ls=style.line.file, label=level.name)
    if level.low < level.high:
        axes.axhspan(level.low, level.high, color=style.colour, alpha=0.08, lw=0)


def _draw_images(axes: "Axes", grid: Images) -> None:
    n, channels, height, width = grid.images.shape
    rows = -(-n // grid.columns)
    shape = rows * (height + _SEPARATION), grid.columns * (width + _SEPARATION), channels
    canvas = np.ones(shape)
    for number, image in enumerate(grid.images):
        row, column = divmod(number, grid.columns)
        top, left = row * (height + _SEPARATION), column * (width + _SEPARATION)
        canvas[top : top + height, left : left + width] = np.moveaxis(image, 0, -1)
    shown = canvas[:-_SEPARATION, :-_SEPARATION].clip(0, 1)
    axes.imshow(shown if channels == 3 else shown.mean(2), cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()


def _scale(axes: "Axes", subplot: Subplot, small: bool) -> None:
    """Set labels, scales and ticks of both axes, and the second scale where there is one."""
    size = "small" if small else "medium"
    axes.set_xlabel(subplot.x.label, fontsize=size)
    axes.set_ylabel(subplot.y.label, fontsize=size)
    for letter, axis in (("x", subplot.x), ("y", subplot.y)):
        if axis.log:
            axes.set(**{f"{letter}scale": "log"})
        _set_ticks(getattr(axes, f"{letter}axis"), axis, values_of(subplot, letter))
    if subplot.y.categories:
        axes.set_ylim(-0.6, len(subplot.y.categories) - 0.4)  # two rows alone would lie on the frame
    if subplot.x.complement:
        top = axes.secondary_xaxis("top", functions=(_complement, _complement))
        top.set_xlabel(subplot.x.complement, fontsize="small")


def _set_ticks(drawn: Any, axis: Axis, values: Sequence[float]) -> None:
    """Give a matplotlib axis its ticks; on a logarithmic one they are numbers as people write them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    if axis.categories:
        drawn.set_ticks(range(len(axis.categories)), axis.categories)
    elif axis.log or axis.ticks:
        drawn.set_minor_locator(NullLocator())
        drawn.set_major_locator(FixedLocator(axis.ticks or log_ticks(values)))
        drawn.set_major_formatter(FuncFormatter(lambda value, position: tick_text(value)))
    elif axis.whole:
        drawn.set_major_locator(MaxNLocator(integer=True))


def _complement(p: Any) -> Any:
    return 1 - p
