"""The user's own code, named ``package.module:attribute`` on the command line."""

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
LIBRARIES = ("torchvision", "timm")
"""Names that stand for a library in ``library:net``, which is no module of the user's."""


def is_user_code(name: str) -> bool:
    """Return whether ``name`` has the form ``package.module:attribute``, and is no net of a library."""
    return ":" in name and not library_of(name)


def library_of(name: str) -> str:
    """Return the library of a net that is named ``library:net``, one of LIBRARIES; empty for other names."""
    library, colon, _ = name.partition(":")
    return library if colon and library in LIBRARIES else ""


def load(name: str) -> Any:
    """Import the object ``name``; its module is looked up on Python's path, then in the working folder.

    Raises:
        UsageError: if the name is malformed, if there is no such module or attribute, or if the import fails;
            then it names the file and line.

    """
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise UsageError(f"{name!r} is not a valid name of Python code.", "Write package.module:Name.")
    here = os.getcwd()
    if here not in sys.path:  # last, so that no file in the folder shadows an installed module
        sys.path.append(here)
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise UsageError(
                f"There is no module {missing!r}, neither installed nor in {here}.",
                "Run the command in the folder that contains it.",
            ) from error
        raise UsageError(f"{module_name} imports {missing!r}, which is not installed.") from error
    except Exception as error:  # the user's module may raise anything
        raise _error_in_user_code(f"Importing {module_name}", error) from error
    if not hasattr(module, attribute):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise unknown_name(f"name in {module_name}", attribute, public)
    return getattr(module, attribute)


def make(name: str, kind: type[T], hint: str, factory: Callable[..., Any], *arguments: Any) -> T:
    """Call ``factory`` with the arguments and return the result; ``name`` is its name in errors.

    Raises:
        UsageError: if it raises, or returns something that is not a ``kind``; ``hint`` says how it is called.

    """
    try:
        made = factory(*arguments)
    except UsageError:  # raised by dropbench itself, called from the user's code
        raise
    except Exception as error:  # the user's code may raise anything
        raise _error_in_user_code(name, error, hint) from error
    if not isinstance(made, kind):
        raise UsageError(f"{name} returned {type(made).__name__}, not a torch.nn.{kind.__name__}.", hint)
    return made


def _error_in_user_code(what: str, error: Exception, hint: str = "") -> UsageError:
    """Return an error that names an exception of the user's code, with the file and line that raised it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = "" if trace is None else f" ({trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno})"
    return UsageError(f"{what} raised {type(error).__name__}: {error}{line}.", hint)


def source_key(name: str) -> str:
    """Return 12 hexadecimal digits of the SHA-256 of the file that defines ``name``.

    The key is part of a run's identity, so runs after an edit of the file are different runs. Files that it
    imports are not taken into account.

    Raises:
        UsageError: see load.

    """
    loaded = load(name)
    source = inspect.getsourcefile(inspect.getmodule(loaded) or sys.modules[name.partition(":")[0]])
    content = Path(source).read_bytes() if source is not None else name.encode()
    return hashlib.sha256(content).hexdigest()[:12]
