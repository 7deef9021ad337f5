"""Data sets of the cache that processes use, which are not to be removed."""

import contextlib
import os
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dropbench.locks import HELD, fcntl


def take(meta: Path, array: np.ndarray) -> None:
    """Mark a cached data set as used now, and as in use by this process for as long as its arrays live.

    Raises:
        OSError: if it is being removed.

    """
    with contextlib.suppress(OSError):  # of another user, or on a disk that cannot be written
        os.utime(meta)
    if fcntl is None:  # Windows does not remove what is mapped
        return
    file = os.open(meta, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        if error.errno in HELD:
            raise
        return  # a disk without locks, where nothing is pruned
    weakref.finalize(array, os.close, file).atexit = False


@contextlib.contextmanager
def unused(meta: Path) -> Iterator[bool]:
    """Yield whether no process uses a cached data set; if so, none can begin to in this context."""
    if fcntl is None:
        yield True
        return
    try:
        file = os.open(meta, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # half a set, which nobody can load
        yield True
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
    else:
        yield True
    finally:
        os.close(file)
