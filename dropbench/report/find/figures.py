"""The pictures of a find: how the race went, and where every setting stands."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dropbench.report.figure import Axis, Figure, Level, Series, Subplot, cut
from dropbench.report.find.find import Entrant, Find
from dropbench.report.find.race import STATES, State
from dropbench.report.find.standing import FIRST_LOOK
from dropbench.report.statistics import Estimate
from dropbench.report.style import REFERENCE, Style
from dropbench.report.sweep.lines import picture_title
from dropbench.run.telling import counted, listed

_FEW = 3
"""Lines that each have a band for their intervals."""
_MANY = 10
"""From so many lines on the legend stands beside the axes, otherwise below them."""
_MINUTE = 60
_WIDTH = 7.6
_STEP = 2.0
"""The least step of the axis, in differences that do not matter; see figure.cut."""
_ABOVE = 0.35
"""The room for intervals above the highest mean, as a share of the height below that."""
_ASIDE = 0.012
"""The distance between lines that end at the same look, as a share of the width."""
_STYLES: dict[State, Style] = {
    "best": Style(2),
    "as good": Style(5),
    "no better": Style(0),
    "open": Style(4),
    "behind": Style(6),
    "worse": Style(1),
    "no result": Style(3),
}


def find_figures(find: Find) -> tuple[Figure, ...]:
    """The race against time, and where every setting stands at its end; nothing before the first look."""
    return (race_figure(find), standing_figure(find)) if find.race.looks and find.best else ()


def race_figure(find: Find) -> Figure:
    """How far every setting is above the best on validation, against the time that was spent.

    A line ends where its setting was left out, with a marker and the interval of that look; that of a setting
    that is still open ends with a hollow one. Where lines are few, each has a band of its intervals. The best
    is the level at 0, the band beside it is what does not matter.
    """
    ways = {each: way for each in find.ranked if (way := _way(find, each))}
    times, timed = _times(find)
    few = len(ways) <= _FEW
    aside = _beside_each_other(ways, times)
    series = []
    for entrant, way in ways.items():
        xs = tuple(times[seeds] for seeds in way)
        xs = (*xs[:-1], xs[-1] - aside[entrant])
        name, style = find.label(entrant), _style(find, entrant)
        ys = tuple(each.mean for each in way.values())
        band: dict[str, Any] = {"low": tuple(each.low for each in way.values()), "band": True}
        band["high"] = tuple(each.high for each in way.values())
        series.append(Series(name, xs, ys, style, markers=False, **(band if few else {})))
        state, (low, high) = find.state(entrant), _bounds([*way.values()][-1:])
        end: dict[str, Any] = {"joined": False, "companion_of": name, "hollow": state == "open"}
        series.append(Series(f"{name}, {state}", xs[-1:], ys[-1:], style, low, high, **end))
    ends = {line.companion_of: line.y[-1] for line in series if not line.joined}
    highest = cut([0.0, *ends.values()], _STEP * find.margin)
    label = f"validation {find.metric.what} above the best, {find.metric.unit}".rstrip(", ")
    beyond = _beyond(find, ends, highest)
    axis = Axis(label, span=_span(find, series, highest, few))
    x = Axis("minutes of training, all runs together") if timed else Axis("seeds", whole=True)
    caption = (
        f"Validation {find.metric.what} above the best against {'time' if timed else 'seeds'}: a line ends "
        "where its setting was left out, with an interval that holds at all looks together; a hollow marker: "
        f"still open; the band is what does not matter, ±{find.margin:.{find.metric.digits}f}"
    )
    return Figure(
        "find-race",
        picture_title(find.fields, "a line ends where its setting was left out")
        + (beyond and f"\ncut off: {beyond}"),
        caption + (beyond and f"; cut off: {beyond}"),
        (Subplot(x, axis, tuple(series), _levels(find)),),
        size=(_WIDTH + 1.4, max(4.4, 1.5 + 0.19 * len(ways))),
        one_legend=len(ways) < _MANY,
    )


def standing_figure(find: Find) -> Figure:
    """How far every setting is above the best, with its interval, in rows from the best down, by state."""
    above = {each: _above(find, each) for each in reversed(find.ranked)}
    known = {each: found for each, found in above.items() if math.isfinite(found.mean)}
    highest = cut([found.mean for found in known.values()], _STEP * find.margin)
    far = {find.label(each): found.mean for each, found in known.items() if found.mean > highest}
    rows = [each for each, found in known.items() if found.mean <= highest]
    series = []
    for state in STATES:
        if of := [each for each in rows if find.state(each) == state]:
            found = [known[each] for each in of]
            heights, means = (float(rows.index(each)) for each in of), (each.mean for each in found)
            low, high = _bounds(found)
            look: dict[str, Any] = {"joined": False, "sideways": True}
            series.append(Series(state, tuple(means), tuple(heights), _STYLES[state], low, high, **look))
    margin = f"±{find.margin:.{find.metric.digits}f}"
    series += [
        Series(f"{margin} {side}", (side,) * 2, ends, REFERENCE, markers=False, companion_of=series[0].name)
        for side in (-find.margin, find.margin)
        for ends in [(0.0, len(rows) - 1.0)]
        if side
    ]
    unit = f", {find.metric.unit}" if find.metric.unit else ""
    beyond = _beyond(find, far, highest)
    x = Axis(f"validation {find.metric.what} above the best{unit} (dashed: {margin}, which does not matter)")
    rows_axis = Axis(categories=tuple(find.label(each) for each in rows))
    caption = f"Validation {find.metric.what} above the best, with intervals that hold at all looks together"
    seeds = counted(find.race.seeds, "seed")
    return Figure(
        "find-standing",
        picture_title(find.fields, f"the best after {seeds}") + (beyond and f"\nnot shown: {beyond}"),
        caption + (beyond and f"; not shown: {beyond}"),
        (Subplot(x, rows_axis, tuple(series)),),
        size=(_WIDTH, max(2.8, 1.4 + 0.24 * len(rows))),
    )


def _way(find: Find, entrant: Entrant) -> dict[int, Estimate]:
    """How far an entrant was above the final best, by seeds, at the looks at which both were trained on.

    Before the first look it is the mean difference of the seeds that there were.
    """
    best, race = find.best, find.race
    if best is None or entrant is best:
        return {}
    looks = [look for look in race.looks if {entrant.place, best.place} <= look.among]
    found = {look.seeds: race.difference(entrant.place, best.place, at=look) for look in looks}
    if looks and looks[0].seeds == FIRST_LOOK:
        steps = [entrant.val[seed] - best.val[seed] for seed in range(FIRST_LOOK - 1)]
        early = {seeds: sum(steps[:seeds]) / seeds for seeds in range(1, FIRST_LOOK)}
        found = {seeds: Estimate(mean, math.nan, math.nan, seeds) for seeds, mean in early.items()} | found
    return {seeds: each for seeds, each in found.items() if math.isfinite(each.mean)}


def _times(find: Find) -> tuple[dict[int, float], bool]:
    """The minutes of training that each number of seeds took, or these numbers if they are not all known."""
    spent = {
        seeds: float(f"{find.spent(seeds - 1) / _MINUTE:.4g}") for seeds in range(1, find.race.seeds + 1)
    }
    if all(map(math.isfinite, spent.values())):
        return spent, True
    return {seeds: float(seeds) for seeds in spent}, False


def _beside_each_other(
    ways: Mapping[Entrant, Mapping[int, Estimate]], times: Mapping[int, float]
) -> dict[Entrant, float]:
    """How far to the left each line ends, so that intervals of the same look do not cover one another."""
    before = dict(zip(times, [0.0, *times.values()], strict=False))
    moved: dict[Entrant, float] = {}
    for seeds in times:
        ending = [each for each, way in ways.items() if max(way) == seeds]
        gap = (times[seeds] - before[seeds]) / (len(ending) + 1)
        step = min(_ASIDE * max(times.values()), gap)
        moved |= {each: step * number for number, each in enumerate(ending)}
    return moved


def _above(find: Find, entrant: Entrant) -> Estimate:
    return Estimate(0.0, math.nan, math.nan, 0) if entrant is find.best else find.difference(entrant)


def _bounds(estimates: Sequence[Estimate]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The ends of intervals; both are the mean where there is none."""
    low = tuple(each.mean - each.below for each in estimates)
    return low, tuple(each.mean + each.above for each in estimates)


def _levels(find: Find) -> tuple[Level, ...]:
    if find.best is None:
        return ()
    return (Level(f"{find.label(find.best)}, best", 0.0, REFERENCE, -find.margin, find.margin),)


def _beyond(find: Find, means: Mapping[str, float], highest: float) -> str:
    """The settings that a picture leaves out since they would flatten all else; empty for none."""
    return listed(
        (f"{label} {mean:+.{find.metric.digits}f}" for label, mean in means.items() if mean > highest), 3
    )


def _span(find: Find, series: Sequence[Series], highest: float, few: bool) -> tuple[float, float] | None:
    """The heights that are shown: all means but those far off, and of intervals what is near these."""
    near = [line for line in series if line.joined and line.y[-1] <= highest]
    if not near:
        return None
    ends = [line for line in series if not line.joined and line.y[-1] <= highest]
    lowest = min(-find.margin, *(line.low[-1] for line in ends), *(y for line in near for y in line.y))
    most = max(find.margin, *(y for line in near for y in line.y if y <= highest))
    top = max(find.margin, *(line.high[-1] for line in ends), most)
    room = _ABOVE * (most - lowest)
    return lowest - room / 5, top + room / 5 if few else min(top + room / 5, most + room)


def _style(find: Find, entrant: Entrant) -> Style:
    """The colour by p_drop, from the smallest to the largest; marker and dash by all else."""
    ps = sorted({each.settings["p_drop"] for each in find.entrants})
    others = [name for name in find.varying if name != "p_drop"]

    def kind(of: Entrant) -> tuple[object, ...]:
        return of.arm, of.members, *(of.settings[name] for name in others)

    number = list(dict.fromkeys(map(kind, find.entrants))).index(kind(entrant))
    if len(ps) == 1:
        return Style(number, dash=number)
    return Style(number, dash=number, shade=ps.index(entrant.settings["p_drop"]) / (len(ps) - 1))
