"""The size of the cache, and what of it can go: everything in it can be made again."""

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dropbench.datasets import cache
from dropbench.folders import cache_base
from dropbench.kernels import cache as kernels

_REST_SECONDS = 86400.0
"""Age of what a write left behind: it may be of one that goes on."""


@dataclass(frozen=True)
class Entry:
    """A part of the cache that goes or stays as a whole."""

    kind: str
    """``data``, ``kernels`` or ``rest``: what an interrupted write left behind, or a note of what is gone."""
    name: str
    path: Path
    size: int
    """Bytes of its files."""
    used: float
    """When it was used last, in seconds since 1970."""
    current: bool = True
    """Whether this version of dropbench can use it."""


def entries() -> list[Entry]:
    """Return everything in the cache; a link in it is none of it."""
    sets = [
        Entry("data", cache.name_of(key), path, _size(path), cache.last_used(key))
        for key in cache.saved_keys()
        for path in [cache.cache_folder() / key]
    ]
    return [*sets, *_kernels(), *_rest({each.path.name for each in sets})]


def to_prune(
    found: list[Entry], older_than: float | None = None, to_size: int | None = None, everything: bool = False
) -> list[Entry]:
    """Return what of ``found`` goes: always what cannot be used, and more where that is asked for.

    ``older_than`` are seconds since the last use. ``to_size`` are bytes of the data sets and kernels that may
    stay, of which those used last stay; the kernels of this version go only with ``everything``.
    """
    if everything:
        return found
    now = time.time()
    going = [each for each in found if not each.current or each.kind == "rest"]
    staying = sorted((each for each in found if each not in going), key=lambda each: each.used)
    left = sum(each.size for each in staying)
    for each in staying:
        too_old = older_than is not None and now - each.used > older_than
        too_much = to_size is not None and left > to_size
        if each.kind == "data" and (too_old or too_much):
            going.append(each)
            left -= each.size
    return going


def remove(entry: Entry) -> bool:
    """Remove an entry of the cache; return False for a data set that a process uses, which stays."""
    if entry.kind != "data":
        _remove(entry.path)
        return True
    with cache.free(entry.path.name) as is_free:
        if is_free:
            _remove(entry.path)
            entry.path.with_name(f"{entry.path.name}.lock").unlink(missing_ok=True)
        return is_free


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _kernels() -> Iterator[Entry]:
    base = cache_base() / "kernels"
    if base.is_symlink():
        return
    for path in _within(base):
        if path.is_dir() and not path.is_symlink():
            own = path == kernels.folder()
            yield Entry("kernels", "compiled kernels", path, _size(path), path.stat().st_mtime, own)


def _rest(sets: set[str]) -> Iterator[Entry]:
    """The leftovers: of writes that were cut off, locks of sets that are gone, and notes of their sources."""
    folder, now = cache.cache_folder(), time.time()
    for path in _within(folder):
        of_set = path.suffix == ".lock" and path.stem in sets
        if path.name in sets or path.name == "sources" or of_set or path.is_symlink():
            continue
        if now - path.stat().st_mtime > _REST_SECONDS:
            yield Entry("rest", path.name, path, _size(path), path.stat().st_mtime)
    for note in _within(folder / "sources"):
        key = ""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            key = json.loads(note.read_text(encoding="utf-8"))["key"]
        if key not in sets and now - note.stat().st_mtime > _REST_SECONDS:
            yield Entry("rest", note.name, note, _size(note), note.stat().st_mtime)


def _within(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.lstat().st_size for file in files if not file.is_symlink() and file.is_file())
