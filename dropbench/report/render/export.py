"""Exporters, one small file each behind one interface: tables in, text out."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from dropbench.errors import DropbenchError, UsageError
from dropbench.files import write_over
from dropbench.report.render import as_csv, as_json, as_latex, as_markdown
from dropbench.report.table import Table

EXPORTERS: dict[str, Callable[[Sequence[Table]], str]] = {
    ".md": as_markdown.render,
    ".csv": as_csv.render,
    ".json": as_json.render,
    ".tex": as_latex.render,
}


STDOUT = Path("-")


def exporter_for(path: Path, form: str | None = None) -> Callable[[Sequence[Table]], str]:
    """The exporter of ``form`` (md, csv, json, tex), or of a file name's ending; Markdown for stdout.

    Raises:
        UsageError: if there is none.

    """
    ending = f".{form}" if form is not None else ".md" if path == STDOUT else path.suffix.lower()
    if ending not in EXPORTERS:
        known = ", ".join(EXPORTERS)
        if form is not None:
            raise UsageError(f"Unknown format {form!r}.", f"Known: {known.replace('.', '')}.")
        raise UsageError(f"Cannot tell the format of {path.name or path}.", f"Let it end in {known}.")
    return EXPORTERS[ending]


def export(tables: Sequence[Table], path: Path, form: str | None = None) -> None:
    """Write the tables into ``path``, in the format of its ending unless told; ``-`` is stdout.

    Raises:
        UsageError: for an unknown ending.
        DropbenchError: if the file cannot be written.

    """
    write_text(path, exporter_for(path, form)(tables))


def write_text(path: Path, text: str) -> None:
    """Write a file, or stdout for ``-``; raises DropbenchError if it cannot be written."""
    if path == STDOUT:
        sys.stdout.write(text)
        return
    try:
        write_over(path, text.encode("utf-8", errors="backslashreplace"))
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error
