"""The cache of decoded data sets: .npy files, keyed by their content, that workers map into memory.

Each data set has a folder that is named by its digest, with the sums of its pixels beside the arrays. The
folder ``sources`` maps two fingerprints of a source to that digest, and to what is no part of it: names of
classes and columns, and notes. One is of what the file system says of its files, so a data set that was
decoded before is found without reading its source; the other of their content, so one that was copied or
moved need not be decoded again.
"""

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from dropbench.datasets.column import Column
from dropbench.datasets.dataset import ARRAYS, DataSet, pixel_sums
from dropbench.datasets.in_use import take, unused
from dropbench.errors import DropbenchError
from dropbench.files import write_whole
from dropbench.folders import cache_base
from dropbench.locks import held

_log = logging.getLogger(__name__)
_SUMS = "pixel_sums.npy"
_META = "meta.json"
_KEY = re.compile(r"[0-9a-f]{8,64}")
_CHECKED = 64  # images whose sums are computed again when the set is loaded
DECODER_VERSION = 2  # increase it when a source is decoded to different arrays than before
_BLOCK = 1 << 20  # bytes of a file that are read at once


def cache_folder() -> Path:
    """Return the folder of the data sets in the cache."""
    return cache_base() / "datasets"


def fingerprint(identity: str, files: Iterable[Path]) -> str:
    """Return a digest of what the file system says of a source's files; they are not read.

    Beside size and time of modification it has the number of the file and the time of its last change (on
    Windows of its creation), which no program sets: files that were exchanged, or written anew with the old
    times, have others.
    """
    sha = hashlib.sha256(f"{DECODER_VERSION} {identity}".encode(errors="surrogateescape"))
    for file in files:
        stat = file.stat()
        told = (stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns)
        sha.update("\0".join(["", str(file), *map(str, told)]).encode(errors="surrogateescape"))
    return sha.hexdigest()


def content_fingerprint(identity: str, files: Sequence[Path]) -> str:
    """Return a digest of the content of a source's files, and of their names within their common folder."""
    sha = hashlib.sha256(f"{DECODER_VERSION} content {identity}".encode(errors="surrogateescape"))
    folders: dict[str, list[Path]] = {}
    for file in files:  # on Windows, a table and its test rows may be on two drives
        folders.setdefault(file.anchor, []).append(file.parent)
    common = {anchor: os.path.commonpath(of_drive) for anchor, of_drive in folders.items()}
    for file in files:
        name = os.path.relpath(file, common[file.anchor])
        sha.update(f"\0{name}\0{file.stat().st_size}\0".encode(errors="surrogateescape"))
        with contextlib.suppress(OSError), file.open("rb") as stream:  # the decoder tells what is unreadable
            while block := stream.read(_BLOCK):
                sha.update(block)
    return sha.hexdigest()


def find(source_fingerprint: str) -> DataSet | None:
    """Return the data set decoded from the source with this fingerprint, or None if it is not cached."""
    # If an entry is missing or incomplete, the source is simply decoded again.
    with contextlib.suppress(OSError, ValueError, EOFError, KeyError, TypeError):
        note = cache_folder() / "sources" / source_fingerprint
        told = json.loads(note.read_text(encoding="utf-8"))
        data = _load(_checked_key(told["key"]), told)
        if told.get("stamp") != (stamp := _stamp(data.key)):
            # Not as it was left: somebody copied the cache, or put a folder of this name there.
            if data.digest() != data.key:
                _log.warning(f"The cached data set {data.key} is not what its name says; it is made again.")
                return None
            with contextlib.suppress(OSError):  # where the cache cannot be written, it is checked each time
                write_whole(note, _as_json(data, key=data.key, stamp=stamp))
        return data
    return None


def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no digest")
    return key


def _stamp(key: str) -> str:
    """A digest of what the file system says of a cached data set's arrays; see fingerprint."""
    return fingerprint(key, [_array_file(cache_folder() / key, name) for name in ARRAYS])


def save(data: DataSet) -> DataSet:
    """Save a data set that passed its check; return it mapped from the cache.

    One that is there undamaged stays, since another process may be about to map it.

    Raises:
        DropbenchError: if the cache cannot be written.

    """
    key = data.digest()
    with _writing():
        cache_folder().mkdir(parents=True, exist_ok=True)
        with held(FileLock(cache_folder() / f"{key}.lock"), f"the cached data set {key}"):
            if _is_undamaged(key):
                write_whole(cache_folder() / key / _META, _as_json(data))  # names may be others
            else:
                _write_folder(data, cache_folder() / key)
    return _load(key, _meta(data)).called(data.name, data.told)


def _is_undamaged(key: str) -> bool:
    with contextlib.suppress(OSError, ValueError, EOFError, KeyError, TypeError):
        return load(key).digest() == key
    return False


def remember(source_fingerprint: str, data: DataSet) -> None:
    """Take note that the source with this fingerprint is decoded to ``data``, which are in the cache.

    Raises:
        DropbenchError: if the cache cannot be written.

    """
    with _writing():
        sources = cache_folder() / "sources"
        sources.mkdir(parents=True, exist_ok=True)
        write_whole(sources / source_fingerprint, _as_json(data, key=data.key, stamp=_stamp(data.key)))


def keep(data: DataSet) -> None:
    """Save a data set that came from another machine's cache, unless it is cached here already.

    Raises:
        DropbenchError: if the cache cannot be written.

    """
    with _writing():
        cache_folder().mkdir(parents=True, exist_ok=True)
        with held(FileLock(cache_folder() / f"{data.key}.lock"), f"the cached data set {data.key}"):
            folder = cache_folder() / data.key
            if not _is_undamaged(data.key):
                _write_folder(data, folder)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DropbenchError(
            f"Cannot write to the cache {cache_folder()}: {error.strerror or error}.",
            "Set DROPBENCH_CACHE_DIR to another folder.",
        ) from error


def remove(key: str) -> None:
    """Remove a data set from the cache, if it is there."""
    shutil.rmtree(cache_folder() / key, ignore_errors=True)
    (cache_folder() / f"{key}.lock").unlink(missing_ok=True)


def load(key: str) -> DataSet:
    """Load the cached data set with this digest; its arrays are memory-mapped and shared between processes.

    Raises:
        OSError, ValueError, EOFError, KeyError: if it is not cached, or its files are damaged.

    """
    folder = cache_folder() / _checked_key(key)
    return _load(key, json.loads((folder / _META).read_text(encoding="utf-8")))


def _load(key: str, meta: Mapping[str, Any]) -> DataSet:
    folder = cache_folder() / key
    # Mode "c" is copy-on-write: pages are shared until written, and torch gets the writable array it needs.
    arrays = {name: np.load(_array_file(folder, name), mmap_mode="c", allow_pickle=False) for name in ARRAYS}
    take(folder / _META, arrays[ARRAYS[0]])
    columns = tuple(Column(name, tuple(values), missing) for name, values, missing in meta.get("columns", []))
    data = DataSet(
        name=meta["name"],
        classes=tuple(meta["classes"]),
        key=key,
        columns=columns,
        validation=meta.get("validation", 0),
        notes=tuple(meta.get("notes", [])),
        **arrays,
    )
    if not columns:
        # The property has its value from now on; dataclasses.replace makes a set without it.
        vars(data)["pixel_sums"] = _pixel_sums(folder / _SUMS, data.train_inputs)
    return data


def free(key: str) -> AbstractContextManager[bool]:
    """Yield whether no process uses a cached data set; if so, none can begin to in this context."""
    return unused(cache_folder() / key / _META)


def last_used(key: str) -> float:
    """Return when a cached data set was last loaded, in seconds since 1970."""
    for file in (cache_folder() / key / _META, cache_folder() / key):
        with contextlib.suppress(OSError):
            return file.stat().st_mtime
    return 0.0


def name_of(key: str) -> str:
    """Return the name of a cached data set; empty if that cannot be read."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads((cache_folder() / key / _META).read_text(encoding="utf-8"))["name"])
    return ""


def saved_keys() -> list[str]:
    """Return the keys of the data sets in the cache."""
    with contextlib.suppress(OSError):
        return sorted(
            f.name for f in cache_folder().iterdir() if _KEY.fullmatch(f.name) and not f.is_symlink()
        )
    return []


def _meta(data: DataSet) -> dict[str, Any]:
    """All that a data set is beside its arrays, for a JSON file."""
    return {
        "name": data.name,
        "classes": list(data.classes),
        "columns": [[each.name, list(each.categories), each.missing] for each in data.columns],
        "validation": data.validation,
        "notes": list(data.notes),
    }


def _as_json(data: DataSet, **more: str) -> bytes:
    return json.dumps({**more, **_meta(data)}).encode()


def _pixel_sums(file: Path, images: np.ndarray) -> np.ndarray:
    """The sums of the cached ``images``; a set that was cached without them gets them."""
    with contextlib.suppress(OSError, ValueError, EOFError):
        kept: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
        wanted = np.int64 if images.dtype == np.uint8 else np.float64
        if kept.dtype == wanted and kept.shape == (2, *images.shape[:2]) and _look_right(kept, images):
            return kept
    sums = pixel_sums(images)
    stream = io.BytesIO()
    np.save(stream, sums, allow_pickle=False)
    with contextlib.suppress(OSError):  # where the cache cannot be written, each process computes them
        write_whole(file, stream.getvalue())
    return sums


def _look_right(sums: np.ndarray, images: np.ndarray) -> bool:
    """Whether sums are those of some of the images, at equal steps: every run rests on them."""
    some = np.linspace(0, len(images) - 1, min(len(images), _CHECKED)).astype(int)
    return np.array_equal(sums[:, some], pixel_sums(images[some]))


def _array_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _write_folder(data: DataSet, folder: Path) -> None:
    """Write a data set in place of what there is of it."""
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        for name in ARRAYS:
            np.save(_array_file(partial, name), np.ascontiguousarray(getattr(data, name)), allow_pickle=False)
        if not data.columns:
            np.save(partial / _SUMS, data.pixel_sums, allow_pickle=False)
        (partial / _META).write_bytes(_as_json(data))
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)  # atomic: the folder appears complete or not at all
    finally:
        shutil.rmtree(partial, ignore_errors=True)
