"""A pool of worker processes, each taking one run after another."""

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
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult
from dropbench.runners.base import NO_EXTRAS, Attempt, Extras, OnProgress, Queue, carry_out_run


class ProcessRunner:
    """Carries out runs in ``jobs`` worker processes, each with ``threads`` CPU threads.

    On CUDA the workers take the GPUs in turn. A worker that dies (out of memory, a signal) is replaced and
    its run tried once more; then the run has failed.
    """

    def __init__(self, device: torch.device, jobs: int, threads: int, extras: Extras = NO_EXTRAS) -> None:
        self.device = device
        self.jobs = jobs
        self.threads = threads
        self.extras = extras

    def run(self, configs: Iterable[RunConfig], on_progress: OnProgress) -> Generator[RunResult, None, None]:
        """Yield results as they finish; workers end when the iterator is closed."""
        queue = Queue(configs)
        workers: list[_Worker] = []
        try:
            while len(workers) < self.jobs and (task := queue.take()):
                workers.append(self._start(len(workers)))
                workers[-1].give(task, on_progress)
            while busy := {worker.connection: worker for worker in workers if worker.task is not None}:
                for connection in wait(list(busy)):
                    worker = busy[connection]  # type: ignore[index]  # wait returns what it was given
                    task = worker.task
                    assert task is not None  # busy holds no others
                    try:
                        message = worker.connection.recv()
                    except (EOFError, OSError):
                        worker.stop()
                        yield from queue.died(task, worker.last_words())
                        workers[worker.number] = worker = self._start(worker.number)
                    else:
                        if not isinstance(message, RunResult):
                            on_progress(worker.number, task.config, message)
                            continue
                        worker.task = None
                        yield message
                    if following := queue.take():
                        worker.give(following, on_progress)
        finally:
            for worker in workers:
                worker.stop()

    def _start(self, number: int) -> "_Worker":
        device = self.device
        if device.type == "cuda":
            device = torch.device("cuda", number % torch.cuda.device_count())
        ours, theirs = multiprocessing.Pipe()
        process = _start(theirs, device, self.threads, self.extras, dict(os.environ))
        theirs.close()  # so that the worker's death reads as the end of the connection
        return _Worker(number, process, ours)


@dataclass
class _Worker:
    number: int
    process: BaseProcess
    connection: Connection
    task: Attempt | None = field(default=None)

    def give(self, task: Attempt, on_progress: OnProgress) -> None:
        self.task = task
        on_progress(self.number, task.config, None)
        # If it died while idle, reading from it says so, and the run is tried elsewhere.
        with contextlib.suppress(OSError):
            self.connection.send(task.config)

    def stop(self) -> None:
        self.process.terminate()
        self.process.join()
        self.connection.close()

    def last_words(self) -> str:
        code = self.process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _start(
    connection: Connection, device: torch.device, threads: int, extras: Extras, environment: dict[str, str]
) -> BaseProcess:
    """A worker, started: forked where that is safe, spawned elsewhere. Ctrl-C it inherits as ignored.

    The driver's torch already has threads, and a fork would copy it without them. So workers are forked from
    a server that has imported torch and done nothing: once for all of them, and for those that replace the
    dead. On CUDA, and where forks of system libraries are unsafe (macOS) or unknown (Windows), each spawned
    worker imports torch itself.
    """
    arguments = (connection, device, threads, extras, environment)
    if sys.platform != "linux" or device.type == "cuda":
        spawned = multiprocessing.get_context("spawn").Process(target=_work, args=arguments, daemon=True)
        with interrupts_ignored(), _main_left_out():
            spawned.start()
        return spawned
    from multiprocessing import forkserver  # here, since not every platform has it

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with interrupts_ignored(), _safe_path():
        forkserver.ensure_running()
    forked = context.Process(target=_work, args=arguments, daemon=True)
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


def _work(
    connection: Connection, device: torch.device, threads: int, extras: Extras, environment: dict[str, str]
) -> None:
    """A worker's life: take a config, send its epochs and its result, until the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to answer
    os.environ.clear()  # a fork has the server's, as it was when that started
    os.environ.update(environment)
    try:
        prepare_process(threads)
        while True:
            config = connection.recv()
            connection.send(carry_out_run(config, device, extras, connection.send))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the driver is gone; nobody is left to tell
