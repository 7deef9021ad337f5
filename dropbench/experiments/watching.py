"""A watcher that needs no terminal: it logs."""

import logging
from typing import TYPE_CHECKING

from dropbench.run import telling
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult

if TYPE_CHECKING:
    from dropbench.experiments.workbench import Agenda

_log = logging.getLogger(__name__)


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
