"""The library's sentences in the words of the command line: a setting in backticks becomes its flag."""

import re

from dropbench.run.config import SETTINGS
from dropbench.run.machine import Machine, Policy
from dropbench.run.setting import settings_of
from dropbench.run.shell import quoted

_FLAGS = {each.name: each.flag for each in (*SETTINGS.values(), *settings_of(Machine), *settings_of(Policy))}
_FLAGS["data"] = "--data"  # which each command declares by itself
_UNSAFE = re.compile(r"[\s'\"$`\\;&|<>()*?!#]")
"""The characters that a shell does not leave as they are."""
_NAMED = re.compile(r"(?<!`)`([a-z][a-z0-9_]*)(?:=([^`]+))?`(?!`)")


def spoken(sentence: str) -> str:
    """The sentence with flags: `` `p_drop_conv` `` is --p-conv, `` `model=mlp` `` is --model mlp."""
    return _NAMED.sub(lambda found: _flag(found[1], found[2]), sentence)


def _flag(name: str, value: str | None) -> str:
    flag = _FLAGS.get(name, f"--{name.replace('_', '-')}") or name  # no flag: nobody sets it here
    if value is None or value == "True":
        return flag
    return f"{flag} {quoted(value) if _UNSAFE.search(value) else value}"
