"""Where runs are carried out: the data set, the device, the store; and the one loop that drives them."""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from dropbench.catalog.own_code import is_own, source_key
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import split
from dropbench.engine.device import resolve_device, resolve_precision
from dropbench.engine.panel import hidden_sites
from dropbench.engine.penalties import check_compiles
from dropbench.models.build import make_module
from dropbench.results import predictions
from dropbench.results.read import with_panel
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import AUTOMATIC, CAREFUL, Machine, Policy
from dropbench.run.result import EpochRecord, RunResult, kept_arrays
from dropbench.runners.base import NO_EXTRAS, Extras
from dropbench.runners.choose import choose_runner


class Watcher(Protocol):
    """Sees a set of runs happen; the progress display is one."""

    def planned(self, plan: "Agenda", jobs: int) -> None:
        """What there is to do will be carried out by ``jobs`` workers."""

    def progress(self, worker: int, config: RunConfig, record: EpochRecord | None) -> None:
        """A worker started a run (None) or ended an epoch of it."""

    def finished(self, result: RunResult) -> None:
        """A run ended and is on disk."""

    def wants_to_stop(self) -> bool:
        """Whether no further run is to be begun."""


@dataclass(frozen=True)
class Workbench:
    """A prepared data set, a resolved device and precision, and how runs are carried out."""

    data: DataSet
    device: torch.device
    precision: str
    machine: Machine = AUTOMATIC
    extras: Extras = NO_EXTRAS

    @classmethod
    def set_up(cls, data: DataSet, machine: Machine, panel: bool = False) -> "Workbench":
        """Resolve the device and the precision for a data set; raises DropbenchError for what is not here."""
        device = resolve_device(machine.device)
        precision = resolve_precision(machine.precision, device)
        return cls(data, device, precision, machine, Extras(machine.compile, panel))

    def bind(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """``configs`` on this bench's data and in its precision.

        Raises:
            UsageError: if one could not be trained on these data; now, before anything is written.

        """
        data = self.data
        key_of = functools.cache(lambda name: source_key(name) if is_own(name) else "")
        bound = [
            config.replace(
                data=data.name,
                data_key=data.key,
                precision=self.precision,
                model_key=key_of(config.model.name),
                dropout_key=key_of(config.dropout.variant),
            )
            for config in configs
        ]
        # What cannot change whether a config fits is left out, so that each shape is tried once.
        for config in {_without_numbers(config) for config in bound}:
            split(data.train_labels, config)
            with torch.device("meta"):  # shapes only: no memory, no time
                model = make_module(data.image_shape, len(data.classes), config)
            if self.extras.panel:
                hidden_sites(model)
            if self.extras.compiled:
                check_compiles(config)
        return bound

    def keeps(self, folder: Path, with_predictions: bool = False) -> Callable[[RunConfig], bool]:
        """Whether all is in ``folder`` that this bench wants of a run beside its row."""
        extras = self.extras
        panels = with_panel(folder) if extras.panel else set()

        def whole(config: RunConfig) -> bool:
            if extras.panel and config.run_id not in panels:
                return False
            if not with_predictions:
                return True
            return kept_arrays(config, extras.ood) <= predictions.names(folder, config.run_id)

        return whole


def _without_numbers(config: RunConfig) -> RunConfig:
    """The config with the same shapes and sites for all seeds and all p above 0."""

    def some(p: float) -> float:
        return 0.5 if p else 0.0

    return config.replace(
        seed=0,
        member=0,
        p_drop=some(config.dropout.p_drop),
        p_drop_input=some(config.dropout.p_drop_input),
        p_drop_conv=some(config.dropout.p_drop_conv),
    )


@dataclass
class Outcome:
    """What became of a set of runs; the first two lists were done before, well or not."""

    skipped: list[RunConfig] = field(default_factory=list)
    left: list[RunConfig] = field(default_factory=list)
    ok: list[RunResult] = field(default_factory=list)
    diverged: list[RunResult] = field(default_factory=list)
    failed: list[RunResult] = field(default_factory=list)

    @property
    def unsuccessful(self) -> list[RunResult]:
        """The runs that gave no metrics, this time."""
        return [*self.diverged, *self.failed]


@dataclass(frozen=True)
class Agenda:
    """Which of a set of runs are to be done: ``done`` ended well before, ``left`` did not and stay so.

    Of ``todo``, those ``lacking`` ended well before, and not all was kept of them that is wanted now.
    """

    todo: list[RunConfig] = field(default_factory=list)
    done: list[RunConfig] = field(default_factory=list)
    left: list[RunConfig] = field(default_factory=list)
    lacking: list[RunConfig] = field(default_factory=list)

    @property
    def before(self) -> int:
        """How many ended before and are not done again."""
        return len(self.done) + len(self.left)


def make_agenda(
    configs: Iterable[RunConfig],
    ended: Mapping[str, str],
    policy: Policy,
    is_whole: Callable[[RunConfig], bool] = lambda config: True,
) -> Agenda:
    """Sort ``configs``, each once, by the status with which they ``ended`` before (by run_id).

    ``is_whole`` says of one that ended well whether all is kept of it that is wanted now.
    """
    plan = Agenda()
    for run_id, config in {config.run_id: config for config in configs}.items():
        status = ended.get(run_id)
        if status == "ok" and not is_whole(config):
            plan.lacking.append(config)
            status = None
        again = policy.force or status is None or (policy.retry_failed and status != "ok")
        (plan.todo if again else plan.done if status == "ok" else plan.left).append(config)
    return plan


def carry_out(
    configs: Sequence[RunConfig],
    bench: Workbench,
    store: Store,
    watcher: Watcher,
    policy: Policy = CAREFUL,
    with_predictions: bool = False,
) -> Outcome:
    """Carry out the (bound) runs that are not done yet; each is on disk before the next is taken.

    With ``with_predictions``, those are kept, and a run that lacks one of kept_arrays is not done; nor is
    one without a panel where the bench wants that. When the watcher wants to stop, no run is begun any more,
    and those in hand are finished.

    Raises:
        DropbenchError: if a result cannot be written; what was written stays.
        KeyboardInterrupt: if the watcher wanted to stop before all was done.

    """
    plan = make_agenda(configs, store.ended(), policy, bench.keeps(store.folder, with_predictions))
    outcome = Outcome(skipped=plan.done, left=plan.left)
    if not plan.todo:
        watcher.planned(plan, 0)
        return outcome
    runner = choose_runner(len(plan.todo) + plan.before, bench.device, bench.machine, bench.extras)
    watcher.planned(plan, min(runner.jobs, len(plan.todo)))
    lists = {"ok": outcome.ok, "diverged": outcome.diverged, "failed": outcome.failed}
    given = itertools.takewhile(lambda config: not watcher.wants_to_stop(), plan.todo)
    with contextlib.closing(runner.run(given, watcher.progress)) as results:
        for result in results:
            store.append(result, with_predictions, again=policy.force)
            lists[result.status].append(result)
            watcher.finished(result)
            if policy.fail_fast and result.status == "failed":
                return outcome
    if len(outcome.ok) + len(outcome.unsuccessful) < len(plan.todo):
        raise KeyboardInterrupt
    return outcome
