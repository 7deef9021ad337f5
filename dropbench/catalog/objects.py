"""Functions and classes of a Python session, which have a name as the user's own code in files has."""

import dis
import functools
import hashlib
import inspect
import pickle
import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from types import CodeType, FunctionType, ModuleType
from typing import Any

from dropbench.errors import UsageError

SESSION = "__main__"
"""The module of what is defined in a session: no other process can import it."""
_objects: dict[str, Any] = {}


def name_of(made_by: Any, setting: str) -> str:
    """Return the name ``module:name`` of a function or a class that is the value of ``setting``.

    One that other processes cannot import, as those of a notebook, a lambda and a function within a function,
    is ``__main__:name`` and known to this process alone. A name that several may have has a digest, too.

    Raises:
        UsageError: if it is neither a function nor a class, as a module that is made already.

    """
    whole = made_by.func if isinstance(made_by, functools.partial) else made_by
    if not inspect.isclass(whole) and not inspect.isroutine(whole):
        raise UsageError(*made_already(f"`{setting}`", whole))
    module, name = whole.__module__ or SESSION, whole.__qualname__
    if whole is made_by and _imported(module, name) is made_by:
        return f"{module}:{name}"
    if whole is not made_by or _of_session(name) is not made_by:
        name = f"{name.rpartition('.')[2].strip('<>')}-{digest_of(made_by)[:6]}"
    _objects[f"{SESSION}:{name}"] = made_by
    return f"{SESSION}:{name}"


def made_already(named: str, made: Any) -> tuple[str, str]:
    """Return what is wrong with an object in the place of what makes one, and what to do."""
    what = f"{named} is {_article(type(made).__name__)} that is made already"
    return (
        f"{what}, and every run begins with one of its own.",
        "Write what makes it: a class, or a function.",
    )


def is_of_session(name: str) -> bool:
    """Return whether ``name`` is that of an object that this process alone has."""
    return name.partition(":")[0] == SESSION


def find(name: str) -> Any:
    """Return the object of this session with this name; raise UsageError if there is none."""
    if name not in _objects:
        raise UsageError(
            f"{name} was defined in another Python session.",
            "Call dropbench there again, or put it into a file and write file.py:name.",
        )
    return _objects[name]


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'AEIOUaeiou' else 'a'} {noun}"


def _imported(module: str, name: str) -> Any:
    """Return the object that another process gets by importing this name; None if it cannot."""
    if module == SESSION or PathFinder.find_spec(module.partition(".")[0]) is None:
        return None
    return _within(sys.modules.get(module), name)


def _of_session(name: str) -> Any:
    return _within(sys.modules[SESSION], name)


def _within(found: Any, name: str) -> Any:
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def digest_of(made_by: Any) -> str:
    """Return hexadecimal digits that change with the source of a function or a class, and with what it uses.

    It uses its defaults, the values that it captured, and the globals of a session that its code names; of
    functions and classes among them the source counts.

    Raises:
        UsageError: if a source or a value cannot be read.

    """
    found = hashlib.sha256()
    for part in _parts(made_by, set()):
        found.update(part + b"\0")
    return found.hexdigest()


def _parts(used: Any, seen: set[int]) -> Iterator[bytes]:
    """Yield bytes that tell ``used`` from all else; objects that were ``seen`` are left out."""
    if isinstance(used, functools.partial):
        for each in (used.func, used.args, sorted(used.keywords.items())):
            yield from _parts(each, seen)
    elif inspect.ismethod(used):
        yield from _parts(used.__func__, seen)
        yield from _parts(used.__self__, seen)
    elif isinstance(used, list | tuple):
        yield f"{type(used).__name__} of {len(used)}".encode()
        for each in used:
            yield from _parts(each, seen)
    elif isinstance(used, ModuleType):
        yield used.__name__.encode()
    elif not (inspect.isclass(used) or inspect.isroutine(used)):
        yield _value(used)
    elif used.__module__ != SESSION and "<" not in used.__qualname__:
        yield f"{used.__module__}:{used.__qualname__}".encode()  # as files that are imported are not read
    elif id(used) not in seen:
        seen.add(id(used))
        yield used.__qualname__.encode() if inspect.isclass(used) else _source(used)
        for name, value in _uses(used):
            yield name.encode()
            yield from _parts(value, seen)


def _source(used: Any) -> bytes:
    try:
        return textwrap.dedent(inspect.getsource(used)).encode()
    except (OSError, TypeError) as error:  # of what was typed into a plain Python
        raise UsageError(
            f"The source of {used.__qualname__} cannot be read, which tells its runs from others.",
            "Put it into a file and write file.py:name, or import it.",
        ) from error


def _value(value: Any) -> bytes:
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return repr(value).encode()
    if isinstance(value, set | frozenset):
        return repr(sorted(map(repr, value))).encode()
    try:
        return pickle.dumps(value)
    except Exception as error:  # pickle raises several types
        raise UsageError(
            f"A model or dropout uses {_article(type(value).__name__)}, which cannot be told from another.",
            "Make it within the function, or put the function into a file and write file.py:name.",
        ) from error


def _uses(used: Any) -> Iterator[tuple[str, Any]]:
    """The values that a function, or the methods and the bases of a class, use beside their arguments."""
    if inspect.isclass(used):  # a notebook has the source of its functions alone
        yield from ((base.__qualname__, base) for base in used.__bases__)
        for name, value in sorted(vars(used).items()):
            if isinstance(value, FunctionType | staticmethod | classmethod | property):
                yield from ((name, function) for function in _functions(value))
            elif not name.startswith("__"):
                yield name, value
        return
    yield "defaults", (used.__defaults__ or (), sorted((used.__kwdefaults__ or {}).items()))
    for name, cell in zip(used.__code__.co_freevars, used.__closure__ or (), strict=True):
        if name != "__class__":
            yield name, cell.cell_contents
    for name in sorted(_globals_of(used.__code__)):
        if name in used.__globals__:
            yield name, used.__globals__[name]


def _functions(value: Any) -> Iterator[Callable[..., Any]]:
    if isinstance(value, property):
        yield from (each for each in (value.fget, value.fset) if each)
    else:
        yield getattr(value, "__func__", value)


def _globals_of(code: CodeType) -> set[str]:
    loads = ("LOAD_GLOBAL", "LOAD_NAME")
    names = {each.argval for each in dis.get_instructions(code) if each.opname in loads}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _globals_of(constant)
    return names
