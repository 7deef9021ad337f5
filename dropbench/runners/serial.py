"""Runs in this process."""

import logging
from collections.abc import Generator, Iterable
from itertools import chain

import torch

from dropbench.engine.device import prepare_process
from dropbench.engine.turns import Halts, Turns, never, side_by_side
from dropbench.kernels.ready import make_ready
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult
from dropbench.runners.base import NO_EXTRAS, DeviceLostError, Extras, OnProgress, Runner, turns_of_run

_log = logging.getLogger(__name__)


class SerialRunner:
    """Carries out runs in this process with ``threads`` CPU threads; None leaves the number to torch.

    ``jobs`` runs are in progress at a time, a step of each in turn (see dropbench.engine.turns): they share a
    GPU that one of them does not fill. If a run leaves the device unusable for this process, ``successor``
    carries out those that are left, in processes of their own.
    """

    def __init__(
        self,
        device: torch.device,
        threads: int | None = None,
        extras: Extras = NO_EXTRAS,
        jobs: int = 1,
        successor: Runner | None = None,
    ) -> None:
        self.device = device
        self.threads = threads
        self.extras = extras
        self.jobs = jobs
        self.successor = successor

    def run(
        self, configs: Iterable[RunConfig], on_progress: OnProgress, halts: Halts = never
    ) -> Generator[RunResult, None, None]:
        """Yield the results as the runs end.

        Raises:
            DeviceLostError: if a run left the device unusable, there are more, and no successor.

        """
        prepare_process(self.threads, self.device)
        if self.device.type == "cpu":
            make_ready()
        rest, free, going = iter(configs), list(range(self.jobs)), dict[int, RunConfig]()

        def work(place: int, config: RunConfig) -> Turns[RunResult]:
            def on_epoch(record: EpochRecord) -> None:
                on_progress(place, config, record)

            on_progress(place, config, None)
            result = yield from turns_of_run(config, self.device, self.extras, on_epoch)
            del going[place]
            free.append(place)
            return result

        def take(may_wait: bool) -> Turns[RunResult] | None:
            if (config := next(rest, None)) is None:
                return None
            place = free.pop(0)
            going[place] = config
            return work(place, config)

        try:
            yield from side_by_side(take, self.jobs, halts)
        except DeviceLostError as error:
            # A device tells an error later than it is made: of several runs any may be the one.
            if self.successor is not None:
                _log.warning(f"{error.message} Other processes go on.")
                yield from self.successor.run(chain(going.values(), rest), on_progress, halts)
                return
            left = chain(going.values(), rest)
            if len(going) == 1:
                yield RunResult(config=next(left), status="failed", message=error.reason)
            if next(left, None) is not None:
                raise
