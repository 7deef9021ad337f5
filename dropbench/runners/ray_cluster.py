"""Runs on a Ray cluster, in actors that live as long as the sweep and keep the data set in memory."""

import logging
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.engine.device import prepare_process
from dropbench.engine.turns import Halts, never, until_halted
from dropbench.errors import DropbenchError
from dropbench.kernels.ready import make_ready
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.run.result import EpochRecord, RunResult
from dropbench.runners.base import (
    LOOK_SECONDS,
    NO_EXTRAS,
    STOP_SECONDS,
    Attempt,
    DeviceLostError,
    Extras,
    OnProgress,
    Queue,
    turns_of_run,
)
from dropbench.runners.messages import Hearing, Said, saying

_START_ATTEMPTS = 3  # per actor, before the sweep stops with an error


class RayRunner:
    """Carries out runs in actors of a Ray cluster, or of a Ray started on this machine for them.

    An actor uses ``threads`` CPUs and, on CUDA, ``gpus_per_run`` GPUs; the default of both is one. There are
    as many actors as the cluster has room for, but at most ``jobs`` and at most one per run. A data set is
    sent to each node and saved in its cache. An actor that dies, alone or with its node, is replaced where
    there is room, and its run is tried once more.

    Raises:
        DropbenchError: if Ray is not installed, the cluster cannot be reached, or it has no room for a run.

    """

    def __init__(self, runs: int, device: torch.device, machine: Machine, extras: Extras = NO_EXTRAS) -> None:
        with _own_handler_kept():
            self._ray = _import_ray()
        self._device = device
        self._extras = extras
        self._threads = machine.threads or 1
        self._gpus = 0.0 if device.type == "cpu" else machine.gpus_per_run or 1.0
        self._data: dict[str, Any] = {}
        self._failed_starts = 0
        self._hearing = Hearing()
        self._disconnects = not self._ray.is_initialized()
        if self._disconnects:
            self._connect(machine.ray_address)
        room = self._room()
        if room < 1:
            self._disconnect()
            raise DropbenchError(
                f"The Ray cluster has no room for a run with {self._threads} CPUs and {self._gpus:g} GPUs.",
                "Lower `threads` or `gpus_per_run`, or use `device=cpu`.",
            )
        self.jobs = min(machine.jobs or room, room, runs)

    def run(
        self, configs: Iterable[RunConfig], on_progress: OnProgress, halts: Halts = never
    ) -> Generator[RunResult, None, None]:
        """Yield one result per config as the runs finish; closing the iterator stops the actors."""
        waiting = Queue(configs)
        self._hearing = Hearing()
        actors: list[_Actor] = []
        try:
            actors += [self._start(number) for number in range(self.jobs)]
            while not halts():
                for actor in actors:
                    if actor.idle and (task := waiting.take()):
                        self._assign(actor, task, on_progress)
                # An idle actor means that no run is left to start; without one, all may only be starting up.
                if any(actor.idle for actor in actors) and not any(actor.task for actor in actors):
                    return
                yield from self._handle_message(actors, waiting, on_progress)
            yield from self._last_results(actors)
        finally:
            try:
                stopping = [actor.handle.stop.remote() for actor in actors if actor.task]
                if stopping:
                    self._ray.wait(stopping, num_returns=len(stopping), timeout=STOP_SECONDS)
            finally:  # at once where another Ctrl-C ends the wait
                for actor in actors:
                    self._ray.kill(actor.handle)
                self._disconnect()

    def _last_results(self, actors: list["_Actor"]) -> Iterator[RunResult]:
        """Have all actors stop after their step, and yield the results of runs that end meanwhile."""
        end, left = time.monotonic() + STOP_SECONDS, [actor for actor in actors if actor.task]
        for actor in left:
            actor.handle.stop.remote()
        while left:
            pending = [actor.pending for actor in left]
            ready, _ = self._ray.wait(pending, num_returns=1, timeout=max(0.0, end - time.monotonic()))
            if not ready:
                break
            actor = next(actor for actor in left if actor.pending is ready[0])
            try:
                message = self._ray.get(next(actor.pending))
            except (StopIteration, self._ray.exceptions.RayError):  # it has stopped, or it died
                left.remove(actor)
            else:
                if isinstance(message, Said):
                    self._hearing.hear(message)
                elif isinstance(message, RunResult):
                    yield message
        for actor in actors:
            actor.task = None  # whoever still has one is killed

    def _handle_message(
        self, actors: list["_Actor"], waiting: Queue, on_progress: OnProgress
    ) -> Iterator[RunResult]:
        """Handle the next message of any actor: that it is ready, an epoch, a result, or its death."""
        pendings = [actor.pending for actor in actors if not actor.idle]
        ready, _ = self._ray.wait(pendings, num_returns=1, timeout=LOOK_SECONDS)
        if not ready:
            return
        (pending,) = ready
        actor = next(actor for actor in actors if actor.pending is pending)
        task = actor.task
        try:
            message = self._ray.get(pending if task is None else next(pending))
        except self._ray.exceptions.RayError as error:
            self._ray.kill(actor.handle)  # one whose device is lost still lives
            actors[actor.number] = self._start(actor.number)
            if task is not None:
                cause = getattr(error, "cause", None)
                lost = cause.reason if isinstance(cause, DeviceLostError) else ""
                yield from waiting.retry_or_fail(task, lost or type(error).__name__)
                return
            self._failed_starts += 1
            if self._failed_starts >= _START_ATTEMPTS * len(actors):
                raise DropbenchError(
                    f"No worker starts on the Ray cluster ({error}).",
                    "Check that every node has the same version of dropbench installed.",
                ) from error
            return
        if isinstance(message, Said):
            self._hearing.hear(message)
            return
        if isinstance(message, EpochRecord) and task is not None:
            on_progress(actor.number, task.config, message)
            return
        actor.pending = actor.task = None
        if isinstance(message, RunResult):
            yield message

    def _start(self, number: int) -> "_Actor":
        remote = self._ray.remote(_RemoteWorker).options(
            num_cpus=self._threads,
            num_gpus=self._gpus,
            scheduling_strategy="SPREAD",
            max_concurrency=2,  # a run, and the call that stops it
        )
        handle = remote.remote(self._device.type, self._threads, self._extras, os.getcwd())
        return _Actor(number, handle, handle.ready.remote())

    def _assign(self, actor: "_Actor", task: Attempt, on_progress: OnProgress) -> None:
        keys = (task.config.data.key, *self._extras.data_keys)
        for key in keys:
            if key not in self._data:
                self._data[key] = self._ray.put(cache.load(key))
        on_progress(actor.number, task.config, None)
        method = actor.handle.run.options(num_returns="streaming")
        actor.task, actor.pending = task, method.remote(task.config, *(self._data[key] for key in keys))

    def _connect(self, address: str | None) -> None:
        try:
            _check_reachable(address)
            with _own_handler_kept():
                self._ray.init(
                    address=address or "local",
                    include_dashboard=False if address is None else None,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
        except Exception as error:  # Ray raises many types: connection, version, value
            raise DropbenchError(
                f"Cannot reach the Ray cluster {address or 'on this machine'}: {str(error).rstrip('.')}.",
                "Start one with: ray start --head; and pass its address by `ray_address=HOST:PORT`.",
            ) from error

    def _disconnect(self) -> None:
        if self._disconnects:
            self._ray.shutdown()

    def _room(self) -> int:
        """Return the number of actors that the cluster's nodes have room for."""
        room = 0
        for node in self._ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            fit = has.get("CPU", 0) / self._threads
            room += int(min(fit, has.get("GPU", 0) / self._gpus) if self._gpus else fit)
        return room


class _Actor:
    """The driver's record of one actor: its task, and the Ray object whose completion is its next message."""

    def __init__(self, number: int, handle: Any, pending: Any) -> None:
        self.number = number
        self.handle = handle
        self.pending = pending
        self.task: Attempt | None = None

    @property
    def idle(self) -> bool:
        return self.pending is None


class _RemoteWorker:
    """The actor on the cluster, which carries out runs and neither prints nor writes results."""

    def __init__(self, device: str, threads: int, extras: Extras, folder: str) -> None:
        if os.path.isdir(folder):  # the driver's: paths of the user's own code begin there
            os.chdir(folder)
        self._device = torch.device(device)
        prepare_process(threads, self._device)
        self._extras = extras
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._ended.set()
        if device == "cpu":
            make_ready()

    def ready(self) -> bool:
        return True

    def stop(self) -> None:
        """Have the run in progress stop after its step, and return then."""
        self._stopping.set()
        self._ended.wait()

    def run(self, config: RunConfig, *data_sets: DataSet) -> Iterator[EpochRecord | RunResult | Said]:
        """Yield the epochs of one run as they end, then its result; ``data_sets`` are those it needs.

        There is no result if the run was stopped.
        """
        messages: queue.SimpleQueue[EpochRecord | RunResult | Said | BaseException | None]
        messages = queue.SimpleQueue()
        self._ended.clear()

        def work() -> None:
            try:
                for data in data_sets:
                    cache.keep(data)
                turns = turns_of_run(config, self._device, self._extras, messages.put)
                with saying(messages.put):
                    result = until_halted(turns, self._stopping.is_set)
                messages.put(result)
            except BaseException as error:  # raised again below, so that it reaches the driver
                messages.put(error)
            finally:
                self._ended.set()

        threading.Thread(target=work, daemon=True).start()
        while True:
            message = messages.get()
            if message is None:
                return
            if isinstance(message, BaseException):
                raise message
            yield message
            if isinstance(message, RunResult):
                return


def _check_reachable(address: str | None) -> None:
    """Raise OSError or ValueError if nothing listens at ``address``; Ray itself would try for ten minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=10).close()


@contextmanager
def _own_handler_kept() -> Iterator[None]:
    """Keep the handler of SIGTERM that the driver has: Ray sets its own, which ends the process at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise DropbenchError(
            "Ray is not installed.", 'Install it with: pip install "dropbench[ray]"'
        ) from error
    return ray
