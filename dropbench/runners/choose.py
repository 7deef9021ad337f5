"""The choice of a runner, and of its numbers of workers and threads."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import torch

from dropbench.engine import gpus
from dropbench.run.machine import AUTOMATIC, Machine
from dropbench.runners.base import NO_EXTRAS, Extras, Runner
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner
from dropbench.runners.sharing import Workload

_OF_CLUSTER = ("SLURM_CPUS_PER_TASK", "NSLOTS")
"""Variables with the cores that Slurm and Grid Engine granted."""


def cores() -> int:
    """Return the number of cores that this process may use: by its system, its container and its cluster."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = (number for name in _OF_CLUSTER if (number := _number(os.environ.get(name, ""))))
    return min([here, *granted, *_of_container()])


def _of_container() -> Iterator[int]:
    """The cores that a container's quotas grant, as numbers of whole ones."""
    with contextlib.suppress(OSError, ValueError):  # no container; "max" is no limit
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        yield max(1, math.ceil(int(quota) / int(period)))
    with contextlib.suppress(OSError, ValueError):  # the same of older systems; -1 is no limit
        folder = Path("/sys/fs/cgroup/cpu")
        quota, period = (
            (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
        )
        if int(quota) > 0:
            yield max(1, math.ceil(int(quota) / int(period)))


def _number(text: str) -> int:
    """The whole number in a variable; 0 where there is none above 0."""
    first = text.split(",")[0].strip()  # OMP_NUM_THREADS may have one for each level
    return int(first) if first.isdecimal() else 0


def shares(
    runs: int, device: torch.device, machine: Machine, workload: Workload | None = None
) -> tuple[int, int]:
    """Return how many of ``runs`` this machine carries out at a time, and the CPU threads of each.

    On CUDA the runs of a ``workload`` share GPUs where that pays (dropbench.runners.sharing).
    """
    jobs = 1
    if machine.runner != "serial":
        jobs = min(machine.jobs or _most(device, workload), max(runs, 1))
    threads = max(1, cores() // jobs)
    most = _number(os.environ.get("OMP_NUM_THREADS", "")) or threads
    return jobs, machine.threads or min(threads, most)


def _most(device: torch.device, workload: Workload | None) -> int:
    if device.type != "cuda":
        return cores()
    found = gpus.found()
    return len(found) * (workload.runs_on_each(found, cores()) if workload else 1)


def abreast(jobs: int, device: torch.device, machine: Machine, workload: Workload | None = None) -> int:
    """Return how many of the ``jobs`` runs at a time one process has: several on a GPU without MPS."""
    if device.type != "cuda" or machine.runner == "process" or workload is None or not workload.replays:
        return 1
    found = gpus.found()
    return 1 if all(gpu.mps for gpu in found) else -(-jobs // len(found))


def choose_runner(
    runs: int,
    device: torch.device,
    machine: Machine = AUTOMATIC,
    extras: Extras = NO_EXTRAS,
    workload: Workload | None = None,
) -> Runner:
    """Return the runner for a command of ``runs`` runs: on the CPU one worker per core.

    On CUDA there is one per GPU, or more of a ``workload`` where they can share it: processes with MPS, else
    runs side by side in a process for each GPU.

    Many runs with one thread each are faster than one run at a time with all threads, for small nets and for
    large ones (``dropbench speed --only jobs`` measures it). If there are fewer runs than cores, the workers
    share the cores evenly. ``runs`` includes those that are already done: the number of threads changes the
    last bits of a sum, and a resumed command must give the same numbers as an uninterrupted one.

    Raises:
        DropbenchError: if Ray is chosen and not installed, or its cluster cannot be used.

    """
    if machine.runner == "ray":
        from dropbench.runners.ray_cluster import RayRunner  # here, since Ray is an optional dependency

        return RayRunner(runs, device, machine, extras)
    jobs, threads = shares(runs, device, machine, workload)
    of_process = abreast(jobs, device, machine, workload)
    if machine.runner == "process" or jobs > of_process:
        return ProcessRunner(device, jobs, threads, extras, of_process)
    successor = ProcessRunner(device, jobs, threads, extras, jobs) if machine.runner == "auto" else None
    return SerialRunner(device, threads, extras, jobs, successor)
