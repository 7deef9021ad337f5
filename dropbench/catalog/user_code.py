"""The user's own code: ``package.module:name``, ``folder/file.py:name``, or an object of a session."""

import hashlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from dropbench.catalog import objects
from dropbench.catalog.code_files import ENDING, load_file, neighbours_of
from dropbench.errors import UsageError, unknown_name

T = TypeVar("T")
LIBRARIES = ("torchvision", "timm")
"""Names that stand for a library in ``library:net``, which is no module of the user's."""
_LONGEST = 200
"""Letters of an exception's message that are told; some print a tensor."""
_keys: dict[str, tuple[str, Any]] = {}
"""The key of each object of a module when it was last asked for, and the object."""
_NOT_THE_USERS = tuple(
    os.path.join(folder, "")
    for folder in (str(Path(__file__).parents[1]), *map(sysconfig.get_path, ("stdlib", "purelib", "platlib")))
)


def is_user_code(name: str) -> bool:
    """Return whether ``name`` has the form ``package.module:attribute``, and is no net of a library."""
    return ":" in name and not library_of(name)


def library_of(name: str) -> str:
    """Return the library of a net that is named ``library:net``, one of LIBRARIES; empty for other names."""
    library, colon, _ = name.partition(":")
    return library if colon and library in LIBRARIES else ""


def tidied(name: str) -> str:
    """Return ``name`` with the path of its file made short: ``./a/../nets.py:f`` is ``nets.py:f``."""
    source, colon, attribute = name.rpartition(":")
    if not source.endswith(ENDING):
        return name
    return f"{os.path.normpath(os.path.expanduser(source))}{colon}{attribute}"


def load(name: str) -> Any:
    """Import the object ``name``; a module is looked up on Python's path, then in the working folder.

    A file is found from the working folder, and can import the modules beside it.

    Raises:
        UsageError: if the name is malformed, if there is no such module, file or attribute, or if the import
            fails; then it names the file and line.

    """
    if objects.is_of_session(name):
        return objects.find(name)
    source, _, attribute = name.rpartition(":")
    module = _module(name, source, attribute)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [known for known, each in vars(found).items() if known[0] != "_" and callable(each)]
            if not public:
                raise UsageError(f"There is no {part} in {source}, nor any other function or class.")
            raise unknown_name(f"name in {source}", part, public)
        found = getattr(found, part)
    return found


def _module(name: str, source: str, attribute: str) -> ModuleType:
    is_file = source.endswith(ENDING)
    parts = [*(() if is_file else source.split(".")), *attribute.split(".")]
    if not all(part.isidentifier() for part in parts):
        raise UsageError(
            f"{name!r} is not a valid name of Python code.", "Write package.module:Name, or file.py:Name."
        )
    here = os.getcwd()
    if not is_file and here not in sys.path:  # last, so that no file in it shadows an installed module
        sys.path.append(here)
    try:
        with _aside():
            return load_file(source) if is_file else import_module(source)
    except UsageError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not is_file and (source == missing or source.startswith(f"{missing}.")):
            raise UsageError(
                f"There is no module {missing!r}, neither installed nor in {here}.",
                "Run the command in the folder that contains it, or write file.py:Name.",
            ) from error
        raise UsageError(f"{source} imports {missing!r}, which is not installed.") from error
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        hint = ""
        if is_file and "relative import" in str(error):
            hint = "It is a part of a package: write package.module:Name, in the folder of the package."
        elif isinstance(error, SystemExit):
            hint = 'A script has what it does below: if __name__ == "__main__".'
        raise _error_in_user_code(f"Importing {source}", error, hint) from error


@contextmanager
def _surroundings(name: str) -> Iterator[None]:
    """Let code of ``name`` find the modules that it imports while it is called, in this context."""
    source = name.rpartition(":")[0]
    is_file = source.endswith(ENDING)
    with neighbours_of(str(Path(source).expanduser().absolute())) if is_file else nullcontext(), _aside():
        yield


def _aside() -> AbstractContextManager[Any]:
    """Return the context in which what the user's code prints is a message: stdout is for results."""
    return redirect_stdout(sys.stderr)


def make(name: str, kind: type[T], hint: str, factory: Callable[..., Any], *arguments: Any) -> T:
    """Call ``factory`` with the arguments and return the result; ``name`` is its name in errors.

    Raises:
        UsageError: if it raises, if it is a ``kind`` itself, or if what it returns is none; ``hint`` says how
            it is called.

    """
    if isinstance(factory, kind):
        raise UsageError(*objects.made_already(name, factory))
    try:
        with _surroundings(name):
            made = factory(*arguments)
    except UsageError:  # raised by dropbench itself, called from the user's code
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        raise _error_in_user_code(name, error, hint) from error
    if not isinstance(made, kind):
        raise UsageError(f"{name} returned {type(made).__name__}, not a torch.nn.{kind.__name__}.", hint)
    return made


def called(name: str, module: Callable[..., T], what: str, *arguments: Any, hint: str = "") -> T:
    """Return what a module of the user's code ``name`` makes of the arguments, which are ``what`` in errors.

    Raises:
        UsageError: if it raises.

    """
    try:
        with _aside():
            return module(*arguments)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        if isinstance(error, ModuleNotFoundError):
            hint = hint or "Import it where the file begins."
        raise _error_in_user_code(f"The model {name}, given {what},", error, hint) from error


def _error_in_user_code(what: str, error: BaseException, hint: str = "") -> UsageError:
    """Return an error that names an exception of the user's code, with the file and line that it came from.

    It is the last line that is the user's own, where there is one, and not a library's that it calls.
    """
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if is_users(file) or trace.tb_next is None:
            place = f" ({file}, line {trace.tb_lineno})" if is_users(file) else place
        trace = trace.tb_next
    return UsageError(f"{what} raised {type(error).__name__}: {shortened(error)}{place}.", hint)


def is_users(file: str) -> bool:
    """Return whether a file of code is neither dropbench's nor Python's, nor an installed library's."""
    return not file.startswith((*_NOT_THE_USERS, "<frozen"))


def shortened(error: BaseException) -> str:
    """Return the first line of an exception's message, without the end of a long one."""
    lines = str(error).strip().splitlines() or [""]
    return lines[0].rstrip(".:") if len(lines[0]) <= _LONGEST else f"{lines[0][:_LONGEST]}…"


def source_key(name: str) -> str:
    """Return 12 hexadecimal digits of the SHA-256 of the file that defines ``name``.

    The key is part of a run's identity, so runs after an edit of the file are different runs. Files that it
    imports are not taken into account. Of an object of a session it is the digest of its source and of what
    it uses (dropbench.catalog.objects).

    Raises:
        UsageError: see load; or if the file of a module was edited since this process imported it.

    """
    loaded = load(name)
    if objects.is_of_session(name):
        return objects.digest_of(loaded)[:12]
    source = name.rpartition(":")[0]
    if source.endswith(ENDING):
        return _digest(Path(source).expanduser())
    file = inspect.getsourcefile(inspect.getmodule(loaded) or sys.modules[source])
    if file is None:
        return hashlib.sha256(name.encode()).hexdigest()[:12]
    digest = _digest(Path(file))
    before, first = _keys.get(name, (digest, loaded))
    if before != digest and first is loaded:
        raise UsageError(
            f"{file} was edited, and this process still has {name} as it was.",
            f"Start anew, reload {source}, or write file.py:name: a file is read each time.",
        )
    _keys[name] = digest, loaded
    return digest


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
