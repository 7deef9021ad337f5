"""A find as a subject of a report."""

from dataclasses import dataclass
from functools import cached_property

from dropbench.report.figure import Figure
from dropbench.report.find.command import find_command
from dropbench.report.find.figures import find_figures
from dropbench.report.find.find import Find
from dropbench.report.find.table import find_table
from dropbench.report.subject import Subject, setting_file_name
from dropbench.report.table import Table


@dataclass(frozen=True)
class FindSubject(Subject):
    """A race of settings: what to use, how sure that is, and how the race went."""

    find: Find
    kind = "find"

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The table of all settings."""
        return (find_table(self.find),)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """The race against time, and where every setting stands; none before the first look."""
        return find_figures(self.find)

    @property
    def run_ids(self) -> frozenset[str]:
        """The runs of all settings."""
        return self.find.run_ids

    @property
    def commands(self) -> tuple[str, ...]:
        """The ``dropbench find`` of its settings."""
        return (find_command(self.find),)

    @property
    def file_name(self) -> str:
        """The data, the model and a digest of what tells it from other finds."""
        names = ("find_id", "data", "model")
        return setting_file_name({name: self.find.fields[name] for name in names})
