"""Where and how runs are carried out; nothing of it changes what their numbers mean."""

import math
from dataclasses import dataclass

from dropbench.errors import UsageError
from dropbench.run.blocks.optimizer import PRECISIONS
from dropbench.run.grammar import check_duration, parse_duration
from dropbench.run.setting import COUNT, NOT_NEGATIVE, POSITIVE, Block, setting

PANEL, OUTPUT = "Machine", "Output"
DEVICES = ("auto", "cpu", "cuda")
RUNNERS = ("auto", "serial", "process", "ray")
OF_MANY_RUNS = ("sweep", "find", "compare-bagging", "features", "paper")


@dataclass(frozen=True, kw_only=True)
class Machine(Block):
    """The device, and how many runs share it; None is decided where the runs are."""

    device: str = setting(
        "auto",
        help="Where to train; auto is CUDA where there is a GPU.",
        flag="--device",
        panel=PANEL,
        choices=DEVICES,
    )
    precision: str = setting(
        "auto",
        help="Precision of matrix products; auto is bf16 where the hardware has it, or else fp16, with loss "
        "scaling, on a GPU of compute capability 7.0 or more, but fp32 for a regression; tf32 is for CUDA.",
        flag="--precision",
        panel=PANEL,
        choices=("auto", *PRECISIONS),
    )
    compile: bool = setting(
        False,
        help="Train through torch.compile: for a GPU and long runs, or many alike. On the CPU it is slower.",
        flag="--compile",
        panel=PANEL,
        commands=("train", *OF_MANY_RUNS),
    )
    graph: bool = setting(
        True,
        help="On CUDA, replay the steps of a run as CUDA graphs.",
        flag="--graph/--no-graph",
        panel=PANEL,
        commands=("train", *OF_MANY_RUNS),
    )
    threads: int | None = setting(
        None,
        help="CPU threads of a run; on the CPU the same number gives the same bits, with the same stack.",
        flag="--threads",
        panel=PANEL,
        commands=("train", *OF_MANY_RUNS, "predict"),
        says_default="cores / runs at a time",
        range=COUNT,
    )
    jobs: int | None = setting(
        None,
        help="Runs at a time.",
        flag="--jobs",
        panel=PANEL,
        commands=OF_MANY_RUNS,
        says_default="one per core; on CUDA as many as share the GPUs; on Ray as many as fit",
        range=COUNT,
    )
    stack: int | None = setting(
        None,
        help="Runs of the mlp that train as one net, each with the numbers that it has alone, up to "
        "rounding; 1: each alone.",
        flag="--stack",
        panel=PANEL,
        commands=OF_MANY_RUNS,
        says_default="as many as fit on a machine with one GPU; else, and for compare-bagging, 1",
        range=COUNT,
    )
    runner: str = setting(
        "auto",
        help="serial: in this process; process: a pool on this machine; ray: a cluster, with the extra "
        "dropbench\\[ray].",
        flag="--runner",
        panel=PANEL,
        commands=OF_MANY_RUNS,
        choices=RUNNERS,
    )
    ray_address: str | None = setting(
        None,
        help="Head of the Ray cluster, HOST:PORT or auto.",
        flag="--ray-address",
        panel=PANEL,
        commands=OF_MANY_RUNS,
        says_default="a Ray of its own on this machine",
    )
    gpus_per_run: float | None = setting(
        None,
        help="GPUs of a Ray worker; with 0.25 four share one.",
        flag="--gpus-per-run",
        panel=PANEL,
        commands=OF_MANY_RUNS,
        says_default="1",
        range=POSITIVE,
    )

    time_limit: str | None = setting(
        None,
        help="Stop in time: after so long the runs in progress stop at the end of their step, and the same "
        "command goes on. As 55m, 1h30m or 90s, or as Slurm writes it: 1:30:00, 2-12.",
        flag="--time-limit",
        panel=PANEL,
        commands=("train", *OF_MANY_RUNS),
        says_default="none",
        canonical=check_duration,
    )

    checkpoint: bool = setting(
        True,
        help="Write the state of each run, from which the same command goes on after whatever ended it.",
        flag="--checkpoint/--no-checkpoint",
        panel=PANEL,
        commands=("train", *OF_MANY_RUNS),
    )
    checkpoint_every: float = setting(
        60.0,
        help="The least seconds from one state of a run to the next; 0: after every epoch.",
        flag="--checkpoint-every",
        panel=PANEL,
        commands=("train", *OF_MANY_RUNS),
        range=NOT_NEGATIVE,
    )

    @property
    def limit_seconds(self) -> float:
        """The time limit in seconds, infinite where there is none."""
        return math.inf if self.time_limit is None else parse_duration(self.time_limit)

    def check(self) -> None:
        """Refuse what fits no runner."""
        if self.runner == "serial" and (self.jobs or 1) > 1:
            raise UsageError(
                f"`runner=serial` has one run at a time, not {self.jobs}.", "Use `runner=process`."
            )
        if (self.stack or 1) > 1 and (self.runner in ("process", "ray") or self.compile):
            other = "`compile`" if self.compile else f"`runner={self.runner}`"
            raise UsageError(f"Runs are not stacked with {other}.", f"Leave out `stack` or {other}.")
        if self.runner != "ray" and (self.ray_address or self.gpus_per_run is not None):
            raise UsageError("`ray_address` and `gpus_per_run` are for Ray.", "Add `runner=ray`.")


@dataclass(frozen=True, kw_only=True)
class Policy(Block):
    """Which runs are done again, and what the first failure means."""

    retry_failed: bool = setting(
        False,
        help="Do again what failed or diverged before.",
        flag="--retry-failed",
        panel=OUTPUT,
        commands=OF_MANY_RUNS,
    )
    force: bool = setting(
        False, help="Do again whatever was done before.", flag="--force", panel=OUTPUT, commands=OF_MANY_RUNS
    )
    fail_fast: bool = setting(
        False,
        help="Stop at the first run that fails.",
        flag="--fail-fast",
        panel=OUTPUT,
        commands=OF_MANY_RUNS,
    )


AUTOMATIC = Machine()
"""Every choice is made where the runs are."""
CAREFUL = Policy()
"""Runs that were done, well or not, are left alone, and a failure stops nothing."""
