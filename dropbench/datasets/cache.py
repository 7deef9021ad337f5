"""The cache of decoded data sets: .npy files that every worker maps, keyed by their content.

A set's folder is named by the digest of its arrays. A small file beside them maps the *fingerprint* of
the source (each file's name, size and time of change) to that digest, so a set that was decoded once is
found again without reading its source.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from filelock import FileLock
from platformdirs import user_cache_path

from dropbench.datasets.dataset import ARRAYS, DataSet
from dropbench.errors import DropbenchError

DECODER_VERSION = 1  # raise it when a source decodes to other arrays than before


def cache_folder() -> Path:
    """``$DROPBENCH_CACHE_DIR``, or the place the platform keeps caches in."""
    return Path(os.environ.get("DROPBENCH_CACHE_DIR") or user_cache_path("dropbench")) / "datasets"


def fingerprint(name: str, files: Iterable[Path]) -> str:
    """Digest of a source's files without reading them: their names, sizes and times of change."""
    sha = hashlib.sha256(f"{DECODER_VERSION} {name}".encode())
    for file in files:
        stat = file.stat()
        sha.update(f"\0{file}\0{stat.st_size}\0{stat.st_mtime_ns}".encode(errors="surrogateescape"))
    return sha.hexdigest()


def find(source_fingerprint: str, name: str) -> DataSet | None:
    """The set that a source with this fingerprint was decoded to, or None where it must be decoded."""
    # A cache entry that is missing, torn or half deleted only costs decoding again.
    with contextlib.suppress(OSError, ValueError, EOFError, KeyError):
        key = (cache_folder() / "sources" / source_fingerprint).read_text(encoding="utf-8").strip()
        return replace(load(key), name=name)
    return None


def save(data: DataSet, source_fingerprint: str) -> DataSet:
    """Keep a checked set under its digest and remember where it came from; returns it as cached.

    Raises:
        DropbenchError: if the cache cannot be written.

    """
    key = data.digest()
    with _writing():
        sources = cache_folder() / "sources"
        sources.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_folder() / f"{key}.lock"):
            shutil.rmtree(cache_folder() / key, ignore_errors=True)
            _write_folder(data, cache_folder() / key)
        (sources / source_fingerprint).write_text(key, encoding="utf-8")
        return replace(load(key), name=data.name)


def keep(data: DataSet) -> None:
    """Take in a set that another machine's cache holds, unless it is here already.

    Raises:
        DropbenchError: if the cache cannot be written.

    """
    with _writing():
        cache_folder().mkdir(parents=True, exist_ok=True)
        with FileLock(cache_folder() / f"{data.key}.lock"):
            if not (cache_folder() / data.key).is_dir():
                _write_folder(data, cache_folder() / data.key)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DropbenchError(
            f"Cannot write the cache {cache_folder()}: {error.strerror or error}.",
            "Name another folder in DROPBENCH_CACHE_DIR.",
        ) from error


def remove(key: str, source_fingerprint: str) -> None:
    """Take a set out of the cache; no error where it is not in it."""
    (cache_folder() / "sources" / source_fingerprint).unlink(missing_ok=True)
    shutil.rmtree(cache_folder() / key, ignore_errors=True)
    (cache_folder() / f"{key}.lock").unlink(missing_ok=True)


def load(key: str) -> DataSet:
    """The cached set with this digest, its arrays mapped into memory and shared between processes.

    Raises:
        OSError, ValueError, EOFError, KeyError: if it is not there or damaged.

    """
    folder = cache_folder() / key
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    # Mode "c": pages are shared until written, and torch gets the writable array it asks for.
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c", allow_pickle=False) for name in ARRAYS}
    return DataSet(name=meta["name"], classes=tuple(meta["classes"]), key=key, **arrays)


def _write_folder(data: DataSet, folder: Path) -> None:
    partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))
    try:
        for name in ARRAYS:
            np.save(partial / f"{name}.npy", np.ascontiguousarray(getattr(data, name)), allow_pickle=False)
        meta = {"name": data.name, "classes": list(data.classes)}
        (partial / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        partial.rename(folder)  # the folder appears whole or not at all
    finally:
        shutil.rmtree(partial, ignore_errors=True)
