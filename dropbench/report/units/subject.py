"""A panel as a subject of a report."""

from dataclasses import dataclass
from functools import cached_property

from dropbench.report.figure import Figure
from dropbench.report.subject import Subject, setting_file_name
from dropbench.report.sweep.command import sweep_commands
from dropbench.report.table import Table
from dropbench.report.units.figures import panel_figure
from dropbench.report.units.panel import Panel, panel_tables
from dropbench.report.units.variances import variance_tables


@dataclass(frozen=True)
class PanelSubject(Subject):
    """The hidden units of a sweep's nets: their measures, the errors without a share of them, variances."""

    panel: Panel
    kind = "panel"

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The tables of the units, of the errors and of the variances."""
        return (*panel_tables(self.panel), *variance_tables(self.panel))

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """One figure of all measures."""
        return (panel_figure(self.panel),)

    @property
    def run_ids(self) -> frozenset[str]:
        """All runs of its sweep."""
        return self.panel.sweep.run_ids

    @property
    def commands(self) -> tuple[str, ...]:
        """The ``dropbench sweep --panel`` of its settings; several where one cannot tell all."""
        return tuple(sweep_commands(self.panel.sweep, "--panel"))

    @property
    def file_name(self) -> str:
        """The data, the model and a digest of what its runs share."""
        return setting_file_name(self.panel.sweep.identity)
