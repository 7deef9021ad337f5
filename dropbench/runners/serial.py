"""Runs in this process."""

from collections.abc import Generator, Iterable

import torch

from dropbench.engine.device import prepare_process
from dropbench.engine.turns import Turns, side_by_side
from dropbench.kernels.ready import make_ready
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult
from dropbench.runners.base import NO_EXTRAS, DeviceLostError, Extras, OnProgress, turns_of_run


class SerialRunner:
    """Carries out runs in this process with ``threads`` CPU threads; None leaves the number to torch.

    ``jobs`` runs are in progress at a time, a step of each in turn (see dropbench.engine.turns): they share a
    GPU that one of them does not fill.
    """

    def __init__(
        self, device: torch.device, threads: int | None = None, extras: Extras = NO_EXTRAS, jobs: int = 1
    ) -> None:
        self.device = device
        self.threads = threads
        self.extras = extras
        self.jobs = jobs

    def run(self, configs: Iterable[RunConfig], on_progress: OnProgress) -> Generator[RunResult, None, None]:
        """Yield the results as the runs end.

        Raises:
            DeviceLostError: if a run that failed left the device unusable, and there are more.

        """
        prepare_process(self.threads, self.device)
        if self.device.type == "cpu":
            make_ready()
        rest, free, lost = iter(configs), list(range(self.jobs)), list[DeviceLostError]()

        def work(place: int, config: RunConfig) -> Turns[RunResult]:
            def on_epoch(record: EpochRecord) -> None:
                on_progress(place, config, record)

            on_progress(place, config, None)
            try:
                return (yield from turns_of_run(config, self.device, self.extras, on_epoch))
            except DeviceLostError as error:
                if len(free) < self.jobs - 1:  # any of those in progress may be the one
                    raise
                lost.append(error)
                return RunResult(config=config, status="failed", message=error.reason)
            finally:
                free.append(place)

        def take(may_wait: bool) -> Turns[RunResult] | None:
            config = next(rest, None)
            return None if config is None else work(free.pop(0), config)

        for result in side_by_side(take, self.jobs):
            yield result
            if lost and (len(free) < self.jobs or next(rest, None) is not None):
                raise lost[0]
