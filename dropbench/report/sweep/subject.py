"""A sweep as a subject of a report."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from dropbench.report.figure import Figure
from dropbench.report.subject import Subject, setting_file_name
from dropbench.report.sweep.command import sweep_commands
from dropbench.report.sweep.figures import curve_figures, error_figure
from dropbench.report.sweep.sweep import Sweep
from dropbench.report.sweep.table import sweep_table
from dropbench.report.table import Table


@dataclass(frozen=True)
class SweepSubject(Subject):
    """The metric against p: its table, its curve, and the curves of training."""

    sweep: Sweep
    epochs: Callable[[], pd.DataFrame]
    """Reads the rows of epochs.csv."""
    sort: str = "p"
    """The order of the table's rows, one of SORTS."""
    kind = "sweep"

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The table of all settings."""
        return (sweep_table(self.sweep, self.sort),)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """The metric against p where there is something to compare, loss and error against the epoch."""
        compared = sum(bool(self.sweep.test(setting)) for setting in self.sweep.settings) > 1
        curves = curve_figures(self.sweep, self.epochs())
        return (*([error_figure(self.sweep)] if compared else []), *curves)

    @property
    def run_ids(self) -> frozenset[str]:
        """All its runs, ended well or not."""
        return self.sweep.run_ids

    @property
    def commands(self) -> tuple[str, ...]:
        """The ``dropbench sweep`` of its settings; several where one cannot tell all."""
        return tuple(sweep_commands(self.sweep))

    @property
    def file_name(self) -> str:
        """The sweep's data, model and a digest of what its runs share."""
        return setting_file_name(self.sweep.identity)
