"""Results that show themselves in a notebook."""

from pathlib import Path

from dropbench.folders import of_home
from dropbench.report.folder import Report
from dropbench.report.page.build import render
from dropbench.report.page.notebook import fragment
from dropbench.report.render.export import write_text
from dropbench.report.render.terminal import as_text
from dropbench.report.table import Table


class Shown:
    """Base of what a call returns: tables, sentences and figures of its ``report``."""

    @property
    def report(self) -> Report:
        """The subjects that are shown."""
        raise NotImplementedError

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of all subjects."""
        return self.report.tables

    @property
    def table(self) -> Table:
        """The first table, which is the most telling one."""
        return self.tables[0]

    @property
    def verdict(self) -> str:
        """The results in sentences."""
        return " ".join(sentence for subject in self.report.subjects for sentence in subject.verdict)

    def to_html(self, path: Path | str) -> Path:
        """Write one page that works offline, and return its path.

        Raises:
            DropbenchError: if it cannot be written.

        """
        path = of_home(path)
        write_text(path, render(self.report))
        return path

    def __str__(self) -> str:
        """The tables as text."""
        return as_text(self.report.tables)

    def _repr_html_(self) -> str:
        """Show the verdict, the tables and the pictures in a notebook."""
        return fragment(self.report)
