"""The flags of the commands that train many nets."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from dropbench.cli.common_flags import MACHINE, OUTPUT, MachineFlags, option
from dropbench.cli.flags import Flags

if TYPE_CHECKING:
    from dropbench.experiments.workbench import Policy
    from dropbench.runners.base import RunnerOptions


@dataclass(frozen=True, kw_only=True)
class PoolFlags(MachineFlags):
    """What every command of many runs can be told besides."""

    jobs: Annotated[
        int | None,
        option(
            "--jobs",
            "Runs at a time. (default: one per core, on CUDA one per GPU, on Ray all that have room)",
            MACHINE,
            min=1,
        ),
    ] = None
    runner: Annotated[
        str,
        option(
            "--runner",
            "auto, serial (this process), process (a pool on this machine) or ray (a cluster; needs the "
            "extra dropbench\\[ray]).",
            MACHINE,
        ),
    ] = "auto"
    ray_address: Annotated[
        str | None,
        option(
            "--ray-address",
            "Of the cluster's head, HOST:PORT or auto. (default: a Ray of its own on this machine)",
            MACHINE,
        ),
    ] = None
    gpus_per_run: Annotated[
        float | None,
        option("--gpus-per-run", "GPUs of a Ray worker; 0.25: four share one. (default: 1)", MACHINE),
    ] = None
    retry_failed: Annotated[
        bool, option("--retry-failed", "Do again what failed or diverged before.", OUTPUT)
    ] = False
    force: Annotated[bool, option("--force", "Do again whatever was done before.", OUTPUT)] = False
    fail_fast: Annotated[bool, option("--fail-fast", "Stop at the first run that fails.", OUTPUT)] = False

    def runner_options(self) -> "RunnerOptions":
        """How runs are carried out; raises UsageError for values that fit no runner."""
        from dropbench.runners.base import RunnerOptions

        return RunnerOptions(
            self.runner, self.jobs, self.threads, self.extras(), self.ray_address, self.gpus_per_run
        )

    def policy(self) -> "Policy":
        """Which runs are done again, and what a failure means."""
        from dropbench.experiments.workbench import Policy

        return Policy(self.retry_failed, self.force, self.fail_fast)


@dataclass(frozen=True, kw_only=True)
class SweepFlags(PoolFlags, Flags):
    """What every command that trains many classifiers can be told."""
