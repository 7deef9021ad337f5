"""Cores, memory and the allocator: what the system grants this process."""

import contextlib
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from dropbench.engine.allocator import can_keep_memory
from dropbench.experiments.doctor.finding import Finding


def judge_cores(usable: int, of_machine: int, quota: float | None) -> Finding:
    """Cores that this process may use, of those of the machine; ``quota``: cores' worth of time it is given.

    A sweep starts one worker for each usable core. Cores that are taken away by affinity it knows of; a
    quota of time it does not.
    """
    value = f"{usable} of {of_machine} cores" if usable < of_machine else counted(usable, "core")
    if quota is not None and quota < usable:
        value += f", but time for {quota:g} only (a quota of this container or its control group)"
        jobs = max(1, int(quota))
        return Finding("cores", value, "note", f"Use --jobs {jobs}, or set DROPBENCH_JOBS={jobs}.")
    if usable < of_machine:
        return Finding("cores", f"{value} (affinity); a sweep keeps to them", "note")
    return Finding("cores", value)


def judge_allocator() -> Finding:
    """Whether the allocator can be made to keep freed memory, which training is faster with."""
    if can_keep_memory():
        return Finding("allocator", f"glibc {platform.libc_ver()[1]}, made to keep freed memory")
    if platform.system() == "Linux":
        value = "not glibc's; it cannot be told to keep freed memory, and is left as it is"
        return Finding("allocator", value, "note")
    return Finding("allocator", "the system's own, left as it is")


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of time that the control groups of this process grant it; None where nothing limits it."""
    limits = [tuple(text.split()) for text in _of_groups("cpu.max", root)]
    periods = _of_groups("cpu.cfs_period_us", root)
    limits += zip(_of_groups("cpu.cfs_quota_us", root), periods, strict=False)
    # "max" and -1 are no limit
    return min((int(time) / int(period) for time, period in limits if time.isdecimal()), default=None)


def memory_bytes(root: Path = Path("/")) -> int | None:
    """The machine's memory, or what the control groups leave of it; None where nobody tells (Windows)."""
    sizes = [
        int(text)
        for file in ("memory.max", "memory.limit_in_bytes")
        for text in _of_groups(file, root)
        if text.isdecimal()
    ]
    with contextlib.suppress(AttributeError, ValueError, OSError):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(sizes, default=None)


def gigabytes(size: float) -> str:
    """A number of bytes in GB (10⁹)."""
    return f"{size / 1e9:.{1 if size < 10e9 else 0}f} GB"


def counted(number: int, name: str) -> str:
    """A number and what it counts, in the plural where it is not one."""
    return f"{number} {name}{'' if number == 1 else 's'}"


def _of_groups(file: str, root: Path) -> Iterator[str]:
    """What a file says in this process's control groups and those around them; nothing but on Linux."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")  # version 2 has no controllers, and one tree
        base = root / "sys/fs/cgroup" / controllers
        innermost = base / path.lstrip("/")
        # From within a container the path may be the host's: then only the base is there.
        for group in (innermost, *innermost.parents):
            with contextlib.suppress(OSError):
                yield (group / file).read_text(encoding="ascii").strip()
            if group == base:
                break
