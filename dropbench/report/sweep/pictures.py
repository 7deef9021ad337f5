"""Pictures. Each function draws into the axes it is given and returns them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropbench.errors import DropbenchError
from dropbench.report.statistics import Estimate, mean_interval
from dropbench.report.sweep.sweep import Setting, Sweep, axis_text, mean_of, sortable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours, told apart with every kind of colour vision and by their lightness in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
DOTS_PER_INCH = 300  # of what is not drawn in lines: fit for print
_NUMBERS = ("p_drop", "p_drop_input", "p_drop_conv", "train_size")
AXIS_LABELS = {
    "p_drop": "p_drop, probability of dropping a hidden unit",
    "p_drop_input": "p_drop at the input",
    "p_drop_conv": "p_drop after the convolutions",
    "train_size": "training images",
}


def horizontal_axis(sweep: Sweep) -> str:
    """The numeric axis with most values, p_drop first among equals."""

    def values(axis: str) -> int:
        return len({sortable(setting.axes[axis]) for setting in sweep.settings} - {math.inf})

    return max(_NUMBERS, key=values)


def draw_sweep(axes: "Axes", sweep: Sweep) -> "Axes":
    """Test error against the sweep's main axis: mean, 95 % interval, and a dot for every seed.

    One line for each combination of the other varying axes; the net without dropout is a dashed level
    where no line passes through it.
    """
    x_axis = horizontal_axis(sweep)
    lines = lines_of(sweep, x_axis)
    spread = _dodge(sweep, x_axis, len(lines))
    for number, (label, settings) in enumerate(lines.items()):
        xs = [setting.axes[x_axis] + spread[number] for setting in settings]
        estimates = [mean_interval(list(sweep.test(setting).values())) for setting in settings]
        colour = draw_line(axes, number, label, xs, estimates)
        for x, setting in zip(xs, settings, strict=True):
            errors = list(sweep.test(setting).values())
            axes.plot([x] * len(errors), errors, ".", color=colour, alpha=0.45, markersize=4)
    alone = [s for s in sweep.settings if s.drops_nothing and sweep.test(s) and not _on_a_line(s, lines)]
    for setting in alone:
        level = mean_of(sweep.test(setting))
        axes.axhline(level, color="0.35", lw=1, ls="--", label="no dropout")
    axes.set_xlabel(AXIS_LABELS[x_axis])
    axes.set_ylabel(f"test {sweep.metric.label}")
    axes.grid(alpha=0.25)
    if is_wide(sweep):
        scale_logarithmically(axes)
    if x_axis == "train_size":
        axes.set_xscale("log")
    if x_axis == "p_drop":
        add_p_keep(axes)
    if len(lines) > 1 or alone:
        axes.legend(frameon=False, fontsize="small")
    return axes


def draw_line(
    axes: "Axes", number: int, label: str, xs: Sequence[float], estimates: Sequence[Estimate]
) -> str:
    """Means joined by a line, with their intervals; the colour that the line of this number has."""
    colour = COLOURS[number % len(COLOURS)]
    axes.errorbar(
        xs,
        [estimate.mean for estimate in estimates],
        yerr=error_bars(estimates),
        color=colour,
        marker=MARKERS[number % len(MARKERS)],
        markersize=5,
        capsize=3,
        lw=1.6,
        label=label,
    )
    return colour


def add_p_keep(axes: "Axes") -> None:
    """A second scale for an axis of p_drop."""
    top = axes.secondary_xaxis("top", functions=(_complement, _complement))
    top.set_xlabel("p_keep = 1 − p_drop, the 2014 paper's p", fontsize="small")


def scale_logarithmically(axes: "Axes") -> None:
    """Of the vertical axis, with ticks at 1, 2, 5 and their tenfolds."""
    from matplotlib.ticker import LogLocator  # here, as all of matplotlib: a table needs none of it

    axes.set_yscale("log", subs=())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")


def is_wide(sweep: Sweep) -> bool:
    """Whether a scale must be logarithmic, so that one bad setting does not flatten all others."""
    means = [mean_of(sweep.test(setting)) for setting in sweep.settings if sweep.test(setting)]
    return spans_widely(means)


def spans_widely(means: Sequence[float]) -> bool:
    """Whether figures, one at least, are so far apart that a linear scale hides the small ones."""
    return min(means) > 0 and max(means) > 5 * min(means)


def error_bars(estimates: Sequence[Estimate]) -> list[list[float]]:
    """How far each interval reaches below and above its mean, as matplotlib takes it."""
    return [[estimate.below for estimate in estimates], [estimate.above for estimate in estimates]]


def save_sweep(sweep: Sweep, path: Path) -> Path:
    """Draw one sweep into a picture file; the ending of ``path`` is its format."""
    with picture(path, title_of(sweep), figsize=(6.4, 4.4)) as figure:
        draw_sweep(figure.subplots(), sweep)
    return path


@contextmanager
def picture(path: Path, title: str, figsize: tuple[float, float]) -> Iterator["Figure"]:
    """A figure to draw into, saved at the end under its title.

    Raises:
        DropbenchError: if the file cannot be written.

    """
    import matplotlib as mpl

    mpl.use("agg")  # a file is all that is wanted; there may be no screen
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=figsize, layout="constrained")
    try:
        yield figure
        # A label is text: no dollar sign in a folder's name may start a formula.
        figure.suptitle(title, fontsize="medium", parse_math=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=DOTS_PER_INCH)
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        plt.close(figure)


def title_of(sweep: Sweep) -> str:
    """What a picture of a sweep shows, and of how many seeds."""
    return picture_title(sweep.fields, seeds_shown(max(len(setting.run_ids) for setting in sweep.settings)))


def picture_title(fields: Mapping[str, Any], shown: str) -> str:
    """What was trained on what, and what is ``shown`` of it."""
    return f"{fields['model']} on {fields['data']}, {fields['epochs']:.0f} epochs, {shown}"


def seeds_shown(seeds: int) -> str:
    """What a picture of means shows."""
    return f"mean of {seeds} seeds with 95 % interval" if seeds > 1 else "one seed"


def lines_of(sweep: Sweep, x_axis: str) -> dict[str, list[Setting]]:
    """The settings that a line along ``x_axis`` joins, in its order, by the values of the other axes."""
    others = [axis for axis in sweep.varying if axis != x_axis]
    lines: dict[tuple[Any, ...], list[Setting]] = {}
    for setting in sweep.settings:
        if sweep.test(setting) and not math.isinf(sortable(setting.axes[x_axis])):
            lines.setdefault(tuple(sortable(setting.axes[axis]) for axis in others), []).append(setting)
    named = {
        ", ".join(f"{axis} {axis_text(settings[0].axes[axis], 'all')}" for axis in others): settings
        for settings in lines.values()
    }
    # The reference by itself is no line when the others are: it becomes a level.
    longest = max(map(len, named.values()), default=0)
    return {
        label: sorted(settings, key=lambda s: s.axes[x_axis])
        for label, settings in named.items()
        if len(settings) > 1 or longest == 1 or not settings[0].drops_nothing
    }


def _on_a_line(setting: Setting, lines: dict[str, list[Setting]]) -> bool:
    return any(setting is other for settings in lines.values() for other in settings)


def _dodge(sweep: Sweep, x_axis: str, lines: int) -> list[float]:
    """Small shifts that keep the intervals of several lines from hiding each other; none on a log axis."""
    if x_axis == "train_size":
        return [0.0] * lines
    width = max(setting.axes[x_axis] for setting in sweep.settings) or 1.0
    return [0.006 * width * (number - (lines - 1) / 2) for number in range(lines)]


def _complement(p: Any) -> Any:
    return 1 - p
