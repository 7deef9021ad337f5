"""The two consoles: data goes to stdout, messages and progress to stderr."""

import logging
import os
import select
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from dropbench.cli.spoken import spoken
from dropbench.errors import on_one_line

if TYPE_CHECKING:
    from dropbench.report.table import Table


def _open_streams() -> None:
    """Give a process that was started without a stream the one that goes nowhere.

    Else the next files that it opens would be the streams of all that writes by their numbers.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is not None:
            continue
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
        os.set_inheritable(number, True)
        stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # for good
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


_open_streams()
# What reads a pipe has no width to respect: tables are not folded for it.
out = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False)
_told: set[str] = set()


def tell(sentence: str) -> None:
    """One line on stderr, as text: nothing in it is obeyed as markup or as a control code.

    Once each in a command: a damaged row is met at every reading of its file.
    """
    sentence = spoken(sentence)
    if sentence in _told:
        return
    _told.add(sentence)
    err.print(Text(_printable(f"dropbench: {sentence}")), soft_wrap=True)


class _Teller(logging.Handler):
    """Tells on stderr the messages that the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell a record's message."""
        tell(record.getMessage())


def tell_what_is_logged() -> None:
    """Let the library's log be told on stderr, and nowhere else, from the start of a command on.

    What another command told in this process can be told again.
    """
    _told.clear()
    log = logging.getLogger("dropbench")
    log.setLevel(logging.INFO)
    log.propagate = False
    if not any(isinstance(handler, _Teller) for handler in log.handlers):
        log.addHandler(_Teller())


def fail(sentence: str) -> None:
    """The one line that says why the command ends."""
    line = Text.assemble(("Error: ", "bold red"), _printable(spoken(sentence)))
    err.print(line, soft_wrap=True)


def let_go_of_closed_streams() -> None:
    """Write to nowhere from now on what a terminal that was closed, or a pipe without a reader, would get."""
    if not hasattr(select, "poll"):  # Windows, which tells no process that its console closes
        return
    for descriptor in (1, 2):
        poll = select.poll()
        poll.register(descriptor, 0)
        if poll.poll(0):  # asked for nothing, it tells of errors alone
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def present(
    tables: "Sequence[Table]", as_json: bool, answer: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """The tables on stdout, for people or as JSON, which has an answer before them."""
    from dropbench.report.render import as_json as json_exporter
    from dropbench.report.render.terminal import show

    if as_json:
        sys.stdout.write(json_exporter.render(tables, answer))  # rich would fold long strings
    else:
        show(tables, out)


def plain_progress() -> bool:
    """Whether progress is to be plain lines: stderr is no terminal, or a dumb one."""
    return not sys.stderr.isatty() or os.environ.get("TERM") == "dumb"


def _printable(text: str) -> str:
    """The text on one line: several spaces stay, since a path may have them."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in on_one_line(text))
