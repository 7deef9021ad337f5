"""Command lines as a shell takes them, on one line whatever stands in their words."""

import os
import shlex
from collections.abc import Iterable


def command_line(words: Iterable[str]) -> str:
    """Return words as one line that a shell divides into the same words again, bytes that are no text too."""
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """Return a word in quotes where it needs them; with control characters it is ``$'…'``, as in bash."""
    if word.isprintable():
        return shlex.quote(word)
    return "$'" + "".join(map(_escaped, word)) + "'"


def _escaped(letter: str) -> str:
    if letter in "\\'":
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(letter))
