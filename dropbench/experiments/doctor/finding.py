"""Finding: how one thing stands on this machine, and how it is mended."""

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from dropbench.errors import DropbenchError, UsageError

State = Literal["ok", "note", "problem"]

BROKEN = (ImportError, OSError, RuntimeError, AttributeError, ValueError)
"""What a broken installation raises when it is imported or asked: a library that is missing or was built for
something else (ImportError, OSError), two that do not fit each other (RuntimeError, AttributeError), CUDA's
libraries where torch does not find them (ValueError)."""

_LONGEST = 300  # characters of an error's text


@dataclass(frozen=True)
class Finding:
    """What was found of one thing: ``ok``, a ``note`` that costs something, or a ``problem``.

    ``mend`` is one sentence or command that makes it ok; empty where there is nothing to be done.
    """

    name: str
    value: str
    state: State = "ok"
    mend: str = ""


def surviving(name: str, findings: Iterable[Finding], mend: str = "") -> Iterator[Finding]:
    """``findings``; where finding them fails, that is the last one, a problem called ``name``.

    Raises:
        UsageError: as the findings do: what was asked for is wrong, not the machine.

    """
    try:
        yield from findings
    except UsageError:
        raise
    except DropbenchError as error:
        yield Finding(name, error.message, "problem", error.hint or mend)
    except BROKEN as error:
        yield Finding(name, said(error), "problem", mend)


def said(error: BaseException) -> str:
    """An error in one line of bounded length."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:_LONGEST]


@contextlib.contextmanager
def heard() -> Iterator[list[str]]:
    """What libraries warn the user of in this context, as text; nothing of it reaches stderr."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")  # deprecations are for developers
        warnings.simplefilter("always", UserWarning)
        yield texts
    texts += (" ".join(str(warning.message).split())[:_LONGEST] for warning in caught)
