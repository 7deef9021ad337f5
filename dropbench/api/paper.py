"""The experiments of the lecture and of the 2014 paper."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dropbench.api.keywords import sort_out
from dropbench.api.sweep import check_seeds
from dropbench.api.work import Data, Done, Work
from dropbench.catalog.models import TABLE
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.registry import inputs_of
from dropbench.errors import UsageError
from dropbench.experiments.estimate import Bench, Images, estimate
from dropbench.experiments.paper.files import find
from dropbench.experiments.paper.run import PaperExperiment, carry_out_paper
from dropbench.experiments.watching import LogWatcher, Watcher
from dropbench.report.folder import paper_report
from dropbench.results.store import Store
from dropbench.run.config import SETTINGS

OnEstimate = Callable[[int, Callable[[], float]], None]
"""Called with the number of runs to do and a function that measures how many seconds they take."""


@dataclass(frozen=True, repr=False)
class PaperDone(Done):
    """An experiment that was repeated."""


def paper(
    name: str,
    *,
    scale: str = "small",
    seeds: int | None = None,
    data: Data = "auto",
    out: Path | str = "results",
    data_dir: Path | str | None = None,
    watcher: Watcher | None = None,
    on_estimate: OnEstimate | None = None,
    **settings: Any,
) -> PaperDone:
    """Repeat an experiment of the lecture or of Srivastava et al. 2014, and set ours beside theirs.

    Args:
        name: an experiment: ``lecture``, ``table2``, ``fig9a``, …; ``dropbench paper list`` has all.
        scale: ``full``, ``medium``, ``small`` or ``smoke``.
        seeds: how many, from 0 on; the scale's unless given.
        data: a data set, or its name; ``auto`` is the set that the experiment names.
        out: the folder of the results.
        data_dir: where torchvision's data sets are, or go when downloaded.
        watcher: sees the runs happen; they are logged unless given.
        on_estimate: is told before the first run how many there are, and may measure what they take.
        settings: of how the data are made, of the machine, or of what is done again.

    Raises:
        UsageError: for an unknown experiment, scale or keyword, or data that do not fit.
        DropbenchError: if data are not to be had, or a result cannot be written.

    """
    chosen = find(name)
    chosen.scale(scale)
    keywords = sort_out(settings)
    for each in keywords.settings:
        if not SETTINGS[each].of_source:
            raise UsageError(f"The experiment {name} has its own `{each}`.", "A sweep takes any.")
    if seeds is not None:
        check_seeds(seeds, keywords)
    named = chosen.data if isinstance(data, str) and data == "auto" else data
    check_images(named)
    work = Work.prepare(lambda _: (), named, keywords, out, data_dir)
    check_images(work.bench.data)
    experiment = PaperExperiment.plan(chosen, scale, work.bench, seeds)
    work = work.with_runs(experiment.runs())
    store = Store(work.out)
    todo = _todo(experiment, work, store)
    if todo and on_estimate is not None:
        on_estimate(todo, partial(_seconds, experiment, work, todo))
    outcome = carry_out_paper(experiment, work.bench, store, watcher or LogWatcher(), work.policy)
    report = partial(paper_report, work.out, experiment.experiment_id)
    run_ids = work.run_ids | {run.run_id for run in experiment.chosen_runs(store)}
    return PaperDone(work.out, run_ids, outcome, report)


def check_images(data: Data) -> None:
    """Raise UsageError for a table: the experiments are on images."""
    inputs = data.inputs if isinstance(data, DataSet) else inputs_of(str(data))
    if inputs == TABLE:
        name = data.name if isinstance(data, DataSet) else data
        raise UsageError(f"The experiments need images, and {name} is a table.", "Name a data set of images.")


def _todo(experiment: PaperExperiment, work: Work, store: Store) -> int:
    """Count the runs to do, those included that depend on trials which are not done."""
    keeps = experiment.keeps_predictions
    if first := len(work.agenda(keeps).todo):
        return first + experiment.count - len(work.runs)
    return len(work.with_runs(experiment.chosen_runs(store)).agenda(keeps).todo)


def _seconds(experiment: PaperExperiment, work: Work, todo: int) -> float:
    """Measure this machine's rate, and return the seconds that so many runs take."""
    bench = work.bench
    trials, images = experiment.trials, Images.of(bench.data)
    on = Bench.of(bench.device, bench.precision, experiment.count, bench.machine, trials, images)
    expected = estimate(experiment.repeats(), images, on)
    return todo / experiment.count * expected.seconds
