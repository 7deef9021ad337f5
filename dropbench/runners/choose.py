"""Which runner, with how many workers and threads."""

import os

import torch

from dropbench.errors import UsageError
from dropbench.runners.base import Runner
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_runner(
    runs: int, device: torch.device, jobs: int | None, threads: int | None, compiled: bool = False
) -> Runner:
    """The runner for ``runs`` runs: on the CPU one worker per core, on CUDA one per GPU, unless told.

    One thread each beats all threads on one run at a time: 1.2 times for the lecture's CNN. Workers share
    the cores evenly where there are fewer runs than cores.

    Raises:
        UsageError: for less than one job or thread.

    """
    for name, value in (("jobs", jobs), ("threads", threads)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value}.", "Write 1 or more.")
    most = torch.cuda.device_count() if device.type == "cuda" else cores()
    jobs = min(jobs or most, max(runs, 1))
    threads = threads or max(1, cores() // jobs)
    if jobs == 1:
        return SerialRunner(device, threads, compiled)
    return ProcessRunner(device, jobs, threads, compiled)
