"""Figures as picture files, and one subplot drawn into matplotlib axes."""

import io
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dropbench.errors import DropbenchError, unknown_name
from dropbench.files import write_whole
from dropbench.report.figure import Axis, Figure, Images, Series, Subplot, log_ticks, tick_text
from dropbench.report.style import REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LEFT_ALONE = ("backend", "backend_fallback", "interactive", "toolbar", "timezone", "webagg.port")
"""Settings of matplotlib that change no picture in a file, and are not to be changed while it runs."""
FORMATS = {"png": "Description", "svg": "Description", "pdf": "Subject"}
"""The endings of pictures, and what each calls the words that describe it."""
DOTS_PER_INCH = 300  # of what is not drawn in lines: fit for print
_FEW = 2
"""With more subplots than these a figure has small letters."""
_MANY_NAMES, _IN_A_COLUMN = 10, 24
"""A legend of more names than these stands beside the axes, with so many in a column."""
_LARGEST, _SMALLEST = 120, 0.05
"""The area of the largest marker in square points, and the least share of it."""
_SEPARATION = 1  # pixel between two images of a grid


def check_formats(formats: Collection[str]) -> None:
    """Raise UsageError for a format that pictures are not drawn in."""
    for name in formats:
        if name not in FORMATS:
            raise unknown_name("picture format", name, FORMATS)


def save(figure: Figure, path: Path) -> Path:
    """Draw a figure into ``path``, whose ending is the format; makes the folder where there is none.

    Raises:
        DropbenchError: if it cannot be written.

    """
    content = render(figure, path.suffix[1:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error
    return path


def render(figure: Figure, form: str) -> bytes:
    """A figure as the content of a file of this format, with its words as the description."""
    from matplotlib import rc_context, rcParamsDefault  # here, as all of matplotlib: a table needs none of it

    own = {name: value for name, value in rcParamsDefault.items() if name not in _LEFT_ALONE}
    with rc_context(own):  # a style of the user's own would be of no picture that has these sizes
        return _rendered(figure, form)


def _rendered(figure: Figure, form: str) -> bytes:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=figure.size, layout="constrained")  # without pyplot, which would keep it
    rows = -(-len(figure.subplots) // figure.columns)
    heights = figure.heights or None
    grid = canvas.subplots(rows, figure.columns, squeeze=False, height_ratios=heights).flatten()
    for axes, subplot in zip(grid, figure.subplots, strict=False):
        draw(subplot, axes, legend=not figure.one_legend, small=len(figure.subplots) > _FEW)
    for axes in grid[len(figure.subplots) :]:
        axes.remove()
    if figure.one_legend:
        listed = _listed(figure.subplots[0], grid[0])
        canvas.legend(*listed, loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    # A label is text: no dollar sign in a folder's name may start a formula.
    canvas.suptitle(figure.title, fontsize="medium", parse_math=False)
    about = {"Title": figure.title.replace("\n", ", "), FORMATS[form]: figure.alt}
    buffer = io.BytesIO()
    canvas.savefig(buffer, format=form, dpi=DOTS_PER_INCH, metadata=about)
    return buffer.getvalue()


def draw(subplot: Subplot, axes: "Axes", *, legend: bool = True, small: bool = False) -> "Axes":
    """Draw every mark of a subplot into matplotlib axes and return them; ``small`` is for many in a grid."""
    axes.set_title(subplot.title, fontsize="medium")
    if subplot.images is not None:
        return _draw_images(axes, subplot.images)
    for series in subplot.series:
        _draw_series(axes, series, small)
    for level in subplot.levels:
        colour = level.style.colour
        axes.axhline(level.y, color=colour, lw=1.2, ls=level.style.line.file, label=level.name)
        if level.low < level.high:
            axes.axhspan(level.low, level.high, color=colour, alpha=0.08, lw=0)
    axes.grid(alpha=0.25)
    axes.set_xlabel(subplot.x.label, fontsize="small" if small else "medium")
    axes.set_ylabel(subplot.y.label, fontsize="small" if small else "medium")
    _scale(axes, "x", subplot.x, subplot.xs)
    _scale(axes, "y", subplot.y, subplot.ys)
    if subplot.y.span:
        axes.set_ylim(*subplot.y.span)
    if subplot.x.complement:
        top = axes.secondary_xaxis("top", functions=(_complement, _complement))
        top.set_xlabel(subplot.x.complement, fontsize="small")
    if legend and len(subplot.names) > 1:
        many = len(subplot.names) > _MANY_NAMES
        beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1), "handlelength": 3}
        columns, size = -(-len(subplot.names) // _IN_A_COLUMN), "x-small" if small or many else "small"
        look = {"frameon": False, "fontsize": size, "ncols": columns, **(beside if many else {})}
        axes.legend(*_listed(subplot, axes), **look)
    return axes


def _listed(subplot: Subplot, axes: "Axes") -> tuple[list[Any], list[str]]:
    """The handles and names of a legend in the subplot's order: matplotlib's own is by their kinds."""
    handles, labels = axes.get_legend_handles_labels()
    drawn = dict(zip(labels, handles, strict=True))
    names = [name for name in subplot.names if name in drawn]
    return [drawn[name] for name in names], names


def _draw_series(axes: "Axes", series: Series, small: bool) -> None:
    xs, look = series.x, _look(series, small)
    if series.examples:
        areas = _LARGEST * (np.asarray(series.examples) / max(series.examples)).clip(_SMALLEST)
        axes.plot(xs, series.y, **look | {"alpha": 0.5, "marker": "", "label": None})
        alike = {name: look[name] for name in ("color", "marker", "label")}
        axes.scatter(xs, series.y, areas, **alike)
    elif series.low and not series.band:
        reach: dict[str, Any] = {"xerr" if series.sideways else "yerr": series.reach}
        axes.errorbar(xs, series.y, **reach, **look, capsize=2 if small else 3, elinewidth=1)
    else:
        axes.plot(xs, series.y, **look)
    if series.band:
        axes.fill_between(xs, series.low, series.high, color=series.style.colour, alpha=0.12, lw=0)
    if series.dots:
        places, values, _ = zip(*series.dots, strict=True)
        axes.plot(places, values, ".", color=series.style.colour, alpha=0.45, markersize=4)


def _look(series: Series, small: bool) -> dict[str, Any]:
    """Colour, line and marker of a series, as matplotlib takes them."""
    look = {
        "color": series.style.colour,
        "alpha": 0.45 if series.faint else 1.0,
        "ls": series.style.line.file if series.joined else "",
        "lw": 0.8 if series.faint else 1.0 if series.examples or series.style == REFERENCE else 1.6,
        "marker": series.style.marker.file if series.markers else "",
        "markersize": 3 if series.faint else 4 if small or series.band else 5 if series.joined else 6,
        "label": None if series.companion_of else series.name,
        "zorder": 1 if series.style == REFERENCE else 2,
        "drawstyle": "steps-post" if series.steps else "default",
    }
    return look | {"marker": "D", "markersize": 7, "mfc": "none"} if series.hollow else look


def _draw_images(axes: "Axes", grid: Images) -> "Axes":
    n, channels, height, width = grid.images.shape
    rows = -(-n // grid.columns)
    canvas = np.ones((rows * (height + _SEPARATION), grid.columns * (width + _SEPARATION), channels))
    for number, image in enumerate(grid.images):
        row, column = divmod(number, grid.columns)
        top, left = row * (height + _SEPARATION), column * (width + _SEPARATION)
        canvas[top : top + height, left : left + width] = np.moveaxis(image, 0, -1)
    shown = canvas[:-_SEPARATION, :-_SEPARATION].clip(0, 1)
    axes.imshow(shown if channels == 3 else shown.mean(2), cmap="gray", vmin=0, vmax=1)
    axes.set_axis_off()
    return axes


def _scale(axes: "Axes", letter: str, axis: Axis, values: list[float]) -> None:
    """Give one of the axes its scale and ticks: on a logarithmic one, numbers as people write them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    drawn = getattr(axes, f"{letter}axis")
    if axis.log:
        axes.set(**{f"{letter}scale": "log"})
        drawn.set_minor_locator(NullLocator())
        drawn.set_major_locator(FixedLocator(list(axis.ticks) or log_ticks(values)))
        drawn.set_major_formatter(FuncFormatter(lambda value, position: tick_text(value)))
    elif axis.whole:
        drawn.set_major_locator(MaxNLocator(integer=True))
    elif axis.categories:
        drawn.set_ticks(range(len(axis.categories)), axis.categories)
        axes.set(**{f"{letter}lim": (-0.6, len(axis.categories) - 0.4)})  # two rows would lie on the frame


def _complement(p: Any) -> Any:
    return 1 - p
