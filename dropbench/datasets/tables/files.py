"""Tables in files: ``csv:FILE`` and ``parquet:FILE``, with the test rows in the same file or in another."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pandas as pd

from dropbench.datasets.dataset import DataSet
from dropbench.datasets.memory import check_memory
from dropbench.datasets.options import NO_OPTIONS, SourceOptions, resolved
from dropbench.datasets.source import OwnSource
from dropbench.datasets.tables.cells import is_number
from dropbench.datasets.tables.csv_file import layout_of, read_csv
from dropbench.datasets.tables.table import check_names, find_target, table_of
from dropbench.errors import DropbenchError, UsageError


class TableFile(OwnSource, ABC):
    """A table in a file, called by its form and the path as it was told."""

    summary: str

    def __init__(self, path: str, options: SourceOptions = NO_OPTIONS) -> None:
        if options.test_file and "test_share" in options.told:
            raise UsageError("The test rows are those of `test_file`.", "Leave out `test_share`.")
        super().__init__(path, options)
        self.test_path = resolved(options.test_file) if options.test_file else None

    @property
    def identity(self) -> str:
        """The names of the files, wherever they are, and the options."""
        test = self.test_path.name if self.test_path else ""
        return f"{self.form}:{self.path.name} {self.options.told | {'test_file': test}}"

    def files(self, data_dir: Path) -> Sequence[Path]:
        """Return the file, and that of the test rows if there is one.

        Raises:
            DropbenchError: if one is not there, or is no file.

        """
        paths = [self.path] if self.test_path is None else [self.path, self.test_path]
        for path in paths:
            _check_file(path)
        return paths

    def fetch(self, data_dir: Path) -> None:
        """Raise DropbenchError: a user's own file cannot be downloaded."""
        raise DropbenchError(f"There is no file {self.path}.", "Put it there.")

    def decode(self, data_dir: Path) -> DataSet:
        """Read the file, and that of the test rows.

        Raises:
            UsageError: if the target is not there, or does not fit the task.
            DropbenchError: if a file cannot be read, or no net can be trained on the table.

        """
        train, notes = self.read(self.path)
        test = None
        if self.test_path is not None:
            text = [str(name) for name in train if not is_number(train[name])]
            test, more = self.read(self.test_path, text)
            notes += more
        made = table_of(self.name, train, test, None, self.options)
        return replace(made, notes=(*notes, *made.notes))

    @abstractmethod
    def read(self, file: Path, as_text: Sequence[str] = ()) -> tuple[pd.DataFrame, list[str]]:
        """Return the rows of a file, and what a user should know of how they were read.

        The columns ``as_text`` are text in the training rows.
        """


class CsvFile(TableFile):
    """A table in a file of separated values."""

    form = "csv"
    summary = "a table in a CSV file"

    def read(self, file: Path, as_text: Sequence[str] = ()) -> tuple[pd.DataFrame, list[str]]:
        """Return the rows of a CSV file, and a note if it is not in Unicode."""
        layout = layout_of(file)
        find_target(self.options.target, layout.names)  # before the rows are read
        notes = []
        if not layout.encoding.startswith("utf"):
            called = {"cp1252": "Windows-1252", "latin-1": "Latin-1"}[layout.encoding]
            notes.append(f"{file.name} is not in UTF-8; it is read as {called}.")
        return read_csv(file, layout, as_text), notes


class ParquetFile(TableFile):
    """A table in a Parquet file."""

    form = "parquet"
    summary = "a table in a Parquet file"

    def read(self, file: Path, as_text: Sequence[str] = ()) -> tuple[pd.DataFrame, list[str]]:
        """Return the rows of a Parquet file, whose types are its own."""
        parquet = _pyarrow_parquet()
        try:
            schema = parquet.read_schema(file)
            about = parquet.read_metadata(file)
            check_names(schema.names, str(file))
            find_target(self.options.target, schema.names)
            check_memory(str(file), 3 * 8 * about.num_rows * about.num_columns)
            frame = parquet.read_table(file).to_pandas(ignore_metadata=True)
        except (ValueError, OSError) as error:  # pyarrow's own errors are kinds of these
            if isinstance(error, DropbenchError):
                raise
            raise DropbenchError(
                f"{file} cannot be read as Parquet: {str(error).rstrip('.')}.", "Write it anew."
            ) from error
        if frame.empty:
            raise DropbenchError(f"{file} has no rows.", "Add rows.")
        return frame, []


def _pyarrow_parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise DropbenchError(
            "Parquet files need pyarrow, which is not installed.", "Run pip install 'dropbench[parquet]'."
        ) from error
    return parquet


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise DropbenchError(f"{path} is a folder.", "Name a file in it.")
    if not path.exists():
        there = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, there, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "A path starts from the folder you are in."
        raise DropbenchError(f"There is no file {path}.", hint)
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise DropbenchError(
            f"Cannot read {path}: {error.strerror or error}.", "See to its permissions."
        ) from error
