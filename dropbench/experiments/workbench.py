"""Where runs are carried out: the data set, the device, the store; and the one loop that drives them."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import torch

from dropbench.config import RunConfig
from dropbench.data.dataset import DataSet
from dropbench.data.registry import prepare
from dropbench.data.source import Tell
from dropbench.data.split import split
from dropbench.engine.device import resolve_device, resolve_precision
from dropbench.models import make_module
from dropbench.results.store import Store
from dropbench.run_result import EpochRecord, RunResult
from dropbench.runners.choose import choose_runner


class Watcher(Protocol):
    """Sees a set of runs happen; the progress display is one."""

    def planned(self, todo: Sequence[RunConfig], done: int, jobs: int) -> None:
        """These runs will be carried out by ``jobs`` workers; ``done`` others were done before."""

    def progress(self, worker: int, config: RunConfig, record: EpochRecord | None) -> None:
        """A worker started a run (None) or ended an epoch of it."""

    def finished(self, result: RunResult) -> None:
        """A run ended and is on disk."""


@dataclass(frozen=True)
class Workbench:
    """A prepared data set, a resolved device and precision, and how many workers and threads to use."""

    data: DataSet
    device: torch.device
    precision: str
    jobs: int | None = None
    threads: int | None = None
    compiled: bool = False

    @classmethod
    def set_up(
        cls,
        data: str,
        data_dir: Path | None,
        device: str,
        precision: str,
        tell: Tell,
        jobs: int | None = None,
        threads: int | None = None,
        compiled: bool = False,
    ) -> "Workbench":
        """Resolve what the flags of every training command name; raises DropbenchError as each part does."""
        resolved = resolve_device(device)
        resolved_precision = resolve_precision(precision, resolved)
        return cls(prepare(data, data_dir, tell), resolved, resolved_precision, jobs, threads, compiled)

    def bind(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """``configs`` on this bench's data and in its precision.

        Raises:
            UsageError: if one could not be trained on these data; now, before anything is written.

        """
        data = self.data
        bound = [replace(c, data=data.name, data_key=data.key, precision=self.precision) for c in configs]
        # What cannot change whether a config fits is left out, so that each shape is tried once.
        for config in {replace(c, seed=0, member=0, p_drop=0.0, p_drop_input=0.0) for c in bound}:
            split(data.train_labels, config)
            with torch.device("meta"):  # shapes only: no memory, no time
                make_module(data.image_shape, len(data.classes), config)
        return bound


@dataclass
class Outcome:
    """What became of a set of runs; ``skipped`` were done before."""

    skipped: list[RunConfig] = field(default_factory=list)
    ok: list[RunResult] = field(default_factory=list)
    diverged: list[RunResult] = field(default_factory=list)
    failed: list[RunResult] = field(default_factory=list)

    @property
    def unsuccessful(self) -> list[RunResult]:
        """The runs that gave no metrics."""
        return [*self.diverged, *self.failed]


def pending(
    configs: Iterable[RunConfig], finished: Collection[str]
) -> tuple[list[RunConfig], list[RunConfig]]:
    """Split ``configs``, each once, into those still to do and those whose run_id is ``finished``."""
    unique = {config.run_id: config for config in configs}
    todo = [config for run_id, config in unique.items() if run_id not in finished]
    done = [config for run_id, config in unique.items() if run_id in finished]
    return todo, done


def carry_out(
    configs: Sequence[RunConfig],
    bench: Workbench,
    store: Store,
    watcher: Watcher,
    with_predictions: bool = False,
    again: bool = False,
) -> Outcome:
    """Carry out the (bound) runs that are not done yet; each is on disk before the next is taken.

    With ``with_predictions``, those are kept, and a run that lacks them is not done. ``again`` carries
    out those that are done as well.

    Raises:
        DropbenchError: if a result cannot be written; what was written stays.

    """
    finished: Collection[str] = () if again else store.finished()
    if with_predictions:
        finished = [run_id for run_id in finished if store.has_predictions(run_id)]
    todo, done = pending(configs, finished)
    outcome = Outcome(skipped=done)
    runner = choose_runner(len(todo), bench.device, bench.jobs, bench.threads, bench.compiled)
    watcher.planned(todo, len(done), runner.jobs)
    lists = {"ok": outcome.ok, "diverged": outcome.diverged, "failed": outcome.failed}
    for result in runner.run(todo, watcher.progress):
        store.append(result, keep_predictions=with_predictions)
        lists[result.status].append(result)
        watcher.finished(result)
    return outcome
