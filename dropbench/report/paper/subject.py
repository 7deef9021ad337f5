"""An experiment of the lecture or the 2014 paper as a subject of a report."""

from dataclasses import dataclass
from functools import cached_property

from dropbench.report.figure import Figure
from dropbench.report.paper.figures import paper_figure
from dropbench.report.paper.result import PaperResult
from dropbench.report.paper.table import paper_table
from dropbench.report.subject import Subject, safe_name
from dropbench.report.table import Table


@dataclass(frozen=True)
class PaperSubject(Subject):
    """Our values beside the paper's."""

    result: PaperResult
    kind = "paper"

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The table of all arms and places."""
        return (paper_table(self.result),)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """One figure of what the table says."""
        return (paper_figure(self.result),)

    @property
    def run_ids(self) -> frozenset[str]:
        """The runs that its rows are from."""
        return self.result.run_ids

    @property
    def commands(self) -> tuple[str, ...]:
        """The ``dropbench paper`` of its scale, data and seeds."""
        return (self.result.command(),)

    @property
    def file_name(self) -> str:
        """The scale and the start of the experiment's id."""
        return safe_name(f"{self.result.fields['scale']}-{self.result.experiment_id[:6]}")
