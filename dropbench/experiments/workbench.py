"""The workbench on which runs are carried out, and the one loop that drives them."""

import contextlib
import functools
import itertools
import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import torch

from dropbench.catalog.objects import is_of_session
from dropbench.catalog.user_code import is_user_code, library_of, source_key
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.repeated import warn_of_repeated_images
from dropbench.datasets.split import split
from dropbench.engine.checkpoint import Checkpoints
from dropbench.engine.device import resolve_device, resolve_precision
from dropbench.engine.inputs import white_of
from dropbench.engine.panel import hidden_sites
from dropbench.engine.penalties import check_compiles
from dropbench.engine.turns import never
from dropbench.errors import TimeLimitError, UsageError
from dropbench.experiments.agenda import make_agenda
from dropbench.experiments.fits import check_fits, check_library_net
from dropbench.experiments.keep import keep
from dropbench.experiments.other_precisions import tell_other_precisions
from dropbench.experiments.trial import try_nets
from dropbench.experiments.watching import Watcher
from dropbench.models.build import make_module
from dropbench.results import checkpoints, predictions
from dropbench.results.read import with_panel
from dropbench.results.store import Store
from dropbench.run import telling
from dropbench.run.blocks.dropout import PROBABILITIES
from dropbench.run.config import RunConfig
from dropbench.run.machine import AUTOMATIC, CAREFUL, Machine, Policy
from dropbench.run.result import RunResult, kept_arrays
from dropbench.runners.base import NO_EXTRAS, Extras
from dropbench.runners.choose import choose_runner, shares
from dropbench.runners.sharing import Workload
from dropbench.runners.stacked import with_stacks

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workbench:
    """A prepared data set, a resolved device and precision, and how runs are carried out on them."""

    data: DataSet
    device: torch.device
    precision: str
    machine: Machine = AUTOMATIC
    extras: Extras = NO_EXTRAS
    deadline: float = math.inf
    """When the runs are to halt, by time.monotonic."""

    @classmethod
    def set_up(
        cls, data: DataSet, machine: Machine, panel: bool = False, deadline: float = math.inf
    ) -> "Workbench":
        """Build the workbench of a data set, with device and precision resolved.

        A warning is logged if test images are training images as well.

        Raises:
            DropbenchError: if this machine lacks the device or cannot compute in the precision, or if a class
                has one training example.

        """
        device = resolve_device(machine.device)
        precision = resolve_precision(machine.precision, device, data.task)
        data.check_classes()
        warn_of_repeated_images(data)
        extras = Extras(machine.compile, panel, graph=machine.graph)
        return cls(data, device, precision, machine, extras, deadline)

    def bind(self, configs: Iterable[RunConfig]) -> list[RunConfig]:
        """Set the data, the precision and the digests of the user's own code in every config.

        Raises:
            UsageError: if a config cannot be trained on these data. It is raised before anything is written.

        """
        data, configs = self.data, list(configs)
        _machine_for(configs, self.machine)
        key_of = functools.cache(lambda name: source_key(name) if is_user_code(name) else "")
        bound = [
            config.replace(
                **data.settings,
                precision=self.precision,
                model_key=key_of(config.model.name),
                dropout_key=key_of(config.dropout.variant),
            )
            for config in configs
        ]
        # Seeds and drop probabilities do not decide whether a net fits: each architecture is tried once.
        for config in {_architecture(config) for config in bound}:
            split(data, config)
            white_of(data, config)
            if self.extras.compiled:
                check_compiles(config)
            if is_user_code(config.model.name):
                continue  # which may read values, and is tried in earnest
            with torch.device("meta"):  # builds the shapes only, without memory or time
                model = make_module(data.input_shape, data.outputs, config)
            if library_of(config.model.name):
                check_library_net(config, data, model)
            check_fits(config, data, model, self.device, self._at_a_time(bound))
            if self.extras.panel:
                hidden_sites(model)
        try_nets(bound, data, self.extras.panel)
        return bound

    def extras_into(self, folder: Path) -> Extras:
        """Return the options of runs whose results, and states meanwhile, go into a folder."""
        if not self.machine.checkpoint:
            return self.extras
        return replace(self.extras, checkpoints=Checkpoints(folder.absolute(), self.machine.checkpoint_every))

    def as_for(self, configs: Collection[RunConfig]) -> "Workbench":
        """Return the bench on which other runs have as many threads as these.

        Threads decide the last bits of sums. On Ray its machines choose them.
        """
        if self.machine.runner == "ray":
            return self
        _, threads = shares(len(configs), self.device, self.machine, self.workload(configs))
        return replace(self, machine=replace(self.machine, threads=threads))

    def workload(self, configs: Iterable[RunConfig]) -> Workload:
        """Return the workload of runs on these data."""
        return Workload.of(configs, self.data, self.extras.graph and not self.extras.compiled)

    def _at_a_time(self, configs: Collection[RunConfig]) -> int:
        """Return how many of the runs go on at a time: on a GPU what fits is found when they begin."""
        if self.device.type != "cpu" or self.machine.runner == "ray":
            return 1
        return shares(len(configs), self.device, _machine_for(configs, self.machine))[0]

    def keeps(self, folder: Path, with_predictions: bool = False) -> Callable[[RunConfig], bool]:
        """Return a predicate: whether ``folder`` has everything this bench keeps of a run beside its row.

        It keeps the panel where ``extras`` ask for one, and ``with_predictions`` all of kept_arrays.
        """
        extras = self.extras
        panels = with_panel(folder) if extras.panel else set()

        def is_complete(config: RunConfig) -> bool:
            if extras.panel and config.run_id not in panels:
                return False
            if not with_predictions:
                return True
            return kept_arrays(config, extras.ood) <= predictions.names(folder, config.run_id)

        return is_complete


def _architecture(config: RunConfig) -> RunConfig:
    """The config that stands for all with these shapes and dropout sites, whatever their seeds and p > 0."""

    def any_p(p: float) -> float:
        return 0.5 if p else 0.0

    return config.replace(
        seed=0,
        member=0,
        **{name: any_p(getattr(config.dropout, name)) for name in PROBABILITIES.values()},
    )


def _machine_for(configs: Iterable[RunConfig], machine: Machine) -> Machine:
    """The machine for runs of which some may have code that this process alone has.

    Raises:
        UsageError: if such runs are to be in other processes.

    """
    names = {name for config in configs for name in (config.model.name, config.dropout.variant)}
    here = sorted(filter(is_of_session, names))
    if not here or machine.runner == "serial":
        return machine
    if machine.runner != "auto" or (machine.jobs or 1) > 1:
        told = "jobs" if machine.runner == "auto" else "runner"
        raise UsageError(
            f"{here[0]} is defined in this session, so no other process can import it.",
            f"Put it into a file and write file.py:name, or leave out `{told}`.",
        )
    return replace(machine, runner="serial")


@dataclass
class Outcome:
    """How each of a set of runs ended.

    Two lists were not carried out now: ``skipped`` ended well before, ``left`` diverged or failed before. The
    results of the runs that were carried out are in ``ok``, ``diverged`` and ``failed``.
    """

    skipped: list[RunConfig] = field(default_factory=list)
    left: list[RunConfig] = field(default_factory=list)
    ok: list[RunResult] = field(default_factory=list)
    diverged: list[RunResult] = field(default_factory=list)
    failed: list[RunResult] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """The number of runs that ended, now or before."""
        return len(self.skipped) + len(self.left) + len(self.ok) + len(self.unsuccessful)

    def extend(self, later: "Outcome") -> None:
        """Add how other runs ended, which were carried out after these."""
        for name in ("skipped", "left", "ok", "diverged", "failed"):
            getattr(self, name).extend(getattr(later, name))

    @property
    def unsuccessful(self) -> list[RunResult]:
        """The runs carried out now that gave no metrics."""
        return [*self.diverged, *self.failed]


def carry_out(
    configs: Sequence[RunConfig],
    bench: Workbench,
    store: Store,
    watcher: Watcher,
    policy: Policy = CAREFUL,
    with_predictions: bool = False,
    nets: Mapping[str, Path] = MappingProxyType({}),
    enough: Callable[[], bool] = never,
) -> Outcome:
    """Carry out the (bound) runs that have not ended before, and write each to disk as soon as it ends.

    ``with_predictions`` keeps the arrays of kept_arrays, too. A run that ended well before is repeated if it
    lacks one of these, or the panel where the bench asks for it; ``policy`` says which others are repeated.
    ``nets`` has the files, by run_id, that nets are written into once their runs are recorded.
    When the watcher wants to stop, no further run is started, and those in progress are finished. When it
    wants to halt, or the bench's deadline has come, those stop too. Once it is ``enough`` none is started any
    more, and that is an end as good as any.

    Raises:
        DropbenchError: if a result cannot be written; results written before stay on disk.
        TimeLimitError: if the deadline came before all runs were done.
        KeyboardInterrupt: if the watcher wanted to stop before all runs were done.

    """
    recorded = store.ended()
    agenda = make_agenda(configs, recorded, policy, bench.keeps(store.folder, with_predictions))
    tell_other_precisions(agenda.todo, recorded)
    outcome = Outcome(skipped=agenda.done, left=agenda.left)
    on_disk = {config.run_id for config in (*agenda.done, *agenda.left)}
    for run_id in on_disk & checkpoints.run_ids(store.folder):
        checkpoints.remove(store.folder, run_id)
    if not agenda.todo:
        watcher.planned(agenda, 0)
        return outcome
    # Of all configs, so that a resumed command has the same number of threads, too.
    workload = bench.workload(configs)
    extras = replace(bench.extras_into(store.folder), nets=frozenset(nets))
    machine = _machine_for(configs, bench.machine)
    if machine != bench.machine and len(agenda.todo) > 1:
        _log.warning(
            "What is defined in this session has its runs in this process, one after another. Of a file, "
            "which other processes import, several go on at a time."
        )
    runner = choose_runner(len(agenda.todo) + agenda.before, bench.device, machine, extras, workload)
    runner, todo = with_stacks(runner, agenda.todo, configs, bench.data, bench.device, machine, extras)
    watcher.planned(agenda, min(runner.jobs, len(todo)))
    places = extras.checkpoints
    if places is not None and (going_on := places.going_on(agenda.todo, bench.device)):
        _log.info(telling.going_on(len(going_on)))
    lists = {"ok": outcome.ok, "diverged": outcome.diverged, "failed": outcome.failed}

    def halts() -> bool:
        return watcher.wants_to_halt() or time.monotonic() >= bench.deadline

    wanted = itertools.takewhile(lambda config: not (watcher.wants_to_stop() or halts() or enough()), todo)
    with contextlib.closing(runner.run(wanted, watcher.progress, halts)) as results:
        for found in results:
            store.append(found, with_predictions, again=policy.force)
            if found.net is not None:
                keep(nets[found.config.run_id], found.config.run_id, found.net)
            result = replace(found, net=None)  # nets of many runs would fill the memory
            lists[result.status].append(result)
            watcher.finished(result)
            if policy.fail_fast and result.status == "failed":
                return outcome
    ended = len(outcome.ok) + len(outcome.unsuccessful)
    if ended < len(agenda.todo):
        if watcher.wants_to_stop() or watcher.wants_to_halt():
            raise KeyboardInterrupt
        if time.monotonic() < bench.deadline:
            return outcome
        runs, before = len(agenda.todo) + agenda.before, agenda.before
        raise TimeLimitError.after(machine.time_limit, telling.so_far(runs, before + ended))
    return outcome
