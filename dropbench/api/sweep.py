"""Sweeps: the error against p, or against any other setting."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropbench.api.keywords import Keywords, sort_out
from dropbench.api.work import Data, Done, Work, check_classifier
from dropbench.catalog.models import OF_OPTIMIZER
from dropbench.engine.saved_net import read_kept, write_net
from dropbench.errors import DropbenchError, UsageError
from dropbench.experiments.agenda import Agenda
from dropbench.experiments.keep import check_states, check_target, path_in, remove_from, run_of
from dropbench.experiments.sweep import expand
from dropbench.experiments.watching import Watcher
from dropbench.report.folder import Report, sweep_report
from dropbench.report.render.picture import draw
from dropbench.report.sweep.figures import error_figure
from dropbench.report.sweep.subject import SweepSubject
from dropbench.report.sweep.sweep import EITHER, Setting, Sweep, mean_of, typed
from dropbench.run import telling
from dropbench.run.config import RunConfig
from dropbench.run.machine import Policy
from dropbench.runners.choose import shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_log = logging.getLogger(__name__)
P_DEFAULT = "0.1..0.8"
SEEDS = 3


@dataclass(frozen=True, repr=False)
class SweepDone(Done):
    """A sweep that was carried out."""

    varied: tuple[str, ...]
    """The settings that it varied, by their names."""

    @cached_property
    def _best(self) -> tuple[Sweep, Setting]:
        """The best setting, and its sweep: runs of several models, say, are several sweeps."""
        bests = [(each, each.best(each.settings)) for each in _sweeps(self.report)]
        found = [(each, best) for each, best in bests if best is not None]
        if not found:
            raise DropbenchError("No run of the sweep ended well.", "See message in runs.csv.")
        return min(found, key=lambda pair: mean_of(pair[0].val(pair[1])))

    @property
    def best_run(self) -> str:
        """The run_id of the best setting's first seed that ended well.

        Raises:
            DropbenchError: if no run ended well.

        """
        run_ids = self._best[1].run_ids
        return run_ids[min(run_ids)]

    @cached_property
    def best(self) -> dict[str, Any]:
        """The settings with the lowest mean error, or RMSE, on the validation examples, by their names.

        Those that the sweep varied, and ``p_drop``: ``train(data, **sweep.best)`` trains with them.

        Raises:
            DropbenchError: if no run ended well.

        """
        sweep, best = self._best
        values = typed({**sweep.fields, **best.axes}) | (best.tuning.values if best.tuning else {})
        told = ("p_drop", *self.varied)
        own = {name for name in OF_OPTIMIZER if values.get(name) is None}  # what the optimizer has by itself
        return {
            name: value
            for name, value in values.items()
            if name in told and name not in own and value != EITHER
        }

    def plot(self, metric: str | None = None, axes: "Axes | None" = None) -> "Axes":
        """Draw the metric on the test examples against p, with intervals, and return the matplotlib axes.

        Runs that differ in more than can be one curve are several sweeps: drawn is that of the best setting.
        Settings that were tuned are drawn at their own best in the metric on validation.

        Args:
            metric: ``error``, ``nll``, ``brier`` or ``ece``; of a regression ``rmse``, ``nll`` or
                ``coverage``. None is the first of these.
            axes: where to draw; new ones unless given.

        Raises:
            UsageError: for an unknown metric, or one of the other task.

        """
        report = sweep_report(self.out, self.run_ids, metric=metric or "")
        drawn = next(each for each in _sweeps(report) if each.run_ids == self._best[0].run_ids)
        (subplot,) = error_figure(drawn).subplots
        if axes is None:
            from matplotlib import pyplot as plt

            _, axes = plt.subplots(layout="constrained")
        return draw(subplot, axes)


def _sweeps(report: Report) -> list[Sweep]:
    return [subject.sweep for subject in report.subjects if isinstance(subject, SweepSubject)]


def sweep(
    data: Data = "mnist5k",
    *,
    p: str | float | Iterable[float] | None = None,
    seeds: int = SEEDS,
    baseline: bool = True,
    panel: bool = False,
    save_best: Path | str | None = None,
    out: Path | str = "results",
    data_dir: Path | str | None = None,
    watcher: Watcher | None = None,
    **settings: Any,
) -> SweepDone:
    """Train every combination of the swept settings on every seed; runs that are done are not done again.

    Several values of ``learning_rate``, ``weight_decay``, ``max_norm``, ``l1`` or ``kl_sparsity`` are trials:
    every setting, the net without dropout included, has all of them and is shown at its own best on
    validation.

    Args:
        data: a data set, or its name.
        p: probabilities of *dropping* a hidden unit: a number, a list of numbers, or text like the default,
            "0.1..0.8".
        seeds: how many, from 0 on; every setting runs on the same.
        baseline: add the net without any dropout, the reference of the differences.
        panel: also measure what dropout does to the hidden units.
        save_best: the file, ending in ``.safetensors``, that the net of the best setting is written into:
            of ``best``, and of its first seed that ended well. A net that is there is replaced.
        out: the folder of the results.
        data_dir: where torchvision's data sets are, or go when downloaded.
        watcher: sees the runs happen; they are logged unless given.
        settings: any setting of a run by its name (docs/files.md has them; a list is swept), of the machine
            (``device``, ``jobs``, ``threads``, …) or of what is done again (``force``, ``retry_failed``).

    Raises:
        UsageError: for a setting that nothing knows, or a combination that is no run.
        DropbenchError: if the data are not to be had, or a result cannot be written.

    """
    target = None if save_best is None else check_target(save_best, "save_best")
    work = prepare_sweep(
        data, p=p, seeds=seeds, baseline=baseline, panel=panel, out=out, data_dir=data_dir, **settings
    )
    nets: dict[str, Path] = {}
    if target is not None:
        check_states(work.runs, work.bench.data, "save_best")
        first = (run.run_id for run in work.runs if run.repetition.seed == 0)
        nets = {run_id: path_in(work.out, run_id) for run_id in first}
    outcome = work.carry_out(watcher, nets=nets)

    def done() -> SweepDone:
        report = partial(sweep_report, work.out, work.run_ids, panel)
        varied = tuple(name for name in telling.telling(work.runs) if name != "seed")
        return SweepDone(work.out, work.run_ids, outcome, report, varied)

    if target is not None:
        _save_best(work, done(), target, watcher)
    return done()


def _save_best(work: Work, done: SweepDone, target: Path, watcher: Watcher | None) -> None:
    """Write the net of the best run; train it again where its net was not kept."""
    try:
        run_id = done.best_run
    except DropbenchError as error:
        _log.warning(f"{target.name} is not written: {error.message}")
        return
    try:
        write_net(target, read_kept(path_in(work.out, run_id)))
    except DropbenchError:
        if run_of(target) != run_id and not _train_again(work, run_id, target, watcher):
            return
    of = next(run for run in work.runs if run.run_id == run_id)
    words = telling.label(of, telling.telling(work.runs))
    _log.info(f"The net of run {run_id} ({words}), the best on validation, is in {target}.")
    if done.outcome.ended == len(work.run_ids):  # else the others may be wanted when the sweep goes on
        remove_from(work.out, work.run_ids)


def _train_again(work: Work, run_id: str, target: Path, watcher: Watcher | None) -> bool:
    """Train a run again to have its net, with as many threads as in the sweep, and record it anew."""
    bench, (run,) = work.bench, [run for run in work.runs if run.run_id == run_id]
    _log.info(f"The net of run {run_id} was not kept when it was trained: it is trained again.")
    _, threads = shares(len(work.run_ids), bench.device, bench.machine, bench.workload(work.runs))
    machine = bench.machine if bench.machine.runner == "ray" else replace(bench.machine, threads=threads)
    again = replace(
        work,
        bench=replace(bench, machine=replace(machine, stack=None)),
        runs=(run,),
        policy=Policy(force=True),
    )
    outcome = again.carry_out(watcher, nets={run_id: target})
    if outcome.unsuccessful:
        _log.warning(f"The run {outcome.unsuccessful[0].status} this time, so {target.name} is not written.")
    return not outcome.unsuccessful


def sweep_agenda(data: Data = "mnist5k", **told: Any) -> Agenda:
    """Which runs ``sweep`` would carry out with these arguments, and which are done."""
    return prepare_sweep(data, **told).agenda()


def prepare_sweep(
    data: Data,
    *,
    p: Any = None,
    seeds: int = SEEDS,
    baseline: bool = True,
    panel: bool = False,
    out: Path | str = "results",
    data_dir: Path | str | None = None,
    **settings: Any,
) -> Work:
    """The runs of a sweep, bound to their data; as ``sweep``, without carrying them out."""
    keywords = sort_out({"p": p, **settings}, p_drop=P_DEFAULT)
    check_seeds(seeds, keywords)
    for name in keywords.settings.get("model", ()):
        check_classifier(name)

    def runs(on_data: Keywords) -> list[RunConfig]:
        fixed, swept = on_data.swept()
        return expand(fixed, swept, seeds, baseline)

    return Work.prepare(runs, data, keywords, out, data_dir, panel)


def check_seeds(seeds: int, keywords: Keywords) -> None:
    """Raise UsageError for a number of seeds that is none, or a seed beside it."""
    if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 1:
        raise UsageError(f"`seeds` is {seeds!r}.", "Write how many, 1 or more; they count from 0.")
    if "seed" in keywords.settings:
        raise UsageError("`seed` is for one run.", "Write how many with `seeds`; they count from 0.")
