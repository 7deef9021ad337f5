"""Results that are on disk."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from dropbench.api.shown import Shown
from dropbench.folders import of_home
from dropbench.report.folder import KINDS, Choice, Report, load_report
from dropbench.results.read import rows_of
from dropbench.run.grammar import parse_names


@dataclass(frozen=True)
class Results(Shown):
    """A results folder."""

    folder: Path
    choice: Choice

    @cached_property
    def report(self) -> Report:
        """Everything chosen that the folder holds."""
        return load_report(self.folder, self.choice)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows of runs.csv, one a run; docs/files.md explains the columns."""
        return rows_of(self.folder)


def load(
    folder: Path | str = "results",
    *,
    only: str | Iterable[str] = KINDS,
    metric: str | None = None,
    reference: float = 0.0,
) -> Results:
    """Read a results folder.

    Args:
        folder: a folder that dropbench wrote results into.
        only: kinds of what is shown: paper, find, sweep, panel, features, comparison, speed, verify.
        metric: compare settings in ``error``, ``nll``, ``brier`` or ``ece``; regressions in ``rmse``, ``nll``
            or ``coverage``. None is the first of each.
        reference: p_drop of the setting that the others are compared with; 0 is no dropout.

    Raises:
        UsageError: for an unknown kind or metric, or one that no sweep of the folder has.
        DropbenchError: if there is no such folder, or nothing of the choice in it.

    """
    kinds = parse_names(only) if isinstance(only, str) else tuple(only)
    found = Results(of_home(folder), Choice(kinds, metric or "", reference))
    _ = found.report  # read now, so that what is missing is told now
    return found
