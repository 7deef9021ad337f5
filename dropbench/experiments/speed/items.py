"""The items of ``dropbench speed``: one function each, which yields the figures of its contenders.

The first line of an item's docstring is logged when its measurement starts.
"""

import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from dropbench.engine.device import private_memory_bytes
from dropbench.experiments.speed import work
from dropbench.experiments.speed.session import DROPBENCH, PLAIN, Figures, Session, made_up_data
from dropbench.experiments.sweep import expand
from dropbench.results.csv_file import append_rows
from dropbench.results.rows import run_row
from dropbench.results.schema import RUNS
from dropbench.run.config import RunConfig
from dropbench.run.result import METRIC_NAMES, EpochRecord, RunResult
from dropbench.runners.base import Runner
from dropbench.runners.choose import choose_runner, cores
from dropbench.runners.process import ProcessRunner

COLOUR, GREY = (3, 32, 32), (1, 28, 28)
CIFAR10_SIZE = (45_000, 10_000)  # training images after the validation split, test images
SWEEP_RUNS = 8


def layers(session: Session) -> Iterator[Figures]:
    """The dropout layer alone, forward and backward, beside torch.nn.Dropout."""
    for dtype in (torch.float32, torch.bfloat16):
        for shape in ((128, 1024), (128, 64, 32, 32)):
            arguments = (shape, dtype, session.device)
            name = str(dtype).removeprefix("torch.")
            yield from session.compare(
                "dropout layer",
                f"{'×'.join(map(str, shape))}, {name}",
                "ns a unit",
                {
                    PLAIN: session.in_plain(work.layer_nanoseconds, False, *arguments),
                    DROPBENCH: session.in_fast(work.layer_nanoseconds, True, *arguments),
                },
            )


def mlp(session: Session) -> Iterator[Figures]:
    """One run of the 784-1024-1024-10 MLP beside the plain loop on tensors in memory."""
    with made_up_data(GREY, train=12_800, test=100) as data:
        config = session.config(
            data, model="mlp", layers=(1024, 1024), p_drop=work.P_DROP, p_drop_input=0.2, epochs=2
        )
        yield from session.compare(
            "one run",
            "mlp 784-1024-1024-10",
            "images/s",
            {
                PLAIN: session.in_plain(work.plain_mlp_images_per_second, config, session.device),
                DROPBENCH: session.in_fast(work.run_images_per_second, config, session.device, False),
            },
        )


def cnn(session: Session) -> Iterator[Figures]:
    """One run of the lecture's CNN beside the plain loop over PIL images."""
    with made_up_data(COLOUR, train=1_920, test=100) as data:
        config = session.config(data, p_drop=work.P_DROP, epochs=2)
        yield from session.compare(
            "one run",
            "lecture-cnn, 3×32×32",
            "images/s",
            {
                PLAIN: session.in_plain(work.plain_cnn_images_per_second, config, session.device),
                DROPBENCH: session.in_fast(work.run_images_per_second, config, session.device, False),
            },
        )


def compiled(session: Session) -> Iterator[Figures]:
    """One run with torch.compile beside one without."""
    with made_up_data(COLOUR, train=1_920, test=100) as data:
        config = session.config(data, p_drop=work.P_DROP, epochs=2)
        yield from session.compare(
            "torch.compile",
            "one run of lecture-cnn, 3×32×32",
            "images/s",
            {
                "without": session.in_fast(work.run_images_per_second, config, session.device, False),
                "compiled": session.in_fast(work.run_images_per_second, config, session.device, True),
            },
        )


def sweep(session: Session) -> Iterator[Figures]:
    """Eight complete runs on all cores beside the same eight of the plain loop, and the machine's ceiling.

    A complete run includes validation and test. The ceiling is the rate of matrix products. dropbench's clock
    runs while its workers train; starting them, once for each sweep, is measured as a figure of its own.
    """
    train_size = 960
    with made_up_data(COLOUR, train=train_size, test=100) as data:
        warm_up = session.config(data, p_drop=work.P_DROP, epochs=1, train_size=128, seed=SWEEP_RUNS)
        runs = [session.config(data, p_drop=work.P_DROP, epochs=1, seed=seed) for seed in range(SWEEP_RUNS)]
        starts: list[float] = []

        def in_pool() -> float:
            started, seconds = sweep_seconds(choose_runner(len(runs), session.device), warm_up, runs)
            starts.append(started)
            return SWEEP_RUNS * train_size / seconds

        def one_after_another() -> float:
            seconds = session.in_plain(work.plain_runs_seconds, runs, session.device)()
            return SWEEP_RUNS * train_size / seconds

        ceiling = f"{session.precision} matrix product"
        dtype = torch.bfloat16 if session.precision == "bf16" else torch.float32
        matmul = session.in_fast(work.matmul_teraflops, dtype, session.device)
        # A round takes minutes, so half as many are precise enough, and none is spent on warming up.
        rounds = replace(session, repetitions=(session.repetitions + 1) // 2)
        values = rounds.take_turns({PLAIN: one_after_another, DROPBENCH: in_pool, ceiling: matmul})
        work_done = f"{SWEEP_RUNS} runs of lecture-cnn, 3×32×32"
        for contender in (PLAIN, DROPBENCH):
            yield Figures("sweep", work_done, contender, "images/s", values[contender])
        flops = work.training_flops(runs[0], data.image_shape, len(data.classes))
        in_teraflops = tuple(rate * flops / 1e12 for rate in values[DROPBENCH])
        yield Figures("arithmetic", work_done, DROPBENCH, "TFLOP/s", in_teraflops)
        yield Figures("arithmetic", work_done, ceiling, "TFLOP/s", values[ceiling])
        yield Figures("start", "the workers of a sweep", DROPBENCH, "s", tuple(starts))


def jobs(session: Session) -> Iterator[Figures]:
    """The default of --jobs: a worker of one thread on each core, beside one run at a time on all cores."""
    nets: dict[str, dict[str, Any]] = {
        "mlp 64": {"model": "mlp", "layers": (64,)},
        "mlp 1024-1024": {"model": "mlp", "layers": (1024, 1024)},
        "mlp 4096-4096": {"model": "mlp", "layers": (4096, 4096)},
        "lecture-cnn": {},
    }
    images = {"mlp 64": 12_800, "mlp 1024-1024": 6_400}
    for net, fields in nets.items():
        with made_up_data(GREY, train=images.get(net, 1_280), test=100) as data:
            warm_up = session.config(
                data, epochs=1, p_drop=work.P_DROP, train_size=128, seed=cores(), **fields
            )
            runs = [warm_up.replace(train_size=None, seed=seed) for seed in range(4 * cores())]

            def rate(runner: Runner) -> float:
                _, seconds = sweep_seconds(runner, warm_up, runs)  # noqa: B023  # called within the loop
                return len(runs) * images.get(net, 1_280) / seconds  # noqa: B023

            rounds = replace(session, repetitions=(session.repetitions + 1) // 2)
            values = rounds.take_turns(
                {
                    "1 worker, all cores": lambda: rate(ProcessRunner(session.device, 1, cores())),
                    "1 thread a worker": lambda: rate(ProcessRunner(session.device, cores(), 1)),
                }
            )
            for contender, rates in values.items():
                yield Figures("jobs", f"{len(runs)} runs of {net}, 1×28×28", contender, "images/s", rates)


def sweep_seconds(runner: Runner, warm_up: RunConfig, runs: list[RunConfig]) -> tuple[float, float]:
    """Seconds until the runner's first worker is warm, and from then until all ``runs`` have ended.

    Every worker starts with a warm-up run of its own. The second clock starts when the first warm-up run has
    ended, so no part of ``runs`` goes uncounted.
    """
    warm_ups = [warm_up.replace(seed=warm_up.repetition.seed + worker) for worker in range(runner.jobs)]
    begin = perf_counter()
    first = 0.0
    for result in runner.run([*warm_ups, *runs], lambda worker, config, record: None):
        work.check(result)
        first = first or perf_counter()
    return first - begin, perf_counter() - first


def waiting(session: Session) -> Iterator[Figures]:
    """The time a user waits for --help, a large report and a cached data set, and the memory of a worker."""

    def command(*arguments: str) -> Callable[[], float]:
        def seconds() -> float:
            start = perf_counter()
            subprocess.run(  # noqa: S603  # the arguments are our own
                [sys.executable, "-m", "dropbench", *arguments], check=True, capture_output=True
            )
            return perf_counter() - start

        return seconds

    yield from session.compare("start", "dropbench --help", "s", {DROPBENCH: command("--help")})
    with tempfile.TemporaryDirectory() as folder:
        count = write_runs(Path(folder), 10_000)
        report = {DROPBENCH: command("report", folder)}
        yield from session.compare("start", f"dropbench report on {count:,} runs", "s", report)
    with made_up_data(COLOUR, *CIFAR10_SIZE) as data:
        config = session.config(data, p_drop=work.P_DROP, epochs=1)
        ready = {DROPBENCH: session.in_fast(work.data_ready_seconds, config, session.device)}
        yield from session.compare("start", "cached data of CIFAR-10's size ready to train", "s", ready)
        used = worker_memory_bytes(config.replace(train_size=1_280), session.device)
        if used:
            worker = "one more worker, data of CIFAR-10's size"
            yield Figures("memory", worker, DROPBENCH, "MB", tuple(bytes_ / 1e6 for bytes_ in used))


def worker_memory_bytes(config: RunConfig, device: torch.device) -> list[int]:
    """Memory that each of two workers shares with no other process; [] where the system does not tell.

    It is read at the end of an epoch. The allocator keeps the memory that it has taken for a run, so this is
    the peak.
    """
    others = {process.pid for process in multiprocessing.active_children()}
    used: dict[int, int] = {}

    def look(worker: int, config: RunConfig, record: EpochRecord | None) -> None:
        pids = {process.pid for process in multiprocessing.active_children()} - others
        for pid in pids if record else ():
            memory = None if pid is None else private_memory_bytes(pid)
            if pid is not None and memory is not None:
                used[pid] = max(memory, used.get(pid, 0))

    for result in ProcessRunner(device, 2, 1).run([config, config.replace(seed=1)], look):
        work.check(result)
    return list(used.values())


def write_runs(folder: Path, count: int) -> int:
    """Write about ``count`` rows of ended runs, a sweep of p over many seeds, and return their number."""
    levels = [level / 100 for level in range(1, 100)]
    metrics = {f"{split}_{metric}": 1.0 for split in ("val", "test") for metric in METRIC_NAMES}
    results = [
        RunResult(config, "ok", metrics=metrics) for config in expand({}, {"p_drop": levels}, count // 100)
    ]
    append_rows(folder, RUNS, [run_row(result, "") for result in results])
    return len(results)


ITEMS: dict[str, Callable[[Session], Iterator[Figures]]] = {
    "layers": layers,
    "mlp": mlp,
    "cnn": cnn,
    "sweep": sweep,
    "waiting": waiting,
    "jobs": jobs,
    "compile": compiled,
}
