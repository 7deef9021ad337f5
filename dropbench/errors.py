"""Errors meant for the user: one line that says what is wrong and what to do about it."""

from collections.abc import Iterable
from difflib import get_close_matches


class DropbenchError(Exception):
    """A problem outside the program, such as a missing file (exit code 1).

    ``message`` says what is wrong, ``hint`` what to do. A traceback that a user sees is a bug in dropbench;
    every other error is one of these.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)  # both, so that the error survives pickling between processes
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return message and hint on one line, even if a file name or a library's text had line breaks."""
        return " ".join(f"{self.message} {self.hint}".split())


class UsageError(DropbenchError, ValueError):
    """An invalid argument of a call or a command (exit code 2)."""

    exit_code = 2


class TimeLimitError(DropbenchError):
    """The time limit of a call ended it before all of its runs (exit code 130, as of one interrupted)."""

    exit_code = 130

    @classmethod
    def after(cls, limit: str | None, so_far: str) -> "TimeLimitError":
        """Return the error of a time limit that is over, with how far the runs came until then."""
        return cls(f"`time_limit={limit}` is over: {so_far}.", "The same call goes on.")


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a ``name`` that is not among the ``known`` ones; it suggests the nearest."""
    known = list(known)
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return UsageError(f"Unknown {kind} {name!r}.", f"{hint}Known: {', '.join(known)}.")
