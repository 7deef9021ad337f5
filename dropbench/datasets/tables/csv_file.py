"""Reading a CSV file: its separator, its encoding, its decimal mark, and what is wrong with it."""

import codecs
import csv
import itertools
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dropbench.datasets.memory import check_memory
from dropbench.datasets.tables.table import check_names
from dropbench.errors import DropbenchError

SEPARATORS = (",", ";", "\t")
MISSING = "?"
"""A cell that is missing beside what pandas takes as such: an empty one, NA, NaN, null, …"""
_BYTES_IN_MEMORY = 5  # bytes in memory for each byte of the file
_BLOCK = 1 << 20
_SAMPLE = 50  # records from which separator and decimal mark are taken
_SHOWN = 40  # characters of a line that a sentence shows
_LONGEST_LINE = 1 << 26  # characters
_NUMBER = re.compile(r"^\s*[+-]?\d+([.,])\d+(?:e[+-]?\d+)?\s*$", re.IGNORECASE)
_OTHERS = {  # how files begin that are often taken for CSV
    b"PAR1": ("a Parquet file", "Write parquet: and its path."),
    b"PK\x03\x04": ("a workbook or an archive", "Save it as CSV."),
    b"\x1f\x8b": ("compressed", "Unpack it."),
}


@dataclass(frozen=True)
class CsvLayout:
    """How a CSV file is written."""

    encoding: str
    separator: str
    decimal: str
    names: tuple[str, ...]


def layout_of(file: Path) -> CsvLayout:
    """Return how a CSV file is written, from its first records.

    Raises:
        DropbenchError: if it is no such file, its header has no names, or it needs more memory than there is.

    """
    check_memory(str(file), _BYTES_IN_MEMORY * file.stat().st_size)
    encoding = _encoding(file)
    found = {separator: _records(file, encoding, separator) for separator in SEPARATORS}
    separator = max(SEPARATORS, key=lambda each: _fit(found[each]))
    in_one_column = len(found[separator]) == 0 or len(found[separator][0]) == 1
    if in_one_column and not all(found.values()):  # with some separator, it has a quote that is not closed
        raise DropbenchError(
            f"{file} cannot be read as CSV.", "See whether a quote is not closed, or a line has no end."
        )
    header, *records = found[separator]
    names = tuple(name.strip() or f"column {place + 1}" for place, name in enumerate(header))
    _check_header(file, names, records)
    marks = {mark for cells in records for cell in cells for mark in _NUMBER.findall(cell)}
    decimal = "," if separator != "," and marks == {","} else "."
    return CsvLayout(encoding, separator, decimal, names)


def read_csv(file: Path, layout: CsvLayout, as_text: Sequence[str] = ()) -> pd.DataFrame:
    """Return the rows of a CSV file; the columns ``as_text`` are text, even if all their cells are numbers.

    Raises:
        DropbenchError: if the file cannot be read.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # it tells of cells that are lost
            frame: pd.DataFrame = pd.read_csv(
                file,
                sep=layout.separator,
                encoding=layout.encoding,
                decimal=layout.decimal,
                header=0,
                names=list(layout.names),
                index_col=False,
                dtype={name: str for name in as_text if name in layout.names},
                na_values=[MISSING],
                skipinitialspace=True,
                low_memory=False,
            )
    except (ValueError, pd.errors.ParserWarning, OSError) as error:
        raise DropbenchError(f"Cannot read {file}: {_sentence(error)}.", "Repair the file.") from error
    except MemoryError as error:
        raise DropbenchError(f"{file} does not fit into memory.", "Take out rows or columns.") from error
    if frame.empty:
        raise DropbenchError(f"{file} has a line of names and no rows.", "Add rows.")
    return frame


def _sentence(error: Exception) -> str:
    return str(error).removeprefix("Error tokenizing data. C error: ").strip().rstrip(".")


def _records(file: Path, encoding: str, separator: str) -> list[list[str]]:
    """Return the first records of a file; none if it has no such records with this separator."""
    try:
        with file.open(encoding=encoding, newline="") as stream:
            lines = iter(lambda: stream.readline(_LONGEST_LINE), "")
            read = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
            return list(itertools.islice(filter(None, read), _SAMPLE))
    except (csv.Error, UnicodeError):
        return []


def _fit(records: list[list[str]]) -> tuple[bool, int]:
    """Return how well a separator fits: all records have as many cells, and the more the better."""
    lengths = {len(cells) for cells in records}
    return len(lengths) == 1 and lengths != {1}, len(records[0]) if records else 0


def _check_header(file: Path, names: tuple[str, ...], records: list[list[str]]) -> None:
    if len(names) < 2:
        raise DropbenchError(
            f"The first line of {file} names only one column, {names[0][:_SHOWN]!r}.",
            "Write a line of names first, and commas, semicolons or tabs between them.",
        )
    numbers = [name for name in names if _is_number(name)]
    counted = numbers == list(map(str, range(len(names))))
    if (len(numbers) == len(names) and not counted) or len(set(numbers)) < len(numbers):
        raise DropbenchError(
            f"The first line of {file} has numbers and no names of columns.",
            "Write a line of names above it.",
        )
    check_names(names, str(file))
    for place, cells in enumerate(records):
        if len(cells) > len(names):
            raise DropbenchError(
                f"Row {place + 1} of {file} has {len(cells)} cells, and there are {len(names)} columns.",
                "Quote cells that have separators in them, and name all columns.",
            )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _encoding(file: Path) -> str:
    """Return the encoding of a file of text: UTF-8, UTF-16 if it says so, or else that of older Windows."""
    with file.open("rb") as stream:
        start = stream.read(4)
    if not start:
        raise DropbenchError(f"{file} is empty.", "A table has a line of names first.")
    for magic, (what, hint) in _OTHERS.items():
        if start.startswith(magic):
            raise DropbenchError(f"{file} is no CSV file: it is {what}.", hint)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return next(each for each in ("utf-8-sig", "cp1252", "latin-1") if _decodes(file, each))


def _decodes(file: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            if b"\0" in block:
                raise DropbenchError(
                    f"{file} is no CSV file: it has bytes that are no text.", "Save it as CSV."
                )
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                return False
    return True
