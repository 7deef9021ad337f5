"""The table of speed figures: each contender's median, and ratios within the rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from dropbench.report.subject import Subject
from dropbench.report.table import NONE, Column, Row, Table

REFERENCE, OURS = "plain loop", "dropbench"
_LESS_IS_BETTER = frozenset({"ns a unit", "ms", "s", "MB"})
_OF_A_LIMIT = frozenset({"TFLOP/s", "GB/s"})
"""The units of rates that stand against a limit of the machine: what is told is the share of it."""
_SAYS = {
    "dropout layer": "Layers: forward and backward pass together.",
    "bandwidth": "Bandwidth: a layer must read and write units and gradient once; copy is copy_ of such a "
    "tensor into another.",
    "kernel": "Kernels: the passes of one step, and the same by torch's own operations.",
    "sweep": "Sweeps: complete runs of two epochs, with validation and test, on all cores. Where it says "
    "plain 1, the plain loop trains one of them: it trains one after another, at the same rate.",
    "arithmetic": "Arithmetic: the sweep's matrix products, and the machine's rate of such products alone.",
    "jobs": "Jobs: the default number of workers, and one run at a time on all cores.",
}
"""Sentences that say what an item compares, where its name does not."""


@dataclass(frozen=True, eq=False)
class SpeedSubject(Subject):
    """One session of measurements: its rows of speed.csv."""

    session: pd.DataFrame
    kind = "speed"

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The table of all items."""
        return (speed_table(self.session),)


def find_speed(speed: pd.DataFrame) -> list[SpeedSubject]:
    """The sessions among the rows of speed.csv."""
    return [SpeedSubject(rows) for _, rows in speed.groupby("speed_id", sort=False)]


def speed_table(session: pd.DataFrame) -> Table:
    """A row for every item and work of one session."""
    rows = [_row(group) for _, group in session.groupby(["item", "work"], sort=False)]
    first = session.iloc[0]
    columns = (
        Column("what", lambda row: f"{row['item']}: {row['work']}", left=True),
        Column(OURS, _measured),
        Column("against", lambda row: f"{row['reference']} {_figure(row['reference_median'])}".lstrip()),
        Column("times as fast\n[low, high]", lambda row: row["_ratio"]),
    )
    title = (
        f"Speed on {first['device_name']}, {first['device']}, {first['cores']:.0f} cores, "
        f"{first['precision']}, torch {first['torch_version']}, {first['started_at']}"
    )
    return Table("speed", title, columns, tuple(rows), tuple(_notes(rows)))


def _measured(row: Row) -> str:
    """The figure with its unit, and with a name where it is not simply dropbench's."""
    named = "" if row["contender"] == OURS else f"{row['contender']} "
    return f"{named}{_figure(row['median'])} {row['unit']}"


def _row(group: pd.DataFrame) -> Row:
    values = {row["contender"]: _values(row["values"]) for _, row in group.iterrows()}
    unit = group["unit"].iloc[0]
    ours_name = OURS if OURS in values else next(reversed(values))
    ours = values.pop(ours_name)
    reference_name, reference = next(iter(values.items()), ("", ()))
    ratios = [
        (theirs / mine if unit in _LESS_IS_BETTER else mine / theirs)
        for mine, theirs in zip(ours, reference, strict=False)
    ]
    return {
        "item": group["item"].iloc[0],
        "work": group["work"].iloc[0],
        "unit": unit,
        "reference": reference_name,
        "contender": ours_name,
        **_summary("reference_", reference),
        **_summary("", ours),
        **_summary("ratio_", ratios),
        "repetitions": len(ours),
        "_ratio": _ratio(ratios, share=unit in _OF_A_LIMIT),
    }


def _values(text: str) -> tuple[float, ...]:
    return tuple(float(value) for value in text.split())


def _summary(prefix: str, values: Sequence[float]) -> dict[str, float | None]:
    return {
        f"{prefix}median": statistics.median(values) if values else None,
        f"{prefix}lowest": min(values, default=None),
        f"{prefix}highest": max(values, default=None),
    }


def _figure(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _ratio(ratios: Sequence[float], share: bool) -> str:
    if not ratios:
        return NONE
    low, middle, high = min(ratios), statistics.median(ratios), max(ratios)
    if share:
        return f"{100 * middle:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
    return f"{_times(middle)} [{_times(low)}, {_times(high)}]"


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:.0f}"


def _notes(rows: Sequence[Row]) -> list[str]:
    most = max(row["repetitions"] for row in rows)
    items = {row["item"] for row in rows}
    return [
        f"Medians of up to {most} rounds in which the two took turns; the ratio is taken within the rounds. "
        "A share in % is that of the machine's limit.",
        "The plain loop is fp32 with torch.nn.Dropout, as PyTorch's tutorials write it: "
        "dropbench/experiments/speed/plain_loop.py. All p are 0.5, the MLPs' 0.2 at their input. Batches of "
        "128.",
        *(sentence for item, sentence in _SAYS.items() if item in items),
    ]
