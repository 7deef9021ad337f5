"""The store: one folder of results, which only the driver writes, one finished run at a time."""

import contextlib
import functools
import logging
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

import dropbench
from dropbench.errors import DropbenchError
from dropbench.locks import held
from dropbench.results import checkpoints, predictions
from dropbench.results.csv_file import append_rows, is_torn, mend, read_new_rows, read_rows, widen
from dropbench.results.csv_table import CsvTable
from dropbench.results.read import finished_runs, latest, started_at
from dropbench.results.rows import epoch_rows, panel_rows, run_row
from dropbench.results.schema import EPOCHS, PANEL, RUNS, TABLES
from dropbench.run.result import RunResult

_log = logging.getLogger(__name__)


class Store:
    """The results in ``folder``, which is created if necessary.

    Raises:
        DropbenchError: if the folder cannot be written, or its files have other columns than this dropbench.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise DropbenchError(
                f"Cannot write into {folder}: {error.strerror or error}.", "Name another folder with `out`."
            ) from error
        self._file_lock = FileLock(folder / ".dropbench.lock")
        self._statuses: dict[str, str] = {}
        self._read_up_to = 0
        with self._lock():
            for table in TABLES:
                self._check_link(table)
                mend(folder, table)
                widen(folder, table)

    def append(self, result: RunResult, keep_predictions: bool = False, again: bool = False) -> None:
        """Write a finished run to disk. Its row in runs.csv comes last and marks it as complete.

        Nothing is written if another sweep into this folder already wrote the run with status ``ok``, unless
        it was done ``again`` on purpose, or the folder lacks some of its panel or predictions. It is then
        written as a whole, so that the row, panel and predictions come from the same training. The run's
        checkpoint is removed afterwards.

        Raises:
            DropbenchError: if it cannot be written; the earlier rows are not changed.

        """
        with self._lock():
            if again or not self._is_recorded(result, keep_predictions):
                self._append_run(result, keep_predictions)
        checkpoints.remove(self.folder, result.config.run_id)

    def _append_run(self, result: RunResult, keep_predictions: bool) -> None:
        if keep_predictions and result.predictions:
            predictions.save(self.folder, result.config.run_id, result.predictions)
        if result.panel:
            self._append(PANEL, panel_rows(result))
        self._append(EPOCHS, epoch_rows(result))
        self._append(RUNS, [{**run_row(result, git_commit()), "started_at": self._started(result)}])

    def _check_link(self, table: CsvTable) -> None:
        """Raise DropbenchError for a file that is a link out of the folder: rows belong into this one."""
        path = self.folder / table.file_name
        if path.is_symlink() and not path.resolve().is_relative_to(self.folder.resolve()):
            raise DropbenchError(
                f"{path} is a link to {path.resolve()}.", "Put the file itself there, or name another `out`."
            )

    def append_rows(self, table: CsvTable, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write rows that do not belong to one run, with the commit of dropbench that measured them."""
        with self._lock():
            if new := [{**row, "git_commit": git_commit()} for row in rows]:
                self._append(table, new)

    def recorded(self, table: CsvTable) -> dict[str, dict[str, Any]]:
        """Return the rows of a table, by the first column of its key."""
        return {row[table.key[0]]: row for row in latest(read_rows(self.folder, table), table)}

    def finished(self) -> dict[str, dict[str, Any]]:
        """Return the rows of all runs that ended ``ok``, by run_id."""
        return finished_runs(self.folder)

    def ended(self) -> dict[str, str]:
        """Return the status of each run by run_id: ``ok`` if it ever ended so, else the latest."""
        with self._lock():
            return dict(self._read_new_statuses())

    def _is_recorded(self, result: RunResult, with_predictions: bool) -> bool:
        """Return whether the run is recorded as ``ok``, with all predictions and panel rows of ``result``."""
        run_id = result.config.run_id
        return (
            result.status == self._read_new_statuses().get(run_id) == "ok"
            and (not with_predictions or result.predictions.keys() <= predictions.names(self.folder, run_id))
            and (
                not result.panel
                or {_panel_key(row) for row in panel_rows(result)} <= self._recorded_panel(run_id)
            )
        )

    def _started(self, result: RunResult) -> Any:
        """Return when a run started, but a second after its earlier rows where a clock says otherwise.

        Of two rows of a run the one that started later counts, and machines have clocks of their own.
        """
        started = result.where.get("started_at", "")
        run_id = result.config.run_id
        if run_id not in self._read_new_statuses() or (mine := started_at(started)) is None:
            return started
        times = [
            started_at(row["started_at"]) for row in read_rows(self.folder, RUNS) if row["run_id"] == run_id
        ]
        before = max((time for time in times if time is not None), default=None)
        if before is None or before < mine:
            return started
        _log.warning(
            f"A row of run {run_id} says that it started at {before.isoformat()}, which is later than now by "
            "this machine's clock: one of the two is wrong. The run that ended now counts."
        )
        return (before + timedelta(seconds=1)).isoformat()

    def _recorded_panel(self, run_id: str) -> set[tuple[Any, ...]]:
        rows = read_rows(self.folder, PANEL)
        return {_panel_key(row) for row in rows if row["run_id"] == run_id}

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        # Do not create the folder again: if it was deleted, earlier rows are lost and the sweep must stop.
        if not self.folder.is_dir():
            raise DropbenchError(
                f"The folder {self.folder} is gone.",
                "Run the same command again; it starts from the beginning.",
            )
        try:
            with held(self._file_lock, str(self.folder)):
                yield
        except PermissionError as error:
            lock = Path(self._file_lock.lock_file)
            if error.filename is None or Path(error.filename).name != lock.name:
                raise self._cannot_write(error) from error
            owner = _owner(lock)
            raise DropbenchError(
                f"Cannot lock {self.folder}: its file {lock.name} belongs to {owner}.",
                f"Remove {lock} while nothing writes there, or name another folder with `out`.",
            ) from error
        except OSError as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> DropbenchError:
        return DropbenchError(f"Cannot write into {self.folder}: {error.strerror or error}.")

    def _append(self, table: CsvTable, rows: Iterable[Mapping[str, Any]]) -> None:
        if is_torn(self.folder, table):  # by another sweep into this folder that was killed
            mend(self.folder, table)
        append_rows(self.folder, table, rows)

    def _read_new_statuses(self) -> dict[str, str]:
        """Read the rows that any sweep wrote since the last call; return the status of each run by run_id."""
        rows, self._read_up_to = read_new_rows(self.folder, RUNS, self._read_up_to)
        for row in rows:
            if self._statuses.get(row["run_id"]) != "ok":
                self._statuses[row["run_id"]] = row["status"]
        return self._statuses


def _owner(file: Path) -> str:
    try:
        return file.owner()
    except (OSError, KeyError, NotImplementedError):  # the user has no name, or the system no users
        return "another user"


def _panel_key(panel_row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(panel_row[name] for name in PANEL.key)


@functools.cache
def git_commit() -> str:
    """Return the commit of dropbench's source, ``-dirty`` if changed; empty if it is no checkout."""
    package = Path(dropbench.__file__).parent

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(  # noqa: S603  # fixed arguments
                ("git", "-C", str(package), *arguments),  # noqa: S607  # whichever git the user has
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # If dropbench is installed within another repository, its files are not tracked there.
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return ""
    commit, changes = git("rev-parse", "--short=12", "HEAD"), git("status", "--porcelain", ".")
    return f"{commit}-dirty" if commit and changes else commit or ""
