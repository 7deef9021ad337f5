"""Watchers of a set of runs that need no terminal."""

import logging
from typing import TYPE_CHECKING

from dropbench.run import telling
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult

if TYPE_CHECKING:
    from dropbench.experiments.workbench import Agenda

_log = logging.getLogger(__name__)


class LogWatcher:
    """Logs each run that ends: as INFO, or as a WARNING where it gave no result."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()

    def planned(self, agenda: "Agenda", jobs: int) -> None:
        """Log how much there is to do."""
        self._names = telling.telling(agenda.todo)
        _log.info("%d runs to do, %d done before, %d at a time", len(agenda.todo), agenda.before, jobs)

    def progress(self, worker: int, config: RunConfig, record: EpochRecord | None) -> None:
        """Log nothing: a log wants one line a run."""

    def finished(self, result: RunResult) -> None:
        """Log how a run ended."""
        level = logging.INFO if result.status == "ok" else logging.WARNING
        _log.log(level, telling.outcome(result, self._names))

    def wants_to_stop(self) -> bool:
        """Return False: nobody can ask it to stop."""
        return False
