"""The protocol of runners, the queue they take runs from, and how a worker carries out a run."""

import functools
import logging
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.ood import DERIVED, ood_images
from dropbench.engine.checkpoint import Checkpoints
from dropbench.engine.device import synchronise
from dropbench.engine.run import OodImages
from dropbench.engine.train import OnEpoch, training
from dropbench.engine.turns import Halts, Turns, never
from dropbench.errors import DropbenchError
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult

_log = logging.getLogger(__name__)

OnProgress = Callable[[int, RunConfig, EpochRecord | None], None]
"""Called with the worker's number, its run, and the epoch that just ended (None when the run starts).

Of a run that goes on from its checkpoint, the epochs of before are told after its start.
"""

ATTEMPTS = 2  # a run whose worker was killed is tried once more
LOOK_SECONDS = 0.2  # between two looks at whether the runs are to halt
STOP_SECONDS = 8.0
"""Time for workers to end their step and keep the states of their runs; they are killed then."""


@dataclass(frozen=True)
class Extras:
    """Options of a run that are not part of its config: parameters of dropbench.engine.train.train."""

    compiled: bool = False
    panel: bool = False
    ood: str = ""
    """Out-of-distribution images, as an argument of dropbench.datasets.ood.ood_images; empty: none."""
    graph: bool = True
    nets: frozenset[str] = frozenset()
    """The run_ids of those whose nets come with their results."""
    checkpoints: Checkpoints | None = None

    @property
    def data_keys(self) -> tuple[str, ...]:
        """The digests of the cached data sets that a run needs in addition to its own."""
        return (self.ood,) if self.ood and self.ood not in DERIVED else ()


NO_EXTRAS = Extras()


class DeviceLostError(DropbenchError):
    """A run failed and left the device unusable for this process: another process can go on."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"A run has left the GPU unusable for this process ({reason}).",
            "All that ended before is on disk: give the same command again, or use `runner=process`, which "
            "replaces a process that lost its GPU.",
        )
        self.reason = reason

    def __reduce__(self) -> tuple[type["DeviceLostError"], tuple[str]]:
        """Survive pickling between processes."""
        return type(self), (self.reason,)


class Runner(Protocol):
    """The protocol of a runner, which carries out runs and neither prints nor writes results."""

    jobs: int

    def run(
        self, configs: Iterable[RunConfig], on_progress: OnProgress, halts: Halts = never
    ) -> Generator[RunResult, None, None]:
        """Yield one result per config, in the order in which the runs finish.

        A config is taken only when a worker is free, so the caller can end ``configs`` early. Once ``halts``
        is true, or when the iterator is closed, the runs in progress stop at the end of their step, and their
        turns are closed. It takes at most about STOP_SECONDS.
        """


@dataclass
class Attempt:
    """A run to carry out, and the number of workers that died while they carried it out."""

    config: RunConfig
    deaths: int = 0
    alone: bool = False
    """Whether its worker may have no other run meanwhile: one of several killed theirs, and may be this."""


class Queue:
    """The runs still to be carried out: first those whose worker died, then new ones."""

    def __init__(self, configs: Iterable[RunConfig]) -> None:
        self._new = iter(configs)
        self._retries: list[Attempt] = []

    def take(self, beside_others: bool = False) -> Attempt | None:
        """Return the next run, or None if there is none now; a worker's death can put one back.

        ``beside_others`` says that the worker has other runs in progress.
        """
        for task in reversed(self._retries):
            if not (task.alone and beside_others):
                self._retries.remove(task)
                return task
        config = next(self._new, None)
        return None if config is None else Attempt(config)

    def put_back(self, tasks: Iterable[Attempt]) -> None:
        """Put back the runs of which one killed their worker, each to be tried alone."""
        for task in tasks:
            task.alone = True
            self._retries.append(task)

    def retry_or_fail(self, task: Attempt, reason: str) -> Iterator[RunResult]:
        """Put back a run whose worker died, or yield it as failed if that was its last attempt."""
        task.deaths += 1
        if task.deaths < ATTEMPTS:
            self._retries.append(task)
            _log.warning(f"A worker process died ({reason}). Another one tries its run once more.")
            return
        hint = "; out of memory?" if reason == "SIGKILL" else ""  # so the system ends what takes too much
        message = f"its worker process died {ATTEMPTS} times ({reason}){hint}"
        yield RunResult(config=task.config, status="failed", message=message)


def turns_of_run(
    config: RunConfig, device: torch.device, extras: Extras, on_epoch: OnEpoch
) -> Turns[RunResult]:
    """Train on the cached data set, in turns; an exception becomes a result with the status ``failed``.

    Raises:
        DeviceLostError: if the run failed so that every later one on this device would fail in this process.

    """
    try:
        data, ood = data_of(config, extras)
        return (
            yield from training(
                config,
                data,
                device,
                on_epoch,
                extras.compiled,
                extras.panel,
                ood,
                extras.graph,
                config.run_id in extras.nets,
                extras.checkpoints,
            )
        )
    except Exception as error:  # a sweep goes on after a failed run, whose row has the reason
        reason = _reason(error)
        check_device(device, reason)
        return RunResult(config=config, status="failed", message=reason)


def check_device(device: torch.device, reason: str) -> None:
    """Raise DeviceLostError, with ``reason`` and the device's own error, unless the device still works."""
    try:
        synchronise(device)
    except Exception as error:  # torch raises several types
        first = str(error).partition("\n")[0]  # more lines say how to debug CUDA
        raise DeviceLostError(reason if first in reason else f"{reason}; then {first}") from error


def data_of(config: RunConfig, extras: Extras) -> tuple[DataSet, OodImages | None]:
    """Return the cached data set of a run, and the out-of-distribution images where there are any."""
    data = _cached_data(config.data.key)
    return data, (extras.ood, _ood_images(extras.ood, config.data.key)) if extras.ood else None


def _reason(error: Exception) -> str:
    """Why a run failed: the exception, or where memory did not do how much was wanted and what takes less."""
    wanted = re.search(r"you tried to allocate (\d+) bytes", str(error))
    if wanted is None and not isinstance(error, MemoryError):
        return f"{type(error).__name__}: {error}"
    more = f": {int(wanted[1]) / 1e9:,.1f} GB more were wanted" if wanted else ""
    return f"not enough memory{more}. Lower `batch_size`, the sizes of layers, `jobs` or `stack`."


@functools.lru_cache(maxsize=1)
def _cached_data(key: str) -> DataSet:
    return cache.load(key)


@functools.lru_cache(maxsize=1)
def _ood_images(ood: str, key: str) -> np.ndarray:
    return ood_images(ood, _cached_data(key))
