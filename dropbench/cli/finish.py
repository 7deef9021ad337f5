"""The frame of a training command: its progress, Ctrl-C, and how it ends."""

import importlib.util
import logging
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import TYPE_CHECKING

import typer

from dropbench.cli.again import command_again
from dropbench.cli.console import present, tell
from dropbench.cli.progress import LiveProgress, PlainProgress, Progress, watching
from dropbench.run import telling

if TYPE_CHECKING:
    from dropbench.api.work import Done
    from dropbench.experiments.workbench import Outcome
    from dropbench.report.folder import Report

INTERRUPTED, FAILED_RUNS = 130, 3


@contextmanager
def working(folder: Path) -> "Iterator[PlainProgress | LiveProgress]":
    """Show the runs; the first Ctrl-C finishes those in hand, a second one ends at once."""
    with watching() as watcher, _resumable(folder, watcher):
        yield watcher


@contextmanager
def _resumable(folder: Path, watcher: Progress) -> Iterator[None]:
    def stop(signum: int, frame: FrameType | None) -> None:
        watcher.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        to_tell.put("Interrupted: the runs in hand are finished first. Ctrl-C again ends at once.")

    with _teller() as to_tell:
        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        except KeyboardInterrupt:
            done = f"Interrupted. Every finished run is in {folder / 'runs.csv'}; to go on:"
            to_tell.put(f"{done} {command_again()}")
            raise typer.Exit(INTERRUPTED) from None
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _teller() -> "Iterator[SimpleQueue[str | None]]":
    """A queue of sentences to tell, from a signal handler too; all are told when the context ends.

    A handler may run in the midst of a message's write to stderr, which then refuses another one. It may put
    something into a SimpleQueue, even in the midst of another put.
    """
    sentences: SimpleQueue[str | None] = SimpleQueue()

    def tell_all() -> None:
        while (sentence := sentences.get()) is not None:
            tell(sentence)

    thread = threading.Thread(target=tell_all, daemon=True)
    thread.start()
    try:
        yield sentences
    finally:
        sentences.put(None)
        thread.join()


def conclude(done: "Done", as_json: bool, written: str, formats: Collection[str] = ("png",)) -> None:
    """Show the tables, draw the pictures, say where everything is, and exit with 3 if runs gave no result."""
    present(done.tables, as_json)
    for picture in draw_pictures(done.report, done.out, formats):
        tell(f"picture: {picture}")
    tell(written)
    exit_for(done.outcome)


def draw_pictures(report: "Report", folder: Path, formats: Collection[str]) -> list[Path]:
    """Draw the pictures of a report into a folder, whatever the user's matplotlib is set to."""
    from dropbench.report.pictures import save_pictures

    if "matplotlib" not in sys.modules and (found := importlib.util.find_spec("matplotlib")) is not None:
        # It reads these when it is imported, and does not import with a setting that it does not know.
        os.environ["MPLBACKEND"] = "agg"
        own = Path(*(found.submodule_search_locations or ())[:1]) / "mpl-data" / "matplotlibrc"
        os.environ["MATPLOTLIBRC"] = str(own)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where it keeps its fonts concerns nobody
    return save_pictures(report, folder, formats)


def exit_for(outcome: "Outcome") -> None:
    """Exit with 3 if runs gave no result, now or before, and say how many."""
    if outcome.unsuccessful:
        diverged, failed = telling.counted(len(outcome.diverged), "run"), f"{len(outcome.failed):,}"
        tell(f"{diverged} diverged and {failed} failed; the column message of runs.csv says why.")
    if left := len(outcome.left):
        them = "it" if left == 1 else "them"
        tell(f"{telling.counted(left, 'run')} failed or diverged before; --retry-failed does {them} again.")
    if outcome.unsuccessful or outcome.left:
        raise typer.Exit(FAILED_RUNS)
