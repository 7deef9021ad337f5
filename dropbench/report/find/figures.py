"""The pictures of a find: how the race went, and where every setting stands."""

import math
from collections.abc import Sequence
from typing import Any

from dropbench.report.figure import Axis, Figure, Level, Series, Subplot, cut, span_below
from dropbench.report.find.find import Entrant, Find
from dropbench.report.statistics import Estimate
from dropbench.report.style import REFERENCE, Style
from dropbench.report.sweep.lines import picture_title
from dropbench.run.telling import counted

_FEW = 3
"""Lines that each have a band for their intervals."""
_MINUTES = 60
_WIDTH = 7.6
_STEP = 2.0
"""The least step of the axis, in differences that do not matter; see figure.cut."""


def find_figures(find: Find) -> tuple[Figure, ...]:
    """The race against time, and where every setting stands at its end; nothing before the first look."""
    return (race_figure(find), standing_figure(find)) if find.race.looks else ()


def race_figure(find: Find) -> Figure:
    """How far every setting is above the best on validation, against the time that was spent.

    A line ends where its setting was left out, with a marker and the interval of that look; where lines are
    few, each has a band of its intervals. The best is the level at 0, the band beside it is what does not
    matter.
    """
    times = _times(find)
    lines = [(each, found) for each in find.ranked if (found := _way(find, each))]
    few = len(lines) <= _FEW
    series = []
    for entrant, way in lines:
        xs = tuple(times[seeds] for seeds in way)
        name, style = find.label(entrant), _style(find, entrant)
        low, high = _bounds([*way.values()])
        ys = tuple(each.mean for each in way.values())
        bounds: dict[str, Any] = {"low": low, "high": high, "band": True} if few else {}
        series.append(Series(name, xs, ys, style, markers=False, **bounds))
        series.append(
            Series(
                f"{name}, {find.state(entrant)}", xs[-1:], ys[-1:], style, low[-1:], high[-1:],
                joined=False, companion_of=name,
            )
        )  # fmt: skip
    ends = [line.y[-1] for line in series] or [0.0]
    highest = cut([0.0, *ends], _STEP * find.margin)
    above = [line for line in series if not line.joined and line.y[-1] > highest]
    what = f"above the best, {find.metric.unit}".rstrip(", ")
    label = f"validation {find.metric.what} {what}"
    if above:
        told = "; ".join(f"{line.y[-1]:.{find.metric.digits}f} {line.companion_of}" for line in above[:3])
        more = f" and {len(above) - 3} more" if len(above) > 3 else ""
        label = f"{label}\n(cut off: {told}{more})"
    timed = find.spent(0) == find.spent(0)
    x = Axis("minutes of training, all runs together") if timed else Axis("seeds", whole=True)
    subplot = Subplot(x, Axis(label, span=_span(find, series, highest)), tuple(series), _levels(find))
    shown = "line ends: left out, with interval at all looks together"
    caption = (
        f"Validation {find.metric.what} above the best against {'time' if timed else 'seeds'}, a line for "
        "each setting up to where it was left out; intervals hold at all looks together"
    )
    height = max(4.4, 1.5 + 0.19 * len(lines))
    return Figure(
        "find-race", picture_title(find.fields, shown), caption, (subplot,), size=(_WIDTH + 1.4, height)
    )


def standing_figure(find: Find) -> Figure:
    """How far every setting is above the best, with its interval, in rows from the best down."""
    known = [each for each in find.ranked if math.isfinite(find.difference(each).mean)]
    rows = list(reversed(known))
    names = tuple(f"{find.label(each)} – {find.state(each)}" for each in rows)
    series = []
    for height, each in enumerate(rows):
        above = Estimate(0, math.nan, math.nan, 0) if each is find.best else find.difference(each)
        low, high = _bounds([above])
        series.append(
            Series(
                names[height], (above.mean,), (float(height),), _style(find, each), low, high,
                joined=False, sideways=True,
            )
        )  # fmt: skip
    sides = (-find.margin, find.margin) if find.margin and rows else ()
    series += [
        Series(
            f"{side:+.{find.metric.digits}f}", (side, side), (0.0, len(rows) - 1.0), REFERENCE,
            markers=False, companion_of=names[0],
        )
        for side in sides
    ]  # fmt: skip
    unit = f", {find.metric.unit}" if find.metric.unit else ""
    x = Axis(f"validation {find.metric.what} above the best{unit} (dashed: what does not matter)")
    caption = (
        f"Validation {find.metric.what} above the best, with intervals that hold at all looks together; "
        "dashed lines are the difference that does not matter"
    )
    seeds = counted(find.race.seeds, "seed")
    return Figure(
        "find-standing",
        picture_title(find.fields, f"after {seeds}"),
        caption,
        (Subplot(x, Axis(categories=names), tuple(series)),),
        size=(_WIDTH, max(2.6, 1.4 + 0.24 * len(rows))),
    )


def _way(find: Find, entrant: Entrant) -> dict[int, Estimate]:
    """How far an entrant was above the final best, by seeds, at the looks at which both were trained on."""
    best, race = find.race.best, find.race
    if best is None or entrant.place == best:
        return {}
    found = {
        look.seeds: race.difference(entrant.place, best, at=look)
        for look in race.looks
        if {entrant.place, best} <= look.among
    }
    return {seeds: each for seeds, each in found.items() if math.isfinite(each.mean)}


def _times(find: Find) -> dict[int, float]:
    """The minutes of training that each number of seeds took, or the number itself if they are not known."""
    spent = {look.seeds: find.spent(look.seeds - 1) / _MINUTES for look in find.race.looks}
    known = all(map(math.isfinite, spent.values()))
    return spent if known else {seeds: float(seeds) for seeds in spent}


def _bounds(estimates: Sequence[Estimate]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The ends of intervals; both are the mean where there is none."""
    low = tuple(each.mean - each.below for each in estimates)
    return low, tuple(each.mean + each.above for each in estimates)


def _levels(find: Find) -> tuple[Level, ...]:
    if find.best is None:
        return ()
    digits, margin = find.metric.digits, find.margin
    name = f"{find.label(find.best)}, the best (band: ±{margin:.{digits}f})"
    return (Level(name, 0.0, REFERENCE, -margin, margin),)


def _span(find: Find, series: Sequence[Series], highest: float) -> tuple[float, float] | None:
    """The heights that are shown: of intervals only what is near the means."""
    ends = [line for line in series if not line.joined]
    means = [y for line in series for y in line.y if y <= highest]
    if not means:
        return None
    if math.isfinite(highest):
        return span_below(ends, highest)
    return None


def _style(find: Find, entrant: Entrant) -> Style:
    """The colour by p_drop, from the smallest to the largest; marker and dash by all else."""
    ps = sorted({each.settings["p_drop"] for each in find.entrants})
    others = [name for name in find.varying if name != "p_drop"]

    def kind(of: Entrant) -> tuple[object, ...]:
        return of.arm, of.members, *(of.settings[name] for name in others)

    kinds = list(dict.fromkeys(map(kind, find.entrants)))
    number = kinds.index(kind(entrant))
    if len(ps) == 1:
        return Style(number, dash=number)
    return Style(number, dash=number, shade=ps.index(entrant.settings["p_drop"]) / (len(ps) - 1))
