"""The parts of a report: one protocol for a sweep, a panel, a comparison and all others."""

import hashlib
from collections.abc import Mapping
from typing import Any, Protocol

from dropbench.report.figure import Figure
from dropbench.report.table import Table
from dropbench.run.telling import data_name


class Subject(Protocol):
    """One thing that a results folder holds, ready to be shown.

    The commands, the report, its page and its pictures all show a subject through these members. A class
    that inherits from this one gives ``kind`` and ``tables``, and of the others what it has.
    """

    kind: str
    """One of KINDS of dropbench.report.folder."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables, the most telling one first."""
        ...

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures; raises DropbenchError if a file that one is made from is damaged."""
        return ()

    @property
    def title(self) -> str:
        """The runs that are shown, and how they were made."""
        return self.tables[0].title

    @property
    def verdict(self) -> tuple[str, ...]:
        """The result in sentences."""
        return self.tables[0].verdict

    @property
    def run_ids(self) -> frozenset[str]:
        """The runs that it is made from."""
        return frozenset()

    @property
    def commands(self) -> tuple[str, ...]:
        """The command lines that make it again."""
        return (f"dropbench {self.kind}",)

    @property
    def file_name(self) -> str:
        """The end of its pictures' names, which tells it from others of its kind."""
        return ""


def setting_file_name(fields: Mapping[str, Any]) -> str:
    """The data, the model and a digest of all fields, which tell one setting's pictures from another's."""
    digest = hashlib.sha256(repr(sorted(fields.items())).encode()).hexdigest()[:6]
    return f"{safe_name(data_name(fields['data']))}-{safe_name(fields['model'])}-{digest}"


def safe_name(text: object) -> str:
    """The text as it may stand in a file's name: letters, digits, hyphens and dots, at most 60."""
    return "".join(c if c.isalnum() or c in "-." else "-" for c in str(text))[:60]
