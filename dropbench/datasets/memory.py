"""The memory that is there, before data are read into it."""

import os
from pathlib import Path

from dropbench.errors import DropbenchError

_OF_SYSTEM = Path("/proc/meminfo")
_OF_CONTAINER = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """Return the memory that a process can still have, in bytes; None where the system does not say."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in _OF_SYSTEM.read_text().splitlines())
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
    except (OSError, KeyError, ValueError):  # no Linux
        names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
        if {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(names):
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    try:
        limit = (_OF_CONTAINER / "memory.max").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int((_OF_CONTAINER / "memory.current").read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        pass
    return min(found, default=None)


def check_memory(what: str, needed: float) -> None:
    """Raise DropbenchError if ``what`` needs more bytes of memory than there are."""
    there = available_bytes()
    if there is not None and needed > there:
        raise DropbenchError(
            f"{what} needs about {needed / 1e9:,.1f} GB of memory; {max(there, 0) / 1e9:,.1f} GB are free.",
            "Take out rows or columns.",
        )
