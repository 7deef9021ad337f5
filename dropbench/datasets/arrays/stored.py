"""Arrays in files, known by shape and type before they are read, and then mapped instead of read whole."""

import errno
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from dropbench.datasets.cache import cache_folder
from dropbench.errors import DropbenchError

CHUNK = 1 << 24
"""Bytes of an array that are in memory at once."""
_IN_MEMORY = 1 << 26  # bytes of an array that needs no file
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class Stored:
    """An array that is somewhere, with its name there."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[], np.ndarray]
    """Return the array, mapped where it is in a file."""
    copied: bool = False
    """Whether loading it takes as much space on the disk as it has bytes."""

    @classmethod
    def of(cls, name: str, array: Any) -> "Stored":
        """Return what is in memory already; of Python objects that are text or numbers, the array of such."""
        there = np.asarray(array)
        if there.dtype.hasobject:
            there = np.array(there.tolist())
        return cls(name, there.shape, there.dtype, lambda: there)

    @property
    def nbytes(self) -> int:
        """The bytes of its values."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        """The name with the shape, like ``x_train (500, 28, 28)``."""
        return f"{self.name} {self.shape}"


@dataclass(frozen=True)
class Header:
    """The first bytes of a ``.npy`` file."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int
    """Where the values begin, in bytes."""

    @classmethod
    def read(cls, stream: IO[bytes], size: int) -> "Header":
        """Read it from a stream of ``size`` bytes; nothing is unpickled.

        Raises:
            ValueError: if these are not the bytes of an array.

        """
        version = np.lib.format.read_magic(cast(BinaryIO, stream))
        if version not in _HEADERS:
            raise ValueError(f"version {version[0]}.{version[1]} of the format is for arrays of records")
        shape, fortran, dtype = _HEADERS[version](cast(BinaryIO, stream))
        header = cls(shape, fortran, dtype, stream.tell())
        if not dtype.hasobject and size - header.offset != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"an array of {shape} has {size - header.offset:,} bytes")
        return header

    def map(self, file: Path | IO[bytes]) -> np.ndarray:
        """Return the array whose header this is, mapped."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)  # nothing cannot be mapped
        order = "F" if self.fortran else "C"
        return np.memmap(cast(Any, file), self.dtype, "r", self.offset, self.shape, cast(Any, order))


def check_disk(needed: int) -> None:
    """Raise DropbenchError if the cache's disk lacks this many bytes."""
    _make_cache_folder()
    free = shutil.disk_usage(cache_folder()).free
    if needed > free:
        raise DropbenchError(
            f"Unpacked and made ready, these arrays need {needed / 1e9:,.1f} GB on the disk of "
            f"{cache_folder()}, which has {free / 1e9:,.1f} GB left.",
            "Make space, or set DROPBENCH_CACHE_DIR to another folder.",
        )


def kept(chunks: Iterable[np.ndarray], shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Return chunks, one after another, as one array; a large one is mapped from a file that has no name.

    Raises:
        DropbenchError: if the disk is full.

    """
    if math.prod(shape) * dtype.itemsize <= _IN_MEMORY:
        whole = np.empty(shape, dtype)
        place = 0
        for chunk in chunks:
            whole[place : place + len(chunk)] = chunk
            place += len(chunk)
        return whole
    with nameless() as file:
        for chunk in chunks:
            write(file, np.ascontiguousarray(chunk, dtype).tobytes())
        return Header(shape, False, dtype, 0).map(file)


def nameless() -> IO[bytes]:
    """Return a new file in the cache that is gone as soon as nothing uses it, however the program ends."""
    _make_cache_folder()
    try:
        return tempfile.TemporaryFile(dir=cache_folder())
    except OSError as error:
        raise _unwritable(error) from error


def write(file: IO[bytes], content: bytes) -> None:
    """Write to a nameless file, wholly; raise DropbenchError if the disk is full.

    Writing into a map would end the process there.
    """
    try:
        file.write(content)
        file.flush()
    except OSError as error:
        raise _unwritable(error) from error


def _make_cache_folder() -> None:
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> DropbenchError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return DropbenchError(
        f"Cannot write to the cache {cache_folder()}: {error.strerror or error}.",
        "Make space, or set DROPBENCH_CACHE_DIR to another folder."
        if full
        else "Set DROPBENCH_CACHE_DIR to another folder.",
    )
