"""The frame of a training command: its progress, and how it ends."""

import importlib.util
import logging
import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dropbench.cli.again import command_again
from dropbench.cli.console import present, tell
from dropbench.cli.ending import answering
from dropbench.cli.progress import LiveProgress, PlainProgress, Progress, watching
from dropbench.errors import TimeLimitError
from dropbench.run import telling

if TYPE_CHECKING:
    from dropbench.api.work import Done
    from dropbench.experiments.workbench import Outcome
    from dropbench.report.folder import Report

FAILED_RUNS = 3


@contextmanager
def working(folder: Path) -> "Iterator[PlainProgress | LiveProgress]":
    """Show the runs, and end them in order at Ctrl-C, SIGTERM, SIGHUP and the end of the time limit.

    A signal that ends them ends the command with 128 and its number, the time limit with that of Ctrl-C.
    """
    again = f"to go on: {command_again()}"
    with watching() as watcher:

        def last_words(name: str) -> str:
            said = filter(None, (f"{name}.", so_far(watcher)))
            return f"{' '.join(said)} Every run that ended is in {folder / 'runs.csv'}; {again}"

        with answering(watcher, last_words):
            try:
                yield watcher
            except TimeLimitError as error:
                tell(f"{error.message} {again[0].upper()}{again[1:]}")
                raise typer.Exit(error.exit_code) from None


def so_far(watcher: Progress) -> str:
    """How many runs have ended, as a sentence; empty before there are any."""
    return f"{words}." if (words := watcher.so_far()) else ""


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
    tell_unsuccessful(outcome)
    if outcome.unsuccessful or outcome.left:
        raise typer.Exit(FAILED_RUNS)


def tell_unsuccessful(outcome: "Outcome") -> None:
    """Say how many runs gave no result, now or before."""
    if outcome.unsuccessful:
        diverged, failed = telling.counted(len(outcome.diverged), "run"), f"{len(outcome.failed):,}"
        tell(f"{diverged} diverged and {failed} failed; the column message of runs.csv says why.")
    if left := len(outcome.left):
        them = "it" if left == 1 else "them"
        tell(f"{telling.counted(left, 'run')} failed or diverged before; --retry-failed does {them} again.")
