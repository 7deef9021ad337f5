"""Watchers of runs, and one that needs no terminal: it logs."""

import logging
from typing import TYPE_CHECKING, Protocol

from dropbench.run import telling
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult

if TYPE_CHECKING:
    from dropbench.experiments.agenda import Agenda

_log = logging.getLogger(__name__)


class Watcher(Protocol):
    """Follows a set of runs as they are carried out; the progress display is a watcher."""

    def planned(self, agenda: "Agenda", jobs: int) -> None:
        """Take note of the agenda, which ``jobs`` workers are about to carry out; 0 if nothing is to do."""

    def progress(self, worker: int, config: RunConfig, record: EpochRecord | None) -> None:
        """Take note that a worker started a run (``record`` is None) or ended an epoch of it.

        Of a run that goes on from its checkpoint, the epochs of before are told after its start.
        """

    def finished(self, result: RunResult) -> None:
        """Take note of a run that ended and is on disk."""

    def wants_to_stop(self) -> bool:
        """Whether no further run is to be started."""

    def wants_to_halt(self) -> bool:
        """Whether the runs in progress are to stop, too, each at the end of its step."""


class LogWatcher:
    """Logs each run that ends: at level INFO, or WARNING if it gave no metrics."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()

    def planned(self, agenda: "Agenda", jobs: int) -> None:
        """Log how many runs there are to do."""
        self._names = telling.telling(agenda.todo)
        _log.info(telling.planned(len(agenda.todo), agenda.before, jobs))

    def progress(self, worker: int, config: RunConfig, record: EpochRecord | None) -> None:
        """Log nothing: one line for each run is enough."""

    def finished(self, result: RunResult) -> None:
        """Log how a run ended."""
        level = logging.INFO if result.status == "ok" else logging.WARNING
        _log.log(level, telling.outcome(result, self._names))

    def wants_to_stop(self) -> bool:
        """Return False: a log takes no input that could ask it to stop."""
        return False

    def wants_to_halt(self) -> bool:
        """Return False, as wants_to_stop does."""
        return False
