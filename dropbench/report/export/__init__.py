"""Exporters, one small file each behind one interface: tables in, text out."""

from collections.abc import Callable, Sequence
from pathlib import Path

from dropbench.errors import DropbenchError, UsageError
from dropbench.report.export import as_csv, as_json, as_latex, as_markdown
from dropbench.report.table import Table

EXPORTERS: dict[str, Callable[[Sequence[Table]], str]] = {
    ".md": as_markdown.render,
    ".csv": as_csv.render,
    ".json": as_json.render,
    ".tex": as_latex.render,
}


def check_ending(path: Path) -> None:
    """Raise UsageError unless there is an exporter for this file name's ending."""
    if path.suffix.lower() not in EXPORTERS:
        raise UsageError(
            f"Cannot tell the format of {path.name or path}.", f"Let it end in {', '.join(EXPORTERS)}."
        )


def export(tables: Sequence[Table], path: Path) -> None:
    """Write the tables into ``path`` in the format of its ending.

    Raises:
        UsageError: for an unknown ending.
        DropbenchError: if the file cannot be written.

    """
    check_ending(path)
    text = EXPORTERS[path.suffix.lower()](tables)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error
