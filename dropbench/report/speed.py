"""The table of speed figures: each contender's median, and ratios within the rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from dropbench.report.subject import Subject
from dropbench.report.table import NONE, Column, Row, Table

REFERENCE, OURS = "plain loop", "dropbench"
_LESS_IS_BETTER = frozenset({"ns a unit", "s", "MB"})


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
        Column("unit", lambda row: row["unit"], left=True),
        Column("measured", lambda row: f"{row['contender']} {_figure(row['median'])}"),
        Column("against", lambda row: f"{row['reference']} {_figure(row['reference_median'])}".lstrip()),
        Column("times as fast\n[lowest, highest]", lambda row: row["_ratio"]),
    )
    title = (
        f"Speed on {first['device_name']}, {first['device']}, {first['cores']:.0f} cores, "
        f"{first['precision']}, torch {first['torch_version']}, {first['started_at']}"
    )
    return Table("speed", title, columns, tuple(rows), tuple(_notes(rows)))


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
        "_ratio": _ratio(ratios, share=group["item"].iloc[0] == "arithmetic"),
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
    return f"{middle:.1f} [{low:.1f}, {high:.1f}]"


def _notes(rows: Sequence[Row]) -> list[str]:
    most = max(row["repetitions"] for row in rows)
    return [
        f"Medians of up to {most} rounds in which the two took turns; the ratio is taken within the rounds.",
        "The plain loop is fp32 with torch.nn.Dropout, as PyTorch's tutorials write it: "
        "dropbench/experiments/speed/plain_loop.py. All p are 0.5, the MLP's 0.2 at its input. Layers: "
        "forward and backward together. Batches of 128.",
    ]
