"""From a class of flags to the options of a command."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command``, whose last parameter is ``flags``, an option for every field of that one's class."""
    *own, last = inspect.signature(command).parameters.values()
    flags_class = last.annotation
    shared = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=f.type)
        for f in fields(flags_class)
    ]
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        flags = flags_class(**{parameter.name: given.pop(parameter.name) for parameter in shared})
        command(**given, flags=flags)

    parameters = [*keyword_only, *shared]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped
