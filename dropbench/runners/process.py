"""A pool of worker processes, each of which carries out one run after another."""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from dropbench.engine.device import interrupts_ignored, prepare_process
from dropbench.kernels.ready import make_ready
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult
from dropbench.runners.base import (
    NO_EXTRAS,
    Attempt,
    DeviceLostError,
    Extras,
    OnProgress,
    Queue,
    carry_out_run,
)


class ProcessRunner:
    """Carries out runs in ``jobs`` worker processes, each with ``threads`` CPU threads.

    On CUDA the workers are distributed over the GPUs. A worker that dies (out of memory, a signal) or ends
    since a run left its device unusable is replaced, and its run is tried once more before it counts as
    failed.
    """

    def __init__(self, device: torch.device, jobs: int, threads: int, extras: Extras = NO_EXTRAS) -> None:
        self.device = device
        self.jobs = jobs
        self.threads = threads
        self.extras = extras

    def run(self, configs: Iterable[RunConfig], on_progress: OnProgress) -> Generator[RunResult, None, None]:
        """Yield one result per config as the runs finish; closing the iterator stops the workers."""
        if self.device.type == "cpu":
            make_ready()
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
                        if isinstance(message, DeviceLostError):
                            worker.last_words = message.message
                            continue
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
        driver_end, worker_end = multiprocessing.Pipe()
        process = _start(worker_end, device, self.threads, self.extras, dict(os.environ))
        worker_end.close()  # so that the connection ends when the worker dies
        return _Worker(number, process, driver_end)


@dataclass
class _Worker:
    number: int
    process: BaseProcess
    connection: Connection
    task: Attempt | None = field(default=None)
    last_words: str = ""
    """The worker's reason to end itself."""

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
        if self.last_words:
            return self.last_words
        code = self.process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _start(
    connection: Connection, device: torch.device, threads: int, extras: Extras, environment: dict[str, str]
) -> BaseProcess:
    """Start a worker, forked where that is safe and spawned elsewhere; it ignores Ctrl-C from the start.

    The driver's torch already has threads, and a fork would copy it without them. So workers are forked from
    a server that has imported torch and done nothing: once for all of them, and for those that replace the
    dead. On CUDA, and where forks of system libraries are unsafe (macOS) or unknown (Windows), each spawned
    worker imports torch itself.
    """
    arguments = (connection, device, threads, extras, environment)
    if sys.platform != "linux" or device.type == "cuda":
        spawned = multiprocessing.get_context("spawn").Process(
            target=_worker_main, args=arguments, daemon=True
        )
        with interrupts_ignored(), _main_left_out():
            spawned.start()
        return spawned
    from multiprocessing import forkserver  # here, since not every platform has it

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with interrupts_ignored(), _safe_path():
        forkserver.ensure_running()
    forked = context.Process(target=_worker_main, args=arguments, daemon=True)
    with _main_left_out():
        forked.start()  # the first waits until torch is imported, and the driver hears Ctrl-C in that time
    return forked


@contextlib.contextmanager
def _main_left_out() -> Iterator[None]:
    """Let a worker that is started here not run the driver's script again, as multiprocessing would have it.

    A worker needs nothing of it: so a script that calls dropbench works without a main guard.
    """
    main = sys.modules["__main__"]
    hidden = {name: getattr(main, name) for name in ("__spec__", "__file__") if hasattr(main, name)}
    main.__spec__ = None
    if "__file__" in hidden:
        del main.__file__
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """Let no file of the working folder stand in for a module that a Python started here imports."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        del os.environ["PYTHONSAFEPATH"]
        if before is not None:
            os.environ["PYTHONSAFEPATH"] = before


def _worker_main(
    connection: Connection, device: torch.device, threads: int, extras: Extras, environment: dict[str, str]
) -> None:
    """Run a worker: receive a config, send its epochs and its result, until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the driver reacts to Ctrl-C
    os.environ.clear()  # a fork has the server's, as it was when that started
    os.environ.update(environment)
    try:
        prepare_process(threads, device)
        while True:
            config = connection.recv()
            try:
                result = carry_out_run(config, device, extras, connection.send)
            except DeviceLostError as error:
                connection.send(error)
                os._exit(1)  # without cleaning up, which would call the lost device
            connection.send(result)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the driver is gone
