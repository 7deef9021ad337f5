"""Files of the user's own code, named ``folder/nets.py:factory``, as modules that no other module hides."""

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

from dropbench.errors import UsageError

ENDING = ".py"
_beside: dict[str, dict[str, ModuleType]] = {}
"""The modules that files of a folder have imported from it, by their names: another folder has others."""


def load_file(path: str) -> ModuleType:
    """Return the file as a module; one that was edited is loaded anew.

    Raises:
        UsageError: if there is no such file, or if it cannot be read.

    """
    file = Path(path).expanduser().absolute()
    if not file.is_file():
        what = "is a folder, no file" if file.is_dir() else "is not there"
        raise UsageError(f"{path} {what}.", f"Paths begin in {os.getcwd()}.")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error
    name = f"_dropbench_{file.stem}_{hashlib.sha256(os.fsencode(file) + content).hexdigest()[:12]}"
    if name not in sys.modules:
        spec = spec_from_loader(name, _Loader(name, str(file), content), origin=str(file))
        assert spec is not None and spec.loader is not None  # noqa: PT018  # which spec_from_loader makes
        module = module_from_spec(spec)
        module.__file__ = str(file)
        sys.modules[name] = module
        try:
            with neighbours_of(str(file)):
                spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


@contextmanager
def neighbours_of(file: str) -> Iterator[None]:
    """Let code of ``file`` import the modules beside it, in this context alone.

    The folder comes last, so that none of its files stands before an installed module, or the standard
    library's. The modules are taken out of the way again, for files of another folder may import their own by
    the same names.
    """
    folder = os.path.dirname(file)
    found = _beside.setdefault(folder, {})
    replaced = {name: sys.modules[name] for name in found if name in sys.modules}
    before = set(sys.modules) - set(replaced)
    sys.path.append(folder)
    sys.modules.update(found)
    try:
        yield
    finally:
        sys.path.reverse()  # the last of those that are alike is this one
        sys.path.remove(folder)
        sys.path.reverse()
        for name in set(sys.modules) - before:
            if name.partition(".")[0] not in before and _lies_in(folder, name):
                found[name] = sys.modules.pop(name)
        sys.modules.update(replaced)


def _lies_in(folder: str, name: str) -> bool:
    """Whether an imported module was found in ``folder`` itself, not in an environment somewhere below it."""
    module, top = sys.modules[name], os.path.join(folder, name.partition(".")[0])
    places = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
    return any(str(place).startswith((f"{top}.", f"{top}{os.sep}")) or place == top for place in places)


class _Loader(SourceFileLoader):
    """Executes the content that was read, so that a digest of it is that of the code."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_code(self, fullname: str) -> Any:
        """Return the compiled content; no compiled file is written or read."""
        return self.source_to_code(self._content, self.path)
