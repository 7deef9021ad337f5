"""Reading the CSV files, as rows or as DataFrames."""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropbench.results.csv_file import read_rows
from dropbench.results.csv_table import CsvTable
from dropbench.results.schema import PANEL, RUNS
from dropbench.run.result import SHARES, WITHOUT_UNITS

if TYPE_CHECKING:
    import pandas as pd


def latest(rows: Iterable[dict[str, Any]], table: CsvTable) -> list[dict[str, Any]]:
    """Return the latest row of each key, or the latest one with the status ``ok`` if there is one.

    The time in the table's column ``started`` decides, and the order of the rows where it says nothing.
    """
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = tuple(row[name] for name in table.key)
        if (other := kept.get(key)) is None or _replaces(row, other, table.started):
            kept[key] = row
    return list(kept.values())


def _replaces(row: dict[str, Any], other: dict[str, Any], started: str) -> bool:
    """Whether a row counts in place of one of the same key that stands before it."""
    ok, other_ok = (bool(each.get("status", "ok") == "ok") for each in (row, other))
    if ok is not other_ok:
        return bool(ok)
    time, before = (started_at(each.get(started, "")) for each in (row, other))
    return time is None or before is None or time >= before


def started_at(cell: str) -> datetime | None:
    """The time in a cell, of several the last; None where it has none that is understood."""
    try:
        times = [datetime.fromisoformat(time) for time in cell.split()]
    except ValueError:
        return None
    return max((time if time.tzinfo else time.replace(tzinfo=UTC) for time in times), default=None)


def finished_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of all runs in ``folder`` that ended ``ok``, by run_id; none if there is no folder."""
    rows = latest(read_rows(folder, RUNS), RUNS)
    return {row["run_id"]: row for row in rows if row["status"] == "ok"}


def with_panel(folder: Path) -> set[str]:
    """Return the run_ids with a complete panel in ``folder``, but for autoencoders; none without a folder."""
    return {
        row["run_id"]
        for row in read_rows(folder, PANEL)
        if row["measure"] in WITHOUT_UNITS and row["at"] == SHARES[-1]
    }


def read_table(folder: Path, table: CsvTable) -> "pd.DataFrame":
    """Return the latest rows of a table, numbers as float64; empty, with all columns, if there is no file.

    Invalid rows are left out with a warning; see dropbench.results.csv_file.read_rows.
    """
    import pandas as pd

    return pd.DataFrame(latest(read_rows(folder, table), table), columns=list(table.columns))


def rows_of(folder: Path, run_ids: Collection[str] | None = None) -> "pd.DataFrame":
    """The rows of runs.csv, all or those of some runs, with whole numbers and truth values as such."""
    rows = read_table(folder, RUNS)
    return tidied(rows if run_ids is None else rows[rows["run_id"].isin(list(run_ids))])


def tidied(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Rows with whole numbers, truth values and missing values as pandas has them, numbered from 0."""
    return rows.replace({"True": True, "False": False}).convert_dtypes().reset_index(drop=True)
