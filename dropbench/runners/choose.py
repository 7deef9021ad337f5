"""Which runner, with how many workers and threads."""

import os

import torch

from dropbench.runners.base import Runner, RunnerOptions
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shares(runs: int, device: torch.device, options: RunnerOptions) -> tuple[int, int]:
    """How many of so many runs are carried out at a time on this machine, and the CPU threads of each."""
    most = torch.cuda.device_count() if device.type == "cuda" else cores()
    jobs = 1 if options.kind == "serial" else min(options.jobs or most, max(runs, 1))
    return jobs, options.threads or max(1, cores() // jobs)


def choose_runner(runs: int, device: torch.device, options: RunnerOptions = RunnerOptions()) -> Runner:  # noqa: B008
    """The runner for a command of ``runs`` runs: on the CPU one worker per core, on CUDA one per GPU.

    One thread each beats all threads on one run at a time, for small nets and large ones (``dropbench
    speed --only jobs``). Workers share the cores evenly where there are fewer runs than cores. ``runs``
    counts those that are done already, too: with other threads the last bits of a sum are others, and a
    command that goes on must give the numbers that it would have given.

    Raises:
        UsageError: as RunnerOptions.check does.
        DropbenchError: if Ray is wanted and not there.

    """
    options.check()
    if options.kind == "ray":
        from dropbench.runners.ray_cluster import RayRunner  # here, since Ray is an extra

        return RayRunner(runs, device, options)
    jobs, threads = shares(runs, device, options)
    if options.kind == "process" or jobs > 1:
        return ProcessRunner(device, jobs, threads, options.extras)
    return SerialRunner(device, threads, options.extras)
