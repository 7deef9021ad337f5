"""One CSV file that is only ever appended to, and survives being cut off at any byte."""

import contextlib
import csv
import io
import logging
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dropbench.errors import DropbenchError
from dropbench.results.schema import SCHEMA_VERSION, CsvTable
from dropbench.run.result import STATUSES

_log = logging.getLogger(__name__)


def read_rows(folder: Path, table: CsvTable) -> list[dict[str, Any]]:
    """The rows of a file as the table's columns, numbers as floats (empty: NaN); [] where it is absent.

    A row of another schema version, of a wrong number of cells, or with text where a number belongs is
    left out, and told. Columns may stand in any order; one that is not the table's is ignored, and one
    that an older dropbench did not write yet is empty. What spreadsheets make of a file is read, too: a mark
    of its encoding, semicolons, decimal commas, TRUE for True.

    Raises:
        DropbenchError: if the file cannot be read, or is no such table.

    """
    path = folder / table.file_name
    return _parse(path, _read(path), table)


def read_new_rows(folder: Path, table: CsvTable, start: int) -> tuple[list[dict[str, Any]], int]:
    """The whole rows of a widened file from byte ``start`` on, and the start for the next call.

    Raises:
        DropbenchError: if the file is shorter than it was, or as read_rows does.

    """
    path = folder / table.file_name
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            if file.tell() < start:
                raise DropbenchError(f"{path} was cut short or replaced by something else meanwhile.")
            file.seek(start)
            new = file.read()
    except FileNotFoundError as error:
        if start:
            raise DropbenchError(f"{path} is gone.", "The same command begins anew.") from error
        return [], 0
    except OSError as error:
        raise DropbenchError(f"Cannot read {path}: {error.strerror or error}.") from error
    whole = new[: new.rfind(b"\n") + 1]
    header = _line(table.columns) if start else ""
    rows = _parse(path, header + whole.decode("utf-8-sig", errors="replace"), table)
    return rows, start + len(whole)


def _parse(path: Path, text: str, table: CsvTable) -> list[dict[str, Any]]:
    lines = _cells(text)
    if not lines:
        return []
    header = lines[0]
    if missing := [name for name in (*table.key, "schema_version") if name not in header]:
        raise DropbenchError(
            f"{path} has no column {missing[0]!r}.", "It was not written by dropbench; use another folder."
        )
    rows: list[dict[str, Any]] = []
    other_versions: set[str] = set()
    of_spreadsheet = _is_of_spreadsheet(text)
    for number, cells in enumerate(lines[1:], start=2):
        torn = number == len(lines) and not text.endswith("\n")
        if len(cells) != len(header):
            if cells:
                what = "was cut off while written" if torn else f"has {len(cells)} of {len(header)} cells"
                _log.warning(f"{path}: row {number} {what}; it is left out.")
            continue
        by_name = dict(zip(header, cells, strict=True))
        if of_spreadsheet:
            by_name = _as_written(by_name, table)
        if by_name["schema_version"] != str(SCHEMA_VERSION):
            other_versions.add(by_name["schema_version"])
            continue
        row = _typed(by_name, table)
        if by_name.get("status", "ok") not in STATUSES:
            status = by_name["status"]
            _log.warning(f"{path}: row {number} has the unknown status {status!r}; it is left out.")
        elif row is None:
            _log.warning(f"{path}: row {number} has text where a number belongs; it is left out.")
        else:
            rows.append(row)
    if other_versions:
        versions = ", ".join(sorted(other_versions))
        _log.warning(
            f"{path}: rows of schema version {versions} are left out; this dropbench reads {SCHEMA_VERSION}."
        )
    return rows


def append_rows(folder: Path, table: CsvTable, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows and wait until they are on disk; the caller holds the folder's lock.

    Raises:
        DropbenchError: if the file cannot be written; what it held before stays.

    """
    path = folder / table.file_name
    text = "".join(_line(row.get(name) for name in table.columns) for row in rows)
    try:
        with path.open("ab", buffering=0) as file:  # a buffer would be written again when the file is closed
            before = file.tell()
            rest = ((_line(table.columns) if before == 0 else "") + text).encode()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)  # a full disk must not leave half a row
                raise
    except OSError as error:
        raise DropbenchError(
            f"Cannot write {path}: {error.strerror or error}.",
            "What it held before is untouched; the same command goes on where it stopped.",
        ) from error


def is_torn(folder: Path, table: CsvTable) -> bool:
    """Whether the last line of a file was cut off."""
    try:
        with (folder / table.file_name).open("rb") as file:
            file.seek(0, os.SEEK_END)
            if file.tell() == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except FileNotFoundError:
        return False


def mend(folder: Path, table: CsvTable) -> None:
    """Repair a last line that was cut off, so that the next row starts on a line of its own.

    A line that has all its cells only lost its line break and keeps its data; a shorter one is removed,
    and told: its run will be done again. The caller holds the folder's lock.
    """
    path = folder / table.file_name
    text = _read(path)
    if not text or text.endswith("\n"):
        return
    start = text.rfind("\n") + 1
    lines = _cells(text)
    cells = lines[-1]
    # Without any line break it is the header that was cut off, and there was no row yet.
    complete = start > 0 and len(cells) == len(lines[0])
    mended = text[:start] + (_line(cells) if complete else "")
    with path.open("r+b") as file:
        encoded = mended.encode()
        file.truncate(len(text[:start].encode()))
        file.seek(0, os.SEEK_END)
        file.write(encoded[file.tell() :])
    if not complete:
        _log.warning(f"{path}: the last line was cut off while written and was removed.")


def widen(folder: Path, table: CsvTable) -> None:
    """Give a file that an older dropbench wrote the columns it has not yet; the caller holds the lock.

    A file that a spreadsheet saved in its own way becomes one of dropbench's again.

    Raises:
        DropbenchError: if the file has columns that this dropbench does not write; it is left as it is.

    """
    path = folder / table.file_name
    text = _read(path)
    lines = _cells(text)
    if not lines or text.startswith(_line(table.columns)):
        return
    header = lines[0]
    if not set(table.key) <= set(header) <= set(table.columns):
        raise DropbenchError(
            f"{path} has other columns than this dropbench writes (schema {SCHEMA_VERSION}).",
            "Name another folder with `out`.",
        )
    # A row with a wrong number of cells cannot be placed; readers leave it out, and told so.
    rows = (
        _as_written(dict(zip(header, cells, strict=True)), table)
        for cells in lines[1:]
        if len(cells) == len(header)
    )
    text = _line(table.columns) + "".join(_line(row.get(name) for name in table.columns) for row in rows)
    partial = path.with_suffix(".partial")
    try:
        partial.write_bytes(text.encode())
        os.replace(partial, path)
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error


def _cells(text: str) -> list[list[str]]:
    """The cells of every line. What a line holds can spoil that line alone: a row is never more than one."""
    # Other programs end lines with a carriage return; within a line it would end the row.
    lines = text.replace("\r\n", "\n").replace("\r", " ").split("\n")
    if lines[-1] == "":
        lines.pop()
    if not lines:
        return []
    delimiter = _delimiter(lines[0])
    with contextlib.suppress(csv.Error):
        together = list(csv.reader(lines, delimiter=delimiter))
        if len(together) == len(lines):
            return together
    # Slower; a stray quote swallowed lines, or something is worse.
    return [_one(line, delimiter) for line in lines]


def _one(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return [line]


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _is_of_spreadsheet(text: str) -> bool:
    """Whether cells may need _as_written; it takes a fifth of the time of reading."""
    return _delimiter(text[: text.find("\n")]) != "," or "TRUE" in text or "FALSE" in text


_TRUTH = {"TRUE": "True", "FALSE": "False"}


def _as_written(cells: dict[str, str], table: CsvTable) -> dict[str, str]:
    """Cells as dropbench writes them, where a spreadsheet has its own way with numbers and truth."""
    return {
        name: _TRUTH.get(cell, cell) if name in table.text_columns else cell.replace(",", ".")
        for name, cell in cells.items()
    }


def _read(path: Path) -> str:
    try:
        # Bytes that are no UTF-8 become marks in a cell rather than an end of everything.
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DropbenchError(f"Cannot read {path}: {error.strerror or error}.") from error


def _typed(cells: dict[str, str], table: CsvTable) -> dict[str, Any] | None:
    row: dict[str, Any] = {name: cells.get(name, "") for name in table.text_columns}
    try:
        for name in table.number_columns:
            cell = cells.get(name)
            row[name] = float(cell) if cell else math.nan
    except ValueError:
        return None
    return row


def _line(cells: Iterable[Any]) -> str:
    """One physical line: a line break inside a cell becomes a space."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(
        "" if cell is None else " ".join(cell.split()) if isinstance(cell, str) else cell for cell in cells
    )
    return buffer.getvalue()
