"""The figures of experiments of the paper: ours with intervals, the paper's values as hollow marks."""

import math
from collections.abc import Sequence

from dropbench.report.apart import words_apart
from dropbench.report.figure import Axis, Figure, Level, Series, Subplot, estimates_series, spans_widely
from dropbench.report.paper.result import READINGS, PaperResult, Place, names_of
from dropbench.report.paper.table import place_name
from dropbench.report.style import REFERENCE, Style, level_style
from dropbench.report.subject import safe_name
from dropbench.report.sweep.lines import AXIS_LABELS, axis_of, seeds_shown
from dropbench.run.telling import data_name

OVERVIEW = "All differences that the lecture and the 2014 paper state"


def paper_figure(result: PaperResult) -> Figure:
    """Along the experiment's axis a line for each arm; without one, a row for each arm."""
    fields = result.fields
    axis = fields["axis"]
    data = [data_name(fields["data"]), *words_apart(fields)]
    beside = ", ours and the paper's" if any(not math.isnan(p.paper) for p in result.places) else ""
    return Figure(
        safe_name(fields["paper"]),
        f"{fields['title']}\n{fields['scale']} scale, {', '.join(data)}, {seeds_shown(result.seeds)}",
        f"{fields['title']}: {fields['unit']} "
        f"{f'along {AXIS_LABELS.get(axis, axis)}' if axis else 'of each arm'}{beside}",
        (_along(result, axis) if axis else _rows(result),),
        size=(7.2, 4.4 if axis else 1.6 + 0.42 * len(result.places)),
    )


def overview_figure(results: Sequence[PaperResult]) -> Figure:
    """A row for each difference that is spoken of: how much lower or higher, in percent, ours and theirs."""
    rows = [
        (f"{name}: {place_name(result, place)}", place, other)
        for name, result in zip(names_of(results), results, strict=True)
        for place, other in result.spoken
        if math.isfinite(place.ratio.mean)
    ][::-1]
    shown = [_of_reading(reading, Style(number), rows) for number, reading in enumerate(READINGS)]
    theirs = [(_percent(place.paper / other.paper), float(y)) for y, (_, place, other) in enumerate(rows)]
    shown += _theirs(theirs, "the paper's", REFERENCE, sideways=True)
    shown = [series for series in shown if series.x]
    ends = (0.0, float(len(rows) - 1))
    zero = [
        Series("", (0.0, 0.0), ends, REFERENCE, markers=False, companion_of=each.name) for each in shown[:1]
    ]
    return Figure(
        "paper",
        OVERVIEW,
        "How much lower or higher each arm is than what it is compared with, ours and the paper's",
        (
            Subplot(
                Axis("difference, % of what it is compared with"),
                Axis(categories=tuple(name for name, _, _ in rows)),
                (*zero, *shown),
            ),
        ),
        size=(8.4, 1.8 + 0.24 * len(rows)),
        one_legend=True,  # within the axes its marks would look like rows
    )


def _of_reading(reading: str, style: Style, rows: Sequence[tuple[str, Place, Place]]) -> Series:
    """Our ratios of those rows that stand so beside the paper's."""
    found = [(float(y), place.ratio) for y, (_, place, _) in enumerate(rows) if place.reading == reading]
    return Series(
        f"ours, {reading}",
        tuple(_percent(ratio.mean) for _, ratio in found),
        tuple(y for y, _ in found),
        style,
        tuple(_percent(ratio.mean - ratio.below) for _, ratio in found),
        tuple(_percent(ratio.mean + ratio.above) for _, ratio in found),
        joined=False,
        sideways=True,
    )


def _percent(ratio: float) -> float:
    return 100 * (ratio - 1)


def _along(result: PaperResult, axis: str) -> Subplot:
    series: list[Series] = []
    levels = []
    for number, (arm, places) in enumerate(result.arms.items()):
        if _stands_alone(places, axis):
            level = places[0].estimate
            low, high = level.mean - level.below, level.mean + level.above
            levels.append(Level(arm, level.mean, level_style(number), low, high))
            continue
        xs = [place.x for place in places]
        series.append(estimates_series(arm, xs, [place.estimate for place in places], Style(number)))
        theirs = [(place.x, place.paper) for place in places]
        series += _theirs(theirs, f"the paper's {arm}", Style(number))
    means = [place.estimate.mean for place in result.places if place.values]
    return Subplot(
        axis_of(axis, (place.x for place in result.places)),
        Axis(result.fields["unit"], log=spans_widely(means)),
        tuple(series),
        tuple(levels),
    )


def _stands_alone(places: Sequence[Place], axis: str) -> bool:
    """Whether an arm has no place on the axis and is a level for all of it, as a net without dropout is."""
    return all(math.isnan(place.x) for place in places) or (
        len(places) == 1 and axis == "p_drop" and places[0].p_drop == 0
    )


def _rows(result: PaperResult) -> Subplot:
    """The arms under each other, the first at the top."""
    places = list(reversed(result.places))
    found = [place.estimate for place in places]
    heights = [float(height) for height in range(len(places))]
    ours = Series(
        "ours, mean and 95 % interval",
        tuple(each.mean for each in found),
        tuple(heights),
        Style(0),
        tuple(each.mean - each.below for each in found),
        tuple(each.mean + each.above for each in found),
        seeds=tuple(place.values for place in places),
        joined=False,
        sideways=True,
    )
    theirs = [(place.paper, height) for place, height in zip(places, heights, strict=True)]
    return Subplot(
        Axis(result.fields["unit"]),
        Axis(categories=tuple(place.arm for place in places)),
        (ours, *_theirs(theirs, "the paper's", Style(1), sideways=True)),
    )


def _theirs(
    points: Sequence[tuple[float, float]], name: str, style: Style, sideways: bool = False
) -> list[Series]:
    """The paper's values where they are known; no series where none is."""
    known = [point for point in points if not any(map(math.isnan, point))]
    if not known:
        return []
    xs, ys = zip(*known, strict=True)
    return [Series(name, xs, ys, style, joined=False, hollow=True, sideways=sideways)]
