"""The errors a user is meant to read: one line that says what is wrong and what to do instead."""

from collections.abc import Iterable
from difflib import get_close_matches


class DropbenchError(Exception):
    """Something outside the program is wrong; ``message`` says what, ``hint`` what to do (exit code 1).

    A traceback that a user sees means a bug; this class is how everything else is said.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)  # both, so that the error survives pickling between processes
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Both sentences on one line, whatever line breaks a file name or a library's message had."""
        return " ".join(f"{self.message} {self.hint}".split())


class UsageError(DropbenchError, ValueError):
    """A call or a command was told something that cannot be (exit code 2)."""

    exit_code = 2


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a ``name`` that is none of the ``known`` ones, with the nearest as a suggestion."""
    known = list(known)
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return UsageError(f"Unknown {kind} {name!r}.", f"{hint}Known: {', '.join(known)}.")
