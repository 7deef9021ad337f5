"""Reading and appending to one CSV file, which may be cut off at any byte without losing other rows."""

import codecs
import contextlib
import csv
import io
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dropbench.errors import DropbenchError
from dropbench.files import write_whole
from dropbench.results.cells import fault_of, typed
from dropbench.results.csv_table import CsvTable
from dropbench.results.schema import SCHEMA_VERSION
from dropbench.run.telling import listed

_log = logging.getLogger(__name__)


def read_rows(folder: Path, table: CsvTable) -> list[dict[str, Any]]:
    """Return the rows of a file, numbers as floats (an empty cell is NaN); [] if there is no file.

    Rows with another schema version, a wrong number of cells, or a cell of another kind or out of its range
    are left out, with a warning. Columns may be in any order; unknown ones are ignored, and those
    that an older dropbench did not write yet are empty. Files saved by spreadsheets are read as well: with a
    byte order mark, semicolons, decimal commas, or TRUE for True.

    Raises:
        DropbenchError: if the file cannot be read, or lacks the key columns of the table.

    """
    path = folder / table.file_name
    return _parse(path, _read(path), table)


def read_new_rows(folder: Path, table: CsvTable, start: int) -> tuple[list[dict[str, Any]], int]:
    """Return the complete rows from byte ``start`` on, and the start for the next call.

    The file must have all columns of the table in order, which widen ensures.

    Raises:
        DropbenchError: if the file is now shorter than ``start``, or gone; see also read_rows.

    """
    path = folder / table.file_name
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            if file.tell() < start:
                raise DropbenchError(
                    f"{path} was cut short or replaced during this command.", "Run the same command again."
                )
            file.seek(start)
            new = file.read()
    except FileNotFoundError as error:
        if start:
            raise DropbenchError(
                f"{path} is gone.", "Run the same command again; it starts from the beginning."
            ) from error
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
    faults: list[str] = []
    other_versions: set[str] = set()
    from_spreadsheet = _is_from_spreadsheet(text)
    for number, cells in enumerate(lines[1:], start=2):
        torn = number == len(lines) and not text.endswith("\n")
        if len(cells) != len(header):
            if cells:
                what = (
                    "was cut off while it was written" if torn else f"has {len(cells)} of {len(header)} cells"
                )
                _log.warning(f"{path}: row {number} {what}; it is left out.")
            continue
        by_name = dict(zip(header, cells, strict=True))
        if from_spreadsheet:
            by_name = _as_written(by_name, table)
        if by_name["schema_version"] != str(SCHEMA_VERSION):
            other_versions.add(by_name["schema_version"])
            continue
        if fault := fault_of(by_name, table):
            faults.append(f"row {number}, {fault}")
        else:
            rows.append(typed(by_name, table))
    if faults:
        _log.warning(f"{path}: left out: {listed(faults, most=3)}.")
    if other_versions:
        versions = ", ".join(sorted(other_versions))
        _log.warning(
            f"{path}: rows of schema version {versions} are left out; this dropbench reads {SCHEMA_VERSION}."
        )
    return rows


def append_rows(folder: Path, table: CsvTable, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows and wait until they are on disk; the caller must hold the folder's lock.

    Raises:
        DropbenchError: if the file cannot be written; the rows in it before are not changed.

    """
    path = folder / table.file_name
    text = "".join(_line(row.get(name) for name in table.columns) for row in rows)
    try:
        with path.open("ab", buffering=0) as file:  # a buffer would be flushed again when the file is closed
            before = file.tell()
            if before and not _has_own_header(path, table):
                raise DropbenchError(
                    f"{path} has other columns than at the start: another version of dropbench writes there, "
                    "too.",
                    "Run the same command again, with the version that the others have.",
                )
            rest = ((_line(table.columns) if before == 0 else "") + text).encode()
            try:
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)  # so that a full disk leaves no half row
                raise
    except OSError as error:
        raise DropbenchError(
            f"Cannot write {path}: {error.strerror or error}.",
            "Its earlier rows are unchanged; the same command continues where it stopped.",
        ) from error


def _has_own_header(path: Path, table: CsvTable) -> bool:
    header = _line(table.columns).encode()
    with path.open("rb") as file:
        return file.read(len(codecs.BOM_UTF8) + len(header)).removeprefix(codecs.BOM_UTF8).startswith(header)


def is_torn(folder: Path, table: CsvTable) -> bool:
    """Return whether the last line of a file was cut off."""
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

    A line that has all its cells has only lost its line break, and is kept. A shorter one is removed with a
    warning, and its run will be done again. The caller must hold the folder's lock.
    """
    path = folder / table.file_name
    text = _read(path)
    if not text or text.endswith("\n"):
        return
    start = text.rfind("\n") + 1
    lines = _cells(text)
    cells = lines[-1]
    # A file without any line break has no rows yet: it is the header that was cut off.
    complete = start > 0 and len(cells) == len(lines[0])
    mended = text[:start] + (_line(cells) if complete else "")
    with path.open("r+b") as file:
        encoded = mended.encode()
        file.truncate(len(text[:start].encode()))
        file.seek(0, os.SEEK_END)
        file.write(encoded[file.tell() :])
    if not complete:
        _log.warning(f"{path}: the last line was cut off while it was written, and is removed.")


def widen(folder: Path, table: CsvTable) -> None:
    """Add the columns that an older dropbench did not write yet; the caller must hold the folder's lock.

    A file that was saved by a spreadsheet is rewritten in dropbench's own format.

    Raises:
        DropbenchError: if the file has columns that this dropbench does not write; it is not changed.

    """
    path = folder / table.file_name
    text = _read(path)
    lines = _cells(text)
    if not lines or text.startswith(_line(table.columns)):
        return
    header = lines[0]
    lacking = [name for name in table.key if name not in header]
    unknown = [name for name in header if name not in table.columns]
    if lacking or unknown:
        has = f"has the column {unknown[0]!r}" if unknown else f"has no column {lacking[0]!r}"
        many = f" and {len(unknown) - 1} more" if len(unknown) > 1 else ""
        which = f", which this dropbench does not write{many}" if unknown else ""
        raise DropbenchError(
            f"{path} {has}{which}.",
            f"{'Remove what is not its own, or name' if unknown else 'Name'} another folder with `out`.",
        )
    # Rows with a wrong number of cells fit no columns; every reader warned that they are left out.
    rows = (
        _as_written(dict(zip(header, cells, strict=True)), table)
        for cells in lines[1:]
        if len(cells) == len(header)
    )
    text = _line(table.columns) + "".join(_line(row.get(name) for name in table.columns) for row in rows)
    try:
        write_whole(path, text.encode())
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error


def _cells(text: str) -> list[list[str]]:
    """Return the cells of every line; a row is a single line, so a damaged line never affects others."""
    # Some programs write \r\n line ends. A lone \r within a line must not end the row.
    lines = text.replace("\r\n", "\n").replace("\r", " ").split("\n")
    if lines[-1] == "":
        lines.pop()
    if not lines:
        return []
    delimiter = _delimiter(lines[0])
    with contextlib.suppress(csv.Error):
        rows = list(csv.reader(lines, delimiter=delimiter))
        if len(rows) == len(lines):
            return rows
    # This is slower, but a stray quote, which joined lines above, then spoils only its own line.
    return [_cells_of_line(line, delimiter) for line in lines]


def _cells_of_line(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return [line]


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _is_from_spreadsheet(text: str) -> bool:
    """Return whether cells may need _as_written, which takes a fifth of the time of reading."""
    return _delimiter(text[: text.find("\n")]) != "," or "TRUE" in text or "FALSE" in text


_TRUTH_VALUES = {"TRUE": "True", "FALSE": "False"}


def _as_written(cells: dict[str, str], table: CsvTable) -> dict[str, str]:
    """Return cells as dropbench writes them, where a spreadsheet changed decimal points and truth values."""
    return {
        name: _TRUTH_VALUES.get(cell, cell) if name in table.text_columns else cell.replace(",", ".")
        for name, cell in cells.items()
    }


def _read(path: Path) -> str:
    try:
        # Bytes that are not UTF-8 are replaced within their cell, so that the other rows stay readable.
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise DropbenchError(f"Cannot read {path}: {error.strerror or error}.") from error


def _line(cells: Iterable[Any]) -> str:
    """Return the cells as one line of text; a line break within a cell becomes a space."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(
        "" if cell is None else " ".join(cell.split()) if isinstance(cell, str) else cell for cell in cells
    )
    return buffer.getvalue()
