"""What a source of data must be able to do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from dropbench.datasets.dataset import DataSet


class Source(Protocol):
    """A data set that may be on this machine, or could be fetched."""

    @property
    def name(self) -> str:
        """What ``--data`` calls it and results are recorded under."""

    @property
    def summary(self) -> str:
        """What it is, in a few words."""

    def place(self, data_dir: Path) -> str:
        """Where its files are, or belong."""

    def files(self, data_dir: Path) -> Sequence[Path]:
        """The files it is read from; empty where it is absent."""

    def fetch(self, data_dir: Path) -> None:
        """Put the files into place, or raise DropbenchError saying where they belong."""

    def decode(self, data_dir: Path) -> DataSet:
        """Read the files into arrays, or raise DropbenchError naming the file at fault."""
