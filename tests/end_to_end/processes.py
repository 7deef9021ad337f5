"""The processes that a command started, as Linux shows them."""

import contextlib
from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that one started and that have not ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z":
                found.append(int(stat.parent.name))
    return found


def workers(pid: int) -> list[int]:
    """The workers of a command: what its children forked, of which one is the server that forks."""
    return [worker for child in children(pid) for worker in children(child)]
