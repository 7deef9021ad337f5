"""Which settings of a sweep a line joins, along which axis, and what stands at that axis."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from dropbench.report.apart import words_apart
from dropbench.report.figure import Axis
from dropbench.report.sweep.sweep import PROBABILITIES, Setting, Sweep, axis_text, sortable
from dropbench.run import telling
from dropbench.run.config import SETTINGS

_NUMBERS = (*PROBABILITIES, "train_size")
AXIS_LABELS = {
    **{name: SETTINGS[name].label for name in _NUMBERS},
    "passes": "k, thinned nets averaged for each image",
}
_LOG = ("train_size", "passes")
_MOST_TICKS = 12


def horizontal_axis(sweep: Sweep) -> str:
    """The numeric axis with most values, p_drop first among equals."""

    def values(axis: str) -> int:
        return len({sortable(setting.axes[axis]) for setting in sweep.settings} - {math.inf})

    return max(_NUMBERS, key=values)


def axis_of(name: str, places: Iterable[float]) -> Axis:
    """The horizontal axis of this name for points at ``places``; NaN is no place."""
    found = tuple(sorted({place for place in places if not math.isnan(place)}))
    log = name in _LOG
    return Axis(
        AXIS_LABELS.get(name, name),
        log=log,
        ticks=found if log and len(found) <= _MOST_TICKS else (),
        complement="p_keep = 1 − p_drop, the 2014 paper's p" if name == "p_drop" else "",
    )


def lines_of(sweep: Sweep, x_axis: str) -> dict[str, list[Setting]]:
    """The settings that a line along ``x_axis`` joins, in its order, by the values of the other axes.

    A setting without any value of the sweep's metric is on no line.
    """
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


def setting_name(sweep: Sweep, setting: Setting) -> str:
    """The values of all varying axes, for a legend."""
    axes = sweep.varying or ("p_drop",)
    return ", ".join(f"{axis} {axis_text(setting.axes[axis], 'all')}" for axis in axes)


def sweep_picture_title(sweep: Sweep) -> str:
    """The title of a picture of a sweep: model, data, and of how many seeds."""
    shown = seeds_shown(max(len(setting.run_ids) for setting in sweep.settings))
    own = f", each at its own {sweep.budget.own()}" if sweep.budget else ""
    return picture_title(sweep.fields, f"{shown}{own}")


def picture_title(fields: Mapping[str, Any], shown: str) -> str:
    """The title of a picture: model, data, epochs, and what is ``shown`` of them."""
    target = telling.unusual(fields, ("target",))
    named = ", ".join([telling.data_name(fields["data"]), *words_apart(fields), *target])
    return f"{fields['model']} on {named}, {telling.counted(fields['epochs'], 'epoch')}, {shown}"


def seeds_shown(seeds: int) -> str:
    """How many seeds the means in a picture are of."""
    return f"mean of {seeds} seeds with 95 % interval" if seeds > 1 else "one seed"
