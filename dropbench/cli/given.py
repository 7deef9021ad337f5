"""Mistakes in how a command is given that the parser of options takes in silence."""

import logging
import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from dropbench.cli.again import PLACES, PREFIX
from dropbench.cli.options import TAKES_LISTS
from dropbench.errors import UsageError

_log = logging.getLogger(__name__)


def check_given(main: Any, arguments: Sequence[str]) -> None:
    """Warn of variables that set nothing, and of an option that is given twice, of which the last one counts.

    Raises:
        UsageError: for an option that takes several values, all of which may be meant.

    """
    _warn_of_variables(main)
    command, rest = _command(main, arguments)
    values: dict[str, str] = {}
    for flag, value in _options(command, rest):
        before, values[flag] = values.get(flag, value), value
        if before == value:
            continue
        told = f"{flag} is given twice, as {before!r} and as {value!r}"
        if flag in getattr(command.callback, TAKES_LISTS, ()):
            raise UsageError(f"{told}.", f"Write {flag} {before},{value}, or keep the one you mean.")
        _log.warning(f"{told}: the last one counts.")


def _warn_of_variables(main: Any) -> None:
    known = {name for each in _commands(main) for name in _variables(each)} | set(PLACES)
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.8)
            hint = f" Did you mean {near[0]}?" if near else ""
            _log.warning(f"No option takes the variable {name}.{hint}")


def _commands(group: Any) -> Iterator[Any]:
    yield group
    for each in getattr(group, "commands", {}).values():
        yield from _commands(each)


def _variables(command: Any) -> Iterator[str]:
    for each in command.params:
        if each.envvar:
            yield from [each.envvar] if isinstance(each.envvar, str) else each.envvar


def _command(group: Any, arguments: Sequence[str]) -> tuple[Any, Sequence[str]]:
    """The command that arguments name, and those that are its own."""
    for place, word in enumerate(arguments):
        if word in getattr(group, "commands", {}):
            return _command(group.commands[word], arguments[place + 1 :])
    return group, arguments


def _options(command: Any, arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options among arguments, by their first name, and what each is given; a switch is its own value."""
    by_flag = {flag: each for each in command.params for flag in (*each.opts, *each.secondary_opts)}
    words = iter(arguments)
    for word in words:
        if word == "--":
            return
        flag, equals, value = word.partition("=")
        each = by_flag.get(flag)
        if each is None or not word.startswith("--"):
            continue
        if getattr(each, "is_flag", False):
            yield each.opts[0], flag
        else:
            yield each.opts[0], value if equals else next(words, "")
