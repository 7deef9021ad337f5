"""A Ray cluster: actors that live as long as the sweep, hold the data set, and take one run after another."""

import logging
import queue
import socket
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Any

import torch

from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.engine.device import prepare_process
from dropbench.errors import DropbenchError
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.run.result import EpochRecord, RunResult
from dropbench.runners.base import NO_EXTRAS, Attempt, Extras, OnProgress, Queue, carry_out_run

_START_ATTEMPTS = 3  # for each actor, before the cluster is given up


class RayRunner:
    """Carries out runs in actors of a Ray cluster, or of a Ray started on this machine for them.

    An actor takes ``threads`` CPUs, one unless told, and on CUDA ``gpus_per_run`` GPUs, one unless told;
    there are as many as the cluster has room for, at most ``jobs`` and at most one for each run. The data
    set travels once to each node, into its cache. An actor that dies, with its node or without, is
    replaced where there is room, and its run tried once more.

    Raises:
        DropbenchError: if Ray is not installed, the cluster cannot be reached, or it has room for no run.

    """

    def __init__(self, runs: int, device: torch.device, machine: Machine, extras: Extras = NO_EXTRAS) -> None:
        self._ray = _import_ray()
        self._device = device
        self._extras = extras
        self._threads = machine.threads or 1
        self._gpus = 0.0 if device.type == "cpu" else machine.gpus_per_run or 1.0
        self._data: dict[str, Any] = {}
        self._failed_starts = 0
        self._disconnects = not self._ray.is_initialized()
        if self._disconnects:
            self._connect(machine.ray_address)
        room = self._room()
        if room < 1:
            self._disconnect()
            raise DropbenchError(
                f"The Ray cluster has no room for a run of {self._threads} CPUs and {self._gpus:g} GPUs.",
                "Ask for less with `threads` and `gpus_per_run`, or use `device=cpu`.",
            )
        self.jobs = min(machine.jobs or room, room, runs)

    def run(self, configs: Iterable[RunConfig], on_progress: OnProgress) -> Generator[RunResult, None, None]:
        """Yield results as they finish; the actors end when the iterator is closed."""
        waiting = Queue(configs)
        crew: list[_Actor] = []
        try:
            crew += [self._start(number) for number in range(self.jobs)]
            while True:
                for actor in crew:
                    if actor.idle and (task := waiting.take()):
                        self._give(actor, task, on_progress)
                # An idle actor found nothing to take; those that are only starting may still find something.
                if any(actor.idle for actor in crew) and not any(actor.task for actor in crew):
                    return
                yield from self._listen(crew, waiting, on_progress)
        finally:
            for actor in crew:
                self._ray.kill(actor.handle)
            self._disconnect()

    def _listen(self, crew: list["_Actor"], waiting: Queue, on_progress: OnProgress) -> Iterator[RunResult]:
        """Wait for the next thing that any actor says."""
        (voice,), _ = self._ray.wait([actor.voice for actor in crew if not actor.idle], num_returns=1)
        actor = next(actor for actor in crew if actor.voice is voice)
        task = actor.task
        try:
            message = self._ray.get(voice if task is None else next(voice))
        except self._ray.exceptions.RayError as error:
            crew[actor.number] = self._start(actor.number)
            if task is not None:
                yield from waiting.died(task, type(error).__name__)
                return
            self._failed_starts += 1
            if self._failed_starts >= _START_ATTEMPTS * len(crew):
                raise DropbenchError(f"No worker starts on the Ray cluster ({error}).") from error
            return
        if isinstance(message, EpochRecord) and task is not None:
            on_progress(actor.number, task.config, message)
            return
        actor.voice = actor.task = None
        if isinstance(message, RunResult):
            yield message

    def _start(self, number: int) -> "_Actor":
        remote = self._ray.remote(_RemoteWorker).options(
            num_cpus=self._threads, num_gpus=self._gpus, scheduling_strategy="SPREAD"
        )
        handle = remote.remote(self._device.type, self._threads, self._extras)
        return _Actor(number, handle, handle.ready.remote())

    def _give(self, actor: "_Actor", task: Attempt, on_progress: OnProgress) -> None:
        keys = (task.config.data.key, *self._extras.data_keys)
        for key in keys:
            if key not in self._data:
                self._data[key] = self._ray.put(cache.load(key))
        on_progress(actor.number, task.config, None)
        method = actor.handle.run.options(num_returns="streaming")
        actor.task, actor.voice = task, method.remote(task.config, *(self._data[key] for key in keys))

    def _connect(self, address: str | None) -> None:
        try:
            _knock(address)
            self._ray.init(
                address=address or "local",
                include_dashboard=False if address is None else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # Ray raises many kinds: connection, version, value
            raise DropbenchError(
                f"Cannot reach the Ray cluster {address or 'on this machine'}: {str(error).rstrip('.')}.",
                "Start one with: ray start --head; and name it: `ray_address=HOST:PORT`",
            ) from error

    def _disconnect(self) -> None:
        if self._disconnects:
            self._ray.shutdown()

    def _room(self) -> int:
        """How many actors fit the cluster's nodes."""
        room = 0
        for node in self._ray.nodes():
            has = node["Resources"] if node["Alive"] else {}
            fit = has.get("CPU", 0) / self._threads
            room += int(min(fit, has.get("GPU", 0) / self._gpus) if self._gpus else fit)
        return room


class _Actor:
    """The driver's side of one actor: what it is at, and what to wait for to hear of it."""

    def __init__(self, number: int, handle: Any, voice: Any) -> None:
        self.number = number
        self.handle = handle
        self.voice = voice
        self.task: Attempt | None = None

    @property
    def idle(self) -> bool:
        return self.voice is None


class _RemoteWorker:
    """The cluster's side: it never prints and never writes a result."""

    def __init__(self, device: str, threads: int, extras: Extras) -> None:
        prepare_process(threads)
        self._device = torch.device(device)
        self._extras = extras

    def ready(self) -> bool:
        return True

    def run(self, config: RunConfig, *data_sets: DataSet) -> Iterator[EpochRecord | RunResult]:
        """The epochs of one run as they end, then its result; ``data_sets`` are all that it needs."""
        said: queue.SimpleQueue[EpochRecord | RunResult | BaseException] = queue.SimpleQueue()

        def work() -> None:
            try:
                for data in data_sets:
                    cache.keep(data)
                said.put(carry_out_run(config, self._device, self._extras, said.put))
            except BaseException as error:  # it ends in the driver, not with this thread
                said.put(error)

        threading.Thread(target=work, daemon=True).start()
        while True:
            message = said.get()
            if isinstance(message, BaseException):
                raise message
            yield message
            if isinstance(message, RunResult):
                return


def _knock(address: str | None) -> None:
    """Raise OSError or ValueError where nobody listens: Ray itself would try for ten minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=10).close()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise DropbenchError(
            "Ray is not installed.", 'Install it with: pip install "dropbench[ray]"'
        ) from error
    return ray
