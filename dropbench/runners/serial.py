"""Runs in this process, one after another."""

from collections.abc import Generator, Iterable

import torch

from dropbench.engine.device import prepare_process
from dropbench.kernels.ready import make_ready
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult
from dropbench.runners.base import NO_EXTRAS, Extras, OnProgress, carry_out_run


class SerialRunner:
    """Carries out runs in this process with ``threads`` CPU threads; None leaves the number to torch."""

    jobs = 1

    def __init__(self, device: torch.device, threads: int | None = None, extras: Extras = NO_EXTRAS) -> None:
        self.device = device
        self.threads = threads
        self.extras = extras

    def run(self, configs: Iterable[RunConfig], on_progress: OnProgress) -> Generator[RunResult, None, None]:
        """Yield the result of each run in turn."""
        prepare_process(self.threads)
        if self.device.type == "cpu":
            make_ready()
        for config in configs:
            on_progress(0, config, None)

            def on_epoch(record: EpochRecord, config: RunConfig = config) -> None:
                on_progress(0, config, record)

            yield carry_out_run(config, self.device, self.extras, on_epoch)
