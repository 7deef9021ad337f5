"""The signature that every runner has, and the one way a worker carries out a run."""

import functools
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch

from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.ood import DERIVED, ood_images
from dropbench.engine.train import OnEpoch, train
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult

OnProgress = Callable[[int, RunConfig, EpochRecord | None], None]
"""Called with the worker's number, its run, and the epoch just ended (None when the run starts)."""

ATTEMPTS = 2  # a run whose worker was killed is tried once more


@dataclass(frozen=True)
class Extras:
    """What a run does beside its config, by the parameters of dropbench.engine.train.train."""

    compiled: bool = False
    panel: bool = False
    ood: str = ""
    """Names out-of-distribution images as dropbench.datasets.ood.ood_images takes them; empty for none."""

    @property
    def data_keys(self) -> tuple[str, ...]:
        """The digests of the cached sets that are needed beside the one that is trained on."""
        return (self.ood,) if self.ood and self.ood not in DERIVED else ()


NO_EXTRAS = Extras()


class Runner(Protocol):
    """Carries out runs; it neither prints nor writes results."""

    jobs: int

    def run(self, configs: Iterable[RunConfig], on_progress: OnProgress) -> Generator[RunResult, None, None]:
        """Yield one result per config, as they finish.

        A config is taken when a worker is free for it, so whoever gives them can stop giving. Closing the
        iterator ends the workers with the runs they are at.
        """


@dataclass
class Attempt:
    """A run to carry out, and how often its worker has died of it."""

    config: RunConfig
    deaths: int = 0


class Queue:
    """The runs still to be carried out: those whose worker died, then the ones not taken yet."""

    def __init__(self, configs: Iterable[RunConfig]) -> None:
        self._fresh = iter(configs)
        self._again: list[Attempt] = []

    def take(self) -> Attempt | None:
        """The next run; None if there is none (now: a death may bring one back)."""
        if self._again:
            return self._again.pop()
        config = next(self._fresh, None)
        return None if config is None else Attempt(config)

    def died(self, task: Attempt, reason: str) -> Iterator[RunResult]:
        """Put a run back whose worker died, or yield its failure if that was its last attempt."""
        task.deaths += 1
        if task.deaths < ATTEMPTS:
            self._again.append(task)
            return
        message = f"its worker process died {ATTEMPTS} times ({reason}); out of memory?"
        yield RunResult(config=task.config, status="failed", message=message)


def carry_out_run(config: RunConfig, device: torch.device, extras: Extras, on_epoch: OnEpoch) -> RunResult:
    """One run on the cached data set; an exception becomes a result with status ``failed``."""
    try:
        data = _data(config.data.key)
        ood = (extras.ood, ood_images(extras.ood, data)) if extras.ood else None
        return train(config, data, device, on_epoch, extras.compiled, extras.panel, ood)
    except Exception as error:  # a sweep outlives a run that fails; the row tells why
        return RunResult(config=config, status="failed", message=f"{type(error).__name__}: {error}")


@functools.lru_cache(maxsize=1)
def _data(key: str) -> DataSet:
    return cache.load(key)
