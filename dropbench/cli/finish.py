"""How a training command ends: interrupted, with failed runs, or well."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from dropbench.cli.console import tell
from dropbench.experiments.workbench import Outcome

INTERRUPTED, FAILED_RUNS = 130, 3


@contextmanager
def resumable(folder: Path) -> Iterator[None]:
    """End an interrupted command with 130 and the command that goes on."""
    try:
        yield
    except KeyboardInterrupt:
        again = shlex.join(["dropbench", *sys.argv[1:]])
        tell(f"Interrupted. Every finished run is in {folder / 'runs.csv'}; to go on: {again}")
        raise typer.Exit(INTERRUPTED) from None


def exit_for(outcome: Outcome) -> None:
    """Exit with 3 if runs gave no result, and say how many."""
    if outcome.unsuccessful:
        tell(
            f"{len(outcome.diverged)} runs diverged and {len(outcome.failed)} failed; "
            "the column message of runs.csv says why."
        )
        raise typer.Exit(FAILED_RUNS)
