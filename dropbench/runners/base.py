"""The signature that every runner has, and the one way a worker carries out a run."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch

from dropbench.config import RunConfig
from dropbench.data import cache
from dropbench.data.dataset import DataSet
from dropbench.engine.train import OnEpoch, train
from dropbench.run_result import EpochRecord, RunResult

OnProgress = Callable[[int, RunConfig, EpochRecord | None], None]
"""Called with the worker's number, its run, and the epoch just ended (None when the run starts)."""


class Runner(Protocol):
    """Carries out runs; it neither prints nor writes results."""

    jobs: int

    def run(self, configs: Iterable[RunConfig], on_progress: OnProgress) -> Iterator[RunResult]:
        """Yield one result per config, as they finish."""


def carry_out(config: RunConfig, device: torch.device, compiled: bool, on_epoch: OnEpoch) -> RunResult:
    """One run on the cached data set; an exception becomes a result with status ``failed``."""
    try:
        return train(config, _data(config.data_key), device, on_epoch, compiled)
    except Exception as error:  # a sweep outlives a run that fails; the row tells why
        return RunResult(config=config, status="failed", message=f"{type(error).__name__}: {error}")


@functools.lru_cache(maxsize=1)
def _data(key: str) -> DataSet:
    return cache.load(key)
