"""Locks between processes: whom one waits for is told, and a disk that has no locks is refused."""

import contextlib
import errno
import importlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dropbench.errors import DropbenchError

fcntl: Any = None
"""The module; None on Windows, whose locks every file system has."""
with contextlib.suppress(ImportError):
    fcntl = importlib.import_module("fcntl")

PATIENCE = 5.0
"""Seconds that pass before it is told what is waited for."""
HELD = (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK)
"""Errors of a lock that somebody else has; others say that there are none."""
_LONGEST = 100

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def held(lock: FileLock, what: str) -> Iterator[None]:
    """Hold a lock in this context; ``what`` names what it guards.

    Who has it is logged after PATIENCE, and waited for as long as that lasts.

    Raises:
        DropbenchError: if the disk has no locks, or the lock is a link.
        OSError: if the file of the lock cannot be opened.

    """
    path = Path(lock.lock_file)
    if not lock.is_locked:
        check_locks(path, what)
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        _log.warning(f"Waiting for {what}: {holder(path)} has locked it.")
        lock.acquire(timeout=-1)
    try:
        yield
    finally:
        lock.release()


def check_locks(path: Path, what: str) -> None:
    """Raise DropbenchError if the lock at ``path`` is a link, or its disk has no locks."""
    if fcntl is None:
        return
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise DropbenchError(f"{path} is a link.", "Remove it: nothing is locked through a link.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in HELD:
            raise DropbenchError(
                f"The disk of {path.parent} has no locks ({error.strerror}): commands could spoil {what}.",
                "Name a folder on another disk.",
            ) from error
    finally:
        os.close(file)


def holder(path: Path) -> str:
    """Return who holds the lock of a file, in words, as far as the system tells."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        inode = str(path.stat().st_ino)
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            words = line.split()
            if "->" not in words and words[5].rpartition(":")[2] == inode and int(words[4]) > 0:
                return f"process {words[4]}{_command(words[4])}"
    return "another process, perhaps of another machine,"


def _command(pid: str) -> str:
    with contextlib.suppress(OSError):
        words = Path("/proc", pid, "cmdline").read_bytes().decode(errors="replace").split("\0")
        if command := " ".join(words).strip():
            short = command if len(command) <= _LONGEST else f"{command[:_LONGEST]}…"
            return f" ({short})"
    return ""
