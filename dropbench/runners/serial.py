"""Runs in this process, one after another."""

from collections.abc import Generator, Iterable

import torch

from dropbench.engine.device import prepare_process
from dropbench.errors import DropbenchError
from dropbench.kernels.ready import make_ready
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult
from dropbench.runners.base import NO_EXTRAS, DeviceLostError, Extras, OnProgress, carry_out_run


class SerialRunner:
    """Carries out runs in this process with ``threads`` CPU threads; None leaves the number to torch."""

    jobs = 1

    def __init__(self, device: torch.device, threads: int | None = None, extras: Extras = NO_EXTRAS) -> None:
        self.device = device
        self.threads = threads
        self.extras = extras

    def run(self, configs: Iterable[RunConfig], on_progress: OnProgress) -> Generator[RunResult, None, None]:
        """Yield the result of each run in turn.

        Raises:
            DropbenchError: if a run that failed left the device unusable, and there are more.

        """
        prepare_process(self.threads, self.device)
        if self.device.type == "cpu":
            make_ready()
        lost = ""
        for config in configs:
            if lost:
                raise DropbenchError(
                    f"A run has left the GPU unusable for this process ({lost}).",
                    "All that ended before is on disk: give the same command again, or use `runner=process`, "
                    "which replaces a process that lost its GPU.",
                )
            on_progress(0, config, None)

            def on_epoch(record: EpochRecord, config: RunConfig = config) -> None:
                on_progress(0, config, record)

            try:
                result = carry_out_run(config, self.device, self.extras, on_epoch)
            except DeviceLostError as error:
                lost = error.message
                result = RunResult(config=config, status="failed", message=lost)
            yield result
