"""The form of a CSV file: its columns, and what its rows are told apart by."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

_PROVENANCE = frozenset(
    {"device", "device_name", "torch_version", "dropbench_version", "git_commit", "started_at"}
)
"""Text columns about the machine, the software and the time, in all tables that have them."""

_STARTED = ("started_at", "member_started_at")


@dataclass(frozen=True)
class CsvTable:
    """One CSV file: its name, all columns in order, the text columns, and the columns of a row's key."""

    file_name: str
    columns: tuple[str, ...]
    text_columns: frozenset[str]
    key: tuple[str, ...]

    @cached_property
    def started(self) -> str:
        """The column that says when what a row is made of was started; empty if there is none.

        That of paper.csv does not count: its rows choose among trials, and a later choice may be of one
        that was started earlier.
        """
        return next((name for name in _STARTED if name in self.columns), "")

    @cached_property
    def number_columns(self) -> tuple[str, ...]:
        """The columns that hold numbers."""
        return tuple(name for name in self.columns if name not in self.text_columns)


def csv_table(
    file_name: str, columns: tuple[str, ...], key: tuple[str, ...], text: Collection[str] = ()
) -> CsvTable:
    """Return a table with the text columns ``text``; a name may be a number column in another table."""
    return CsvTable(file_name, columns, frozenset({*text, *_PROVENANCE}) & frozenset(columns), key)
