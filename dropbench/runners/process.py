"""A pool of worker processes, each of which carries out one run after another."""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from dropbench.engine.device import interrupts_ignored, prepare_process
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult
from dropbench.runners.base import NO_EXTRAS, Attempt, Extras, OnProgress, Queue, carry_out_run


class ProcessRunner:
    """Carries out runs in ``jobs`` spawned workers, each with ``threads`` CPU threads.

    On CUDA the workers are distributed over the GPUs. A worker that dies (out of memory, a signal) is
    replaced, and its run is tried once more before it counts as failed.
    """

    def __init__(self, device: torch.device, jobs: int, threads: int, extras: Extras = NO_EXTRAS) -> None:
        self.device = device
        self.jobs = jobs
        self.threads = threads
        self.extras = extras

    def run(self, configs: Iterable[RunConfig], on_progress: OnProgress) -> Generator[RunResult, None, None]:
        """Yield one result per config as the runs finish; closing the iterator stops the workers."""
        queue = Queue(configs)
        workers: list[_Worker] = []
        try:
            while len(workers) < self.jobs and (task := queue.take()):
                workers.append(self._start(len(workers)))
                workers[-1].assign(task, on_progress)
            while busy := {worker.connection: worker for worker in workers if worker.task is not None}:
                for connection in wait(list(busy)):
                    worker = busy[connection]  # type: ignore[index]  # wait returns some of the connections
                    task = worker.task
                    assert task is not None  # busy has only workers with a task
                    try:
                        message = worker.connection.recv()
                    except (EOFError, OSError):
                        worker.stop()
                        yield from queue.retry_or_fail(task, worker.exit_reason())
                        workers[worker.number] = worker = self._start(worker.number)
                    else:
                        if not isinstance(message, RunResult):
                            on_progress(worker.number, task.config, message)
                            continue
                        worker.task = None
                        yield message
                    if next_task := queue.take():
                        worker.assign(next_task, on_progress)
        finally:
            for worker in workers:
                worker.stop()

    def _start(self, number: int) -> "_Worker":
        device = self.device
        if device.type == "cuda":
            device = torch.device("cuda", number % torch.cuda.device_count())
        context = multiprocessing.get_context("spawn")  # fork is unsafe once torch has started threads
        driver_end, worker_end = context.Pipe()
        arguments = (worker_end, device, self.threads, self.extras)
        process = context.Process(target=_worker_main, args=arguments, daemon=True)
        # The worker inherits this, so only the driver reacts to a Ctrl-C while the worker starts.
        with interrupts_ignored():
            process.start()
        worker_end.close()  # so that the connection ends when the worker dies
        return _Worker(number, process, driver_end)


@dataclass
class _Worker:
    number: int
    process: BaseProcess
    connection: Connection
    task: Attempt | None = field(default=None)

    def assign(self, task: Attempt, on_progress: OnProgress) -> None:
        self.task = task
        on_progress(self.number, task.config, None)
        # If the worker died while idle, the next recv() fails and its run is tried again.
        with contextlib.suppress(OSError):
            self.connection.send(task.config)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()

    def exit_reason(self) -> str:
        code = self.process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _worker_main(connection: Connection, device: torch.device, threads: int, extras: Extras) -> None:
    """Run a worker: receive a config, send its epochs and its result, until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the driver reacts to Ctrl-C
    try:
        prepare_process(threads)
        while True:
            config = connection.recv()
            connection.send(carry_out_run(config, device, extras, connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the driver is gone
