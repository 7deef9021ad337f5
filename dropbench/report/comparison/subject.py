"""A comparison of arms as a subject of a report."""

from dataclasses import dataclass
from functools import cached_property

from dropbench.report.comparison.comparison import Comparison
from dropbench.report.comparison.figures import comparison_figures
from dropbench.report.comparison.tables import comparison_tables
from dropbench.report.figure import Figure
from dropbench.report.subject import Subject, setting_file_name
from dropbench.report.sweep.command import comparison_command
from dropbench.report.table import Table


@dataclass(frozen=True)
class ComparisonSubject(Subject):
    """Dropout and its rivals: quality, members, cost, and the arms against M and k."""

    comparison: Comparison
    kind = "comparison"

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The table of quality, and those of members, cost and sizes that are not empty."""
        return tuple(comparison_tables(self.comparison))

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """All figures that there are rows for."""
        return tuple(comparison_figures(self.comparison))

    @property
    def run_ids(self) -> frozenset[str]:
        """The runs of all members."""
        return self.comparison.run_ids

    @property
    def commands(self) -> tuple[str, ...]:
        """The ``dropbench compare-bagging`` of its arms."""
        return (comparison_command(self.comparison),)

    @property
    def file_name(self) -> str:
        """The data, the model and a digest of what tells it from other comparisons."""
        return setting_file_name(self.comparison.fields)
