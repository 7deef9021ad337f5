"""The items of ``dropbench speed`` that train many runs at a time, as a sweep does."""

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import largest_train_size
from dropbench.engine.device import dtype_of
from dropbench.experiments.speed import work
from dropbench.experiments.speed.session import (
    COLOUR,
    DROPBENCH,
    GREY,
    PLAIN,
    Figures,
    Session,
    made_up_data,
)
from dropbench.run.config import RunConfig
from dropbench.runners.base import Runner
from dropbench.runners.choose import choose_runner, cores
from dropbench.runners.process import ProcessRunner
from dropbench.runners.sharing import Workload

RUNS, PLAIN_RUNS = 8, 1
"""Runs of a sweep, and how many of them the plain loop trains: one after another, each takes as long."""
EPOCHS = 2
MAX_NORM = 3.0
_WARM_UP = 128  # images of the run with which a worker starts


def cnn_sweep(session: Session) -> Iterator[Figures]:
    """Eight complete runs of the CNN on all cores beside one of the plain loop, and the machine's ceiling.

    A complete run includes validation, the test, and the error on the training images, which the plain loop
    leaves out. The ceiling is the rate of matrix products. dropbench's clock runs while its workers train;
    starting them, once for each sweep, is measured as a figure of its own.
    """
    with made_up_data(COLOUR, train=10_000, test=2_000) as data:
        net = f"{RUNS} lecture-cnn, {EPOCHS} × {_train_size(data):,} images"
        run = session.config(data, p_drop=work.P_DROP, epochs=EPOCHS)
        starts: list[float] = []
        contenders = _beside_plain(session, data, run, starts)
        ceiling = f"{session.precision} matmul"
        dtype = dtype_of(session.precision)
        contenders[ceiling] = session.in_fast(work.matmul_teraflops, dtype, session.device)
        values = session.with_fewer_rounds().take_turns(contenders)
        for contender in (PLAIN, DROPBENCH):
            yield Figures("sweep", _beside(net), contender, "images/s", values[contender])
        flops = work.flops_of_run(run, data) / _trained(run, data)
        in_teraflops = tuple(rate * flops / 1e12 for rate in values[DROPBENCH])
        yield Figures("arithmetic", net, DROPBENCH, "TFLOP/s", in_teraflops)
        yield Figures("arithmetic", net, ceiling, "TFLOP/s", values[ceiling])
        yield Figures("start", "the workers of a sweep", DROPBENCH, "s", tuple(starts))


def mlp_sweep(session: Session) -> Iterator[Figures]:
    """Eight complete runs of an MLP with max-norm beside one of the plain loop, which applies it too."""
    layers = (1024, 1024, 2048)
    with made_up_data(GREY, train=30_000, test=5_000) as data:
        run = session.config(
            data,
            model="mlp",
            layers=layers,
            p_drop=work.P_DROP,
            p_drop_input=0.2,
            max_norm=MAX_NORM,
            epochs=EPOCHS,
        )
        values = session.with_fewer_rounds().take_turns(_beside_plain(session, data, run, []))
        net = f"{RUNS} mlp {'-'.join(map(str, layers))}, max-norm"
        for contender, rates in values.items():
            yield Figures("sweep", _beside(net), contender, "images/s", rates)


def jobs(session: Session) -> Iterator[Figures]:
    """The default of --jobs, on the CPU a worker of one thread on each core, beside one run at a time."""
    nets: dict[str, tuple[int, dict[str, Any]]] = {
        "mlp 64": (54_000, {"model": "mlp", "layers": (64,)}),
        "mlp 1024-1024": (20_000, {"model": "mlp", "layers": (1024, 1024)}),
        "mlp 4096-4096": (5_000, {"model": "mlp", "layers": (4096, 4096)}),
        "lecture-cnn": (5_000, {}),
    }
    for net, (images, fields) in nets.items():
        with made_up_data(GREY, train=images, test=100) as data:
            run = session.config(data, epochs=1, p_drop=work.P_DROP, **fields)
            runs = [run.replace(seed=seed) for seed in range(4 * cores())]
            default = choose_runner(len(runs), session.device, workload=Workload.of(runs, data))
            runners: dict[str, Runner] = {
                _workers(1): ProcessRunner(session.device, 1, cores()),
                _workers(default.jobs): default,
            }
            contenders = {name: _sweep_rate(runner, data, runs, []) for name, runner in runners.items()}
            values = session.with_fewer_rounds().take_turns(contenders)
            for contender, rates in values.items():
                yield Figures(
                    "jobs", f"{len(runs)} {net}, {_train_size(data):,} images", contender, "images/s", rates
                )


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


def _beside_plain(
    session: Session, data: DataSet, run: RunConfig, starts: list[float]
) -> dict[str, Callable[[], float]]:
    """Rates of RUNS repetitions of ``run`` by dropbench and of PLAIN_RUNS by the plain loop, in images/s.

    ``starts`` takes the seconds in which each sweep's workers start.
    """
    runs = [run.replace(seed=seed) for seed in range(RUNS)]
    default = choose_runner(RUNS, session.device, workload=Workload.of(runs, data))
    one_after_another = session.in_plain(work.plain_runs_seconds, runs[:PLAIN_RUNS], session.device)
    return {
        PLAIN: lambda: PLAIN_RUNS * _trained(run, data) / one_after_another(),
        DROPBENCH: _sweep_rate(default, data, runs, starts),
    }


def _sweep_rate(
    runner: Runner, data: DataSet, runs: list[RunConfig], starts: list[float]
) -> Callable[[], float]:
    """Training images a second of all ``runs``; ``starts`` takes the seconds in which the workers start."""
    small = min(_WARM_UP, _train_size(data))
    warm_up = runs[0].replace(train_size=small, epochs=1, seed=len(runs))

    def rate() -> float:
        started, seconds = sweep_seconds(runner, warm_up, runs)
        starts.append(started)
        return len(runs) * _trained(runs[0], data) / seconds

    return rate


def _train_size(data: DataSet) -> int:
    return largest_train_size(len(data.train_targets))


def _trained(run: RunConfig, data: DataSet) -> int:
    """Training images of one run, each as often as it is trained on."""
    return run.optimizer.epochs * _train_size(data)


def _beside(net: str) -> str:
    return f"{net} (plain {PLAIN_RUNS})"


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"
