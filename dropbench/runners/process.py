"""A pool of worker processes, which carry out runs."""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from dropbench.engine.turns import Halts, never
from dropbench.kernels.ready import make_ready
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult
from dropbench.runners.base import (
    LOOK_SECONDS,
    NO_EXTRAS,
    STOP_SECONDS,
    Attempt,
    DeviceLostError,
    Extras,
    OnProgress,
    Queue,
)
from dropbench.runners.messages import Hearing, Said
from dropbench.runners.signals import ENDING, signals_blocked
from dropbench.runners.worker import carry_out_orders

_log = logging.getLogger(__name__)


class ProcessRunner:
    """Carries out ``jobs`` runs at a time in worker processes, each with ``threads`` CPU threads.

    On CUDA the workers are distributed over the GPUs. A worker has ``abreast`` runs in progress, a step of
    each in turn. One that dies (out of memory, a signal) or ends since a run left its device unusable is
    replaced, and its run is tried once more before it counts as failed; of several, each is tried alone.
    A worker stops at the end of its step when it is asked to, or when the driver is gone.
    """

    def __init__(
        self, device: torch.device, jobs: int, threads: int, extras: Extras = NO_EXTRAS, abreast: int = 1
    ) -> None:
        self.device = device
        self.jobs = jobs
        self.threads = threads
        self.extras = extras
        self.abreast = abreast

    def run(
        self, configs: Iterable[RunConfig], on_progress: OnProgress, halts: Halts = never
    ) -> Generator[RunResult, None, None]:
        """Yield one result per config as the runs finish; closing the iterator stops the workers."""
        if self.device.type == "cpu":
            make_ready()
        queue, hearing = Queue(configs), Hearing()
        workers: list[_Worker] = []
        most = -(-self.jobs // self.abreast)
        try:
            for place in range(self.jobs):  # the first run of each worker, then the second of each
                if halts() or (task := queue.take()) is None:
                    break
                if len(workers) < most:
                    workers.append(self._start(len(workers)))
                workers[place % most].assign(place // most, task, on_progress)
            while busy := {worker.connection: worker for worker in workers if worker.tasks}:
                if halts():
                    yield from _last_results(workers, hearing)
                    return
                for connection in wait(list(busy), LOOK_SECONDS):
                    worker = busy[connection]  # type: ignore[index]  # wait returns some of the connections
                    try:
                        place, message = worker.connection.recv()
                    except (EOFError, OSError):
                        _stop([worker], seconds=0.0)
                        yield from worker.give_back(queue)
                        workers[worker.number] = worker = self._start(worker.number)
                    else:
                        if isinstance(message, Said):
                            hearing.hear(message)
                            continue
                        if isinstance(message, DeviceLostError):
                            worker.lost = message.reason
                            continue
                        if not isinstance(message, RunResult):
                            on_progress(worker.number_of(place), worker.tasks[place].config, message)
                            continue
                        del worker.tasks[place]
                        yield message
                    worker.fill(queue, on_progress)
        finally:
            _stop(workers)

    def _start(self, number: int) -> "_Worker":
        device = self.device
        if device.type == "cuda":
            device = torch.device("cuda", number % torch.cuda.device_count())
        driver_end, worker_end = multiprocessing.Pipe()
        arguments = (worker_end, device, self.threads, self.extras, self.abreast, dict(os.environ))
        process = _start(device, arguments)
        worker_end.close()  # so that the connection ends when the worker dies
        return _Worker(number, process, driver_end, self.abreast)


@dataclass
class _Worker:
    number: int
    process: BaseProcess
    connection: Connection
    abreast: int
    tasks: dict[int, Attempt] = field(default_factory=dict)
    """The runs in progress, each at its place of ``abreast``."""
    lost: str = ""
    """The error of the device that a run left unusable."""

    def number_of(self, place: int) -> int:
        """Return the number of a place among those of all workers."""
        return self.number * self.abreast + place

    def fill(self, queue: Queue, on_progress: OnProgress) -> None:
        """Take a run for each free place; one that is to be alone leaves the others free."""
        for place in range(self.abreast):
            if any(task.alone for task in self.tasks.values()):
                return
            if place not in self.tasks and (task := queue.take(bool(self.tasks))):
                self.assign(place, task, on_progress)

    def assign(self, place: int, task: Attempt, on_progress: OnProgress) -> None:
        self.tasks[place] = task
        on_progress(self.number_of(place), task.config, None)
        # If the worker died while idle, the next recv() fails and its run is tried again.
        with contextlib.suppress(OSError):
            self.connection.send((place, task.config))

    def give_back(self, queue: Queue) -> Iterator[RunResult]:
        """Put back the runs of a worker that died, or yield the one as failed that had its last attempt.

        Of several, any may be the one that killed it: a GPU tells an error later than it is made.
        """
        if len(self.tasks) > 1:
            _log.warning(f"A worker process died ({self._exit_reason()}). Each of its runs is tried alone.")
            queue.put_back(self.tasks.values())
            return
        for task in self.tasks.values():
            yield from queue.retry_or_fail(task, self._exit_reason())

    def _exit_reason(self) -> str:
        if self.lost:
            return self.lost
        code = self.process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


def _last_results(workers: list[_Worker], hearing: Hearing) -> Iterator[RunResult]:
    """Ask all workers to stop after their step, and yield the results of runs that end meanwhile.

    Those that take too long are killed.
    """
    for worker in workers:
        with contextlib.suppress(OSError):  # it died
            worker.connection.send(None)
    end = time.monotonic() + STOP_SECONDS
    left = list(workers)
    while left and (ready := wait([each.connection for each in left], max(0.0, end - time.monotonic()))):
        for worker in [each for each in left if each.connection in ready]:
            try:
                _, message = worker.connection.recv()
            except (EOFError, OSError):
                left.remove(worker)
            else:
                if isinstance(message, Said):
                    hearing.hear(message)
                elif isinstance(message, RunResult):
                    yield message
    _stop(left, seconds=0.0)


def _stop(workers: list[_Worker], seconds: float = STOP_SECONDS) -> None:
    """Have all workers stop after their step, and kill those that take longer than so many seconds."""
    end = time.monotonic() + seconds
    try:
        for worker in workers:
            worker.connection.close()
        for worker in workers:
            worker.process.join(max(0.0, end - time.monotonic()))
    finally:  # at once where another Ctrl-C ends the wait
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join()


def _start(device: torch.device, arguments: tuple[object, ...]) -> BaseProcess:
    """Start a worker with the arguments of carry_out_orders; signals are the driver's from the start.

    It is forked where that is safe and spawned elsewhere.

    The driver's torch already has threads, and a fork would copy it without them. So workers are forked from
    a server that has imported torch and done nothing: once for all of them, and for those that replace the
    dead. On CUDA, and where forks of system libraries are unsafe (macOS) or unknown (Windows), each spawned
    worker imports torch itself.
    """
    if sys.platform != "linux" or device.type == "cuda":
        spawned = multiprocessing.get_context("spawn").Process(
            target=carry_out_orders, args=arguments, daemon=True
        )
        with signals_blocked(*ENDING), _main_left_out():
            spawned.start()
        return spawned
    from multiprocessing import forkserver  # here, since not every platform has it

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([carry_out_orders.__module__])
    with signals_blocked(*ENDING), _safe_path():
        forkserver.ensure_running()
    forked = context.Process(target=carry_out_orders, args=arguments, daemon=True)
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
