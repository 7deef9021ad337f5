"""The picture of an experiment of the paper: ours with intervals, the paper's values as hollow marks."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dropbench.report.paper.result import PaperResult, Place
from dropbench.report.sweep.pictures import (
    AXIS_LABELS,
    COLOURS,
    add_p_keep,
    draw_line,
    error_bars,
    picture,
    scale_logarithmically,
    seeds_shown,
    spans_widely,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {**AXIS_LABELS, "passes": "k, thinned nets averaged for each image"}


def draw_paper(axes: "Axes", result: PaperResult) -> "Axes":
    """Along the experiment's axis a line for each arm; without one, a row for each arm."""
    (_draw_curves if result.fields["axis"] else _draw_rows)(axes, result)
    axes.grid(alpha=0.25)
    return axes


def _draw_curves(axes: "Axes", result: PaperResult) -> None:
    axis = result.fields["axis"]
    for number, (arm, places) in enumerate(result.arms.items()):
        if stands_alone(places, axis):
            colour, level = COLOURS[number % len(COLOURS)], places[0].estimate
            axes.axhline(level.mean, color=colour, lw=1, ls="--", label=arm)
            axes.axhspan(level.mean - level.below, level.mean + level.above, color=colour, alpha=0.08)
            continue
        estimates = [place.estimate for place in places]
        colour = draw_line(axes, number, arm, [place.x for place in places], estimates)
        _draw_theirs(axes, [(place.x, place.paper) for place in places], colour, f"the paper's {arm}")
    axes.set_xlabel(LABELS.get(axis, axis))
    axes.set_ylabel(result.fields["unit"])
    if axis in ("train_size", "passes"):
        axes.set_xscale("log")
        places_of = sorted({place.x for place in result.places if not math.isnan(place.x)})
        axes.set_xticks(places_of, [f"{x:,.0f}" for x in places_of])
        axes.minorticks_off()
    if axis == "p_drop":
        add_p_keep(axes)
    if is_wide(result):
        scale_logarithmically(axes)
    axes.legend(frameon=False, fontsize="small")


def stands_alone(places: Sequence[Place], axis: str) -> bool:
    """Whether an arm has no place on the axis and is a level for all of it, as a net without dropout is."""
    return all(math.isnan(place.x) for place in places) or (
        len(places) == 1 and axis == "p_drop" and places[0].p_drop == 0
    )


def is_wide(result: PaperResult) -> bool:
    """Whether a scale must be logarithmic, so that one bad place does not flatten all others."""
    means = [place.estimate.mean for place in result.places if place.values]
    return bool(means) and spans_widely(means)


def _draw_rows(axes: "Axes", result: PaperResult) -> None:
    places: list[Place] = list(reversed(result.places))
    heights = list(range(len(places)))
    estimates = [place.estimate for place in places]
    axes.errorbar(
        [estimate.mean for estimate in estimates],
        heights,
        xerr=error_bars(estimates),
        fmt="o",
        color=COLOURS[0],
        capsize=3,
        label="ours, mean and 95 % interval",
    )
    for height, place in zip(heights, places, strict=True):
        values = list(place.values.values())
        axes.plot(values, [height] * len(values), ".", color=COLOURS[0], alpha=0.45, markersize=4)
    theirs = [(place.paper, height) for height, place in zip(heights, places, strict=True)]
    _draw_theirs(axes, theirs, "black", "the paper's")
    axes.set_yticks(heights, [place.arm for place in places])
    axes.set_ylim(-0.6, len(places) - 0.4)  # two rows alone would lie on the frame
    axes.set_xlabel(result.fields["unit"])
    axes.legend(frameon=False, fontsize="small", loc="best")


def _draw_theirs(axes: "Axes", marks: Sequence[tuple[float, float]], colour: str, label: str) -> None:
    known = [mark for mark in marks if not any(map(math.isnan, mark))]
    if known:
        axes.plot(*zip(*known, strict=True), "D", mfc="none", mec=colour, markersize=7, label=label)


def save_paper(result: PaperResult, path: Path) -> Path:
    """Draw one experiment into a picture file; the ending of ``path`` is its format."""
    fields = result.fields
    title = f"{fields['title']}\n{fields['scale']} scale, {fields['data']}, {seeds_shown(result.seeds)}"
    height = 4.4 if fields["axis"] else 1.6 + 0.42 * len(result.places)
    with picture(path, title, figsize=(7.2, height)) as figure:
        draw_paper(figure.subplots(), result)
    return path
