"""The memory that this machine has left, so that what cannot fit is told before it is tried."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from dropbench.errors import DropbenchError

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def available_memory_bytes() -> int | None:
    """Return the memory that a process can still have here; None where the platform does not tell.

    It is what the system has available (on Linux; else all of its memory), within the limits of a container
    and of the process.
    """
    return min(_limits(), default=None)


def _limits() -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # Windows has no sysconf
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
    for limit in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            yield int(Path(limit).read_text(encoding="ascii"))
    with contextlib.suppress(ImportError):  # Windows has no such module
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        if soft != resource.RLIM_INFINITY:
            yield soft


def too_much(needed: float, there: float | None) -> str:
    """Return how many bytes are needed, and how many are there, in words; empty if that is enough."""
    if there is None or needed <= there:
        return ""
    return f"{needed / 1e9:,.1f} GB of memory, and {there / 1e9:,.1f} GB are available"


def check_memory(what: str, needed: float) -> None:
    """Raise DropbenchError if a table needs more bytes of memory than there are."""
    if told := too_much(needed, available_memory_bytes()):
        raise DropbenchError(f"{what} needs about {told}.", "Take out rows or columns.")
