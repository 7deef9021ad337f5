"""How a training command ends: interrupted, with failed runs, or well."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer

from dropbench.cli.console import tell
from dropbench.cli.progress import Progress
from dropbench.experiments.workbench import Outcome

INTERRUPTED, FAILED_RUNS = 130, 3


@contextmanager
def resumable(folder: Path, watcher: Progress) -> Iterator[None]:
    """Let the first Ctrl-C finish the runs in hand and a second one end at once; both end with 130."""

    def stop(signum: int, frame: FrameType | None) -> None:
        watcher.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tell("Interrupted: the runs in hand are finished first. Ctrl-C again ends at once.")

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except KeyboardInterrupt:
        again = shlex.join(["dropbench", *sys.argv[1:]])
        tell(f"Interrupted. Every finished run is in {folder / 'runs.csv'}; to go on: {again}")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGINT, before)


def exit_for(outcome: Outcome) -> None:
    """Exit with 3 if runs gave no result, now or before, and say how many."""
    if outcome.unsuccessful:
        tell(
            f"{len(outcome.diverged)} runs diverged and {len(outcome.failed)} failed; "
            "the column message of runs.csv says why."
        )
    if outcome.left:
        tell(f"{len(outcome.left)} runs failed or diverged before; --retry-failed does them again.")
    if outcome.unsuccessful or outcome.left:
        raise typer.Exit(FAILED_RUNS)
