"""Autoencoders as a subject of a report."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dropbench.report.features.figures import features_figure, histograms_figure
from dropbench.report.features.table import feature_table
from dropbench.report.figure import Figure
from dropbench.report.subject import Subject, setting_file_name
from dropbench.report.sweep.command import sweep_commands
from dropbench.report.table import Table
from dropbench.report.units.panel import Panel


@dataclass(frozen=True)
class FeaturesSubject(Subject):
    """Autoencoders with and without dropout: their errors, units and features."""

    panel: Panel
    folder: Path
    """The results folder, which has the arrays of features."""
    kind = "features"

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The table of all settings."""
        return (feature_table(self.panel),)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """The features where their arrays were kept, and the histograms of activations."""
        features = features_figure(self.panel, self.folder)
        return (*([features] if features else []), histograms_figure(self.panel))

    @property
    def run_ids(self) -> frozenset[str]:
        """All runs of the autoencoders."""
        return self.panel.sweep.run_ids

    @property
    def commands(self) -> tuple[str, ...]:
        """The ``dropbench features`` of its settings; several where one cannot tell all."""
        return tuple(sweep_commands(self.panel.sweep))

    @property
    def file_name(self) -> str:
        """The data, the model and a digest of what the runs share."""
        return setting_file_name(self.panel.sweep.fields)
