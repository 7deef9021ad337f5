"""The items of ``dropbench speed``: one function each, which yields the figures of its contenders.

The first line of an item's docstring is logged when its measurement starts.
"""

import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import torch

from dropbench.engine.device import dtype_of, private_memory_bytes
from dropbench.experiments.speed import sweeps, work
from dropbench.experiments.speed.kernels import KERNELS, usable_on
from dropbench.experiments.speed.session import (
    COLOUR,
    DROPBENCH,
    GREY,
    PLAIN,
    Figures,
    Session,
    made_up_data,
)
from dropbench.experiments.sweep import expand
from dropbench.results.csv_file import append_rows
from dropbench.results.rows import run_row
from dropbench.results.schema import RUNS
from dropbench.run.config import RunConfig
from dropbench.run.result import METRIC_NAMES, EpochRecord, RunResult
from dropbench.runners.process import ProcessRunner

LAYERS = ((128, 1024), (128, 64, 32, 32))
"""The shapes of the units that the dropout layer is measured on."""
CIFAR10_SIZE = (45_000, 10_000)  # training images after the validation split, test images


def layers(session: Session) -> Iterator[Figures]:
    """The dropout layer alone, forward and backward, beside torch.nn.Dropout and two copies of its units."""
    narrow = torch.float16 if session.precision == "fp16" else torch.bfloat16
    for dtype in (torch.float32, narrow):
        for shape in LAYERS:
            arguments = (shape, dtype, session.device)
            name = f"{'×'.join(map(str, shape))}, {_name(dtype)}"
            plain, ours, copies = session.compare(
                "dropout layer",
                name,
                "ns a unit",
                {
                    PLAIN: session.in_plain(work.layer_nanoseconds, False, *arguments),
                    DROPBENCH: session.in_fast(work.layer_nanoseconds, True, *arguments),
                    "copy": session.in_fast(work.copy_nanoseconds, *arguments),
                },
            )
            yield from (plain, ours)
            # Read and written, in both passes: 4 times the units, the least that a layer can move.
            for each in (ours, copies):
                rates = tuple(4 * dtype.itemsize / nanoseconds for nanoseconds in each.values)
                yield Figures("bandwidth", name, each.contender, "GB/s", rates)


def kernels(session: Session) -> Iterator[Figures]:
    """Each kernel beside torch's own operations, which stand alone where kernels cannot be used."""
    dtype = dtype_of(session.precision)
    switched_on = {"torch": False, DROPBENCH: True} if usable_on(session.device) else {"torch": False}
    for name, kernel in KERNELS.items():
        if not kernel.fits(dtype, session.device):
            continue
        contenders = {
            contender: session.in_fast(work.kernel_milliseconds, name, on, dtype, session.device)
            for contender, on in switched_on.items()
        }
        yield from session.compare("kernel", f"{name}, {_name(dtype)}", "ms", contenders)


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
                PLAIN: session.in_plain(work.plain_images_per_second, config, session.device),
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
                PLAIN: session.in_plain(work.plain_images_per_second, config, session.device),
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
        yield from session.compare("start", "cached data of CIFAR-10's size", "s", ready)
        used = worker_memory_bytes(config.replace(train_size=1_280), session.device)
        if used:
            worker = "one more worker, CIFAR-10's size"
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


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


ITEMS: dict[str, Callable[[Session], Iterator[Figures]]] = {
    "layers": layers,
    "kernels": kernels,
    "mlp": mlp,
    "cnn": cnn,
    "sweep": sweeps.cnn_sweep,
    "mlp-sweep": sweeps.mlp_sweep,
    "waiting": waiting,
    "jobs": sweeps.jobs,
    "compile": compiled,
}
