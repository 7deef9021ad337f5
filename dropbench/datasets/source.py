"""The protocol that every source of a data set follows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from dropbench.datasets.dataset import DataSet
from dropbench.datasets.options import NO_OPTIONS, SourceOptions, resolved, shown


class Source(Protocol):
    """A source of a data set, whose files are on this machine or can be fetched."""

    @property
    def name(self) -> str:
        """Its name, for ``--data`` and in results."""

    @property
    def summary(self) -> str:
        """A few words on what it contains."""

    @property
    def identity(self) -> str:
        """All that decides beside the files what is decoded, such as its options."""

    def place(self, data_dir: Path) -> str:
        """Return the place where its files are or belong, as text."""

    def files(self, data_dir: Path) -> Sequence[Path]:
        """Return the files that it is read from; empty if it must be fetched."""

    def fetch(self, data_dir: Path) -> None:
        """Put the files into place.

        Raises:
            DropbenchError: if they cannot be fetched; it says where they belong.

        """

    def decode(self, data_dir: Path) -> DataSet:
        """Read the files into arrays; ``notes`` of the data set say what a user should know of how.

        Raises:
            UsageError: if an option does not fit what is there.
            DropbenchError: if they are damaged; it says which file or folder to repair.

        """


class OwnSource:
    """Base of the sources of data at a user's path, which are called ``form:PATH`` in results, as told."""

    form: str

    def __init__(self, path: str, options: SourceOptions = NO_OPTIONS) -> None:
        self.path = resolved(path)
        self.options = options
        self.name = f"{self.form}:{shown(path)}"

    def place(self, data_dir: Path) -> str:
        """Return the path; ``data_dir`` is not used."""
        return str(self.path)
