"""The tables that scikit-learn contains, such as ``sklearn:breast_cancer``."""

import importlib.util
import inspect
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dropbench.datasets.dataset import DataSet
from dropbench.datasets.options import NO_OPTIONS, SourceOptions
from dropbench.datasets.tables.table import find_target, table_of
from dropbench.errors import DropbenchError, UsageError, unknown_name
from dropbench.run.blocks.data import CLASSIFICATION, REGRESSION

KNOWN = ("breast_cancer", "wine", "digits", "iris", "diabetes")
_REINSTALL = "Install it again: pip install --force-reinstall --no-deps scikit-learn"


class SklearnSet:
    """A table of the installed scikit-learn, called ``sklearn:NAME``; it has all its columns.

    The target of a regression is known as such, so it needs no ``task``.
    """

    summary = "a table that scikit-learn contains"

    def __init__(self, which: str, options: SourceOptions = NO_OPTIONS) -> None:
        if which not in KNOWN and which not in _loaders():
            raise unknown_name("data set of scikit-learn", which, KNOWN)
        self.which = which
        self.options = options
        self.name = f"sklearn:{which}"

    @property
    def identity(self) -> str:
        """Its name and the options."""
        return f"{self.name} {self.options.told}"

    def place(self, data_dir: Path) -> str:
        """Say that the files are inside the installed scikit-learn."""
        return "embedded (in the scikit-learn package)"

    def files(self, data_dir: Path) -> Sequence[Path]:
        """Return the files of the package that contain the table; empty if they are missing."""
        package = importlib.util.find_spec("sklearn")  # without importing it, which takes a second
        if package is None or package.origin is None:
            return []
        return sorted((Path(package.origin).parent / "datasets" / "data").glob(f"{self.which}*.csv*"))

    def fetch(self, data_dir: Path) -> None:
        """Raise DropbenchError: missing files come back only by installing the package again."""
        raise DropbenchError(f"The scikit-learn package lacks its data set {self.which}.", _REINSTALL)

    def decode(self, data_dir: Path) -> DataSet:
        """Read the table, and make some of its rows the test split.

        Raises:
            UsageError: if its target is not that of the task.
            DropbenchError: if a file is damaged.

        """
        try:
            found = _loaders()[self.which](as_frame=True)
        except Exception as error:  # a damaged file can make the reader raise anything
            raise DropbenchError(f"Cannot read scikit-learn's {self.which}: {error}.", _REINSTALL) from error
        targets = found.target.to_frame() if found.target.ndim == 1 else found.target
        numeric = "target_names" not in found or targets.shape[1] > 1
        if self.options.task == REGRESSION and not numeric:
            raise UsageError(f"The target of {self.name} is a class.", "Leave out `task=regression`.")
        if numeric and self.options.task == CLASSIFICATION and "task" in self.options.told:
            raise UsageError(f"The target of {self.name} is a number.", "Leave out `task=classification`.")
        told = self.options.target
        target = (
            str(targets.columns[0])
            if not told and targets.shape[1] == 1
            else find_target(told, list(targets))
        )
        frame = found.data.assign(**{target: targets[target]})
        task = REGRESSION if numeric else CLASSIFICATION
        made = table_of(
            self.name, frame, None, None, replace(self.options, task=task, target=target), keep_all=True
        )
        if not numeric:
            made = replace(made, classes=tuple(map(str, found.target_names)))
        return replace(made, notes=made.notes[-1:])  # of the test split; what the columns are is known


def _loaders() -> dict[str, Any]:
    """Return scikit-learn's functions that load a table without a network, by the names of the tables."""
    from sklearn import datasets

    found = {
        name.removeprefix("load_"): function
        for name, function in inspect.getmembers(datasets, inspect.isfunction)
        if name.startswith("load_")
    }
    return {
        name: function
        for name, function in found.items()
        if "as_frame" in inspect.signature(function).parameters
    }
