"""Code of the user's own, named ``package.module:attribute`` on the command line."""

import hashlib
import inspect
import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from dropbench.errors import UsageError, unknown_name

T = TypeVar("T")


def is_own(name: str) -> bool:
    """Whether ``name`` is of that form, rather than one of dropbench's own names."""
    return ":" in name


def load(name: str) -> Any:
    """The object that ``name`` stands for; modules are found as Python does, and in the working folder.

    Raises:
        UsageError: if there is no such module or attribute, or importing it fails; it says where.

    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise UsageError(f"{name!r} is no name of Python code.", "Write package.module:Name.")
    here = os.getcwd()
    if here not in sys.path:  # last, so that nothing in the folder stands in for an installed module
        sys.path.append(here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise UsageError(
                f"There is no module {missing!r}, neither installed nor in {here}.",
                "Run the command in the folder that holds it.",
            ) from error
        raise UsageError(f"{module_name} imports {missing!r}, which is not installed.") from error
    except Exception as error:  # whatever a module of theirs raises
        raise _raised(f"Importing {module_name}", error) from error
    if not hasattr(module, attribute):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise unknown_name(f"name in {module_name}", attribute, public)
    return getattr(module, attribute)


def make(name: str, kind: type[T], hint: str, factory: Callable[..., Any], *arguments: Any) -> T:
    """What ``factory``, of that name, makes of the arguments.

    Raises:
        UsageError: if it raises, or makes something that is no ``kind``; ``hint`` says how it is called.

    """
    try:
        made = factory(*arguments)
    except UsageError:  # from a part of ours that they use
        raise
    except Exception as error:  # whatever code of theirs raises
        raise _raised(name, error, hint) from error
    if not isinstance(made, kind):
        raise UsageError(f"{name} makes no torch.nn.{kind.__name__} but {type(made).__name__}.", hint)
    return made


def _raised(what: str, error: Exception, hint: str = "") -> UsageError:
    """What a user needs to find an error in code of their own."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
    return UsageError(f"{what} raised {type(error).__name__}: {error}{line}.", hint)


def source_key(name: str) -> str:
    """Twelve hexadecimal digits of the SHA-256 of the file that defines ``name``.

    Part of a run's identity: runs of an edited file are other runs. Files that this one imports are not
    looked at.

    Raises:
        UsageError: as load does.

    """
    loaded = load(name)
    source = inspect.getsourcefile(inspect.getmodule(loaded) or sys.modules[name.partition(":")[0]])
    content = Path(source).read_bytes() if source is not None else name.encode()
    return hashlib.sha256(content).hexdigest()[:12]
