"""Which runner, with how many workers and threads."""

import os

import torch

from dropbench.run.machine import AUTOMATIC, Machine
from dropbench.runners.base import NO_EXTRAS, Extras, Runner
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shares(runs: int, device: torch.device, machine: Machine) -> tuple[int, int]:
    """How many of so many runs are carried out at a time on this machine, and the CPU threads of each."""
    most = torch.cuda.device_count() if device.type == "cuda" else cores()
    jobs = 1 if machine.runner == "serial" else min(machine.jobs or most, max(runs, 1))
    return jobs, machine.threads or max(1, cores() // jobs)


def choose_runner(
    runs: int,
    device: torch.device,
    machine: Machine = AUTOMATIC,
    extras: Extras = NO_EXTRAS,
) -> Runner:
    """The runner for a command of ``runs`` runs: on the CPU one worker per core, on CUDA one per GPU.

    One thread each beats all threads on one run at a time, for small nets and large ones (``dropbench
    speed --only jobs``). Workers share the cores evenly where there are fewer runs than cores. ``runs``
    counts those that are done already, too: with other threads the last bits of a sum are others, and a
    command that goes on must give the numbers that it would have given.

    Raises:
        DropbenchError: if Ray is wanted and not there.

    """
    if machine.runner == "ray":
        from dropbench.runners.ray_cluster import RayRunner  # here, since Ray is an extra

        return RayRunner(runs, device, machine, extras)
    jobs, threads = shares(runs, device, machine)
    if machine.runner == "process" or jobs > 1:
        return ProcessRunner(device, jobs, threads, extras)
    return SerialRunner(device, threads, extras)
