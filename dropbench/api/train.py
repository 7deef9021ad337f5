"""One run."""

import contextlib
import logging
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from dropbench.api.keywords import sort_out
from dropbench.api.work import Data, Done, Work, check_classifier
from dropbench.errors import UsageError
from dropbench.experiments.keep import check_states, check_target
from dropbench.experiments.watching import Watcher
from dropbench.report.folder import Report, panel_report
from dropbench.report.run import RunSubject
from dropbench.results.read import tidied
from dropbench.results.rows import run_row
from dropbench.results.schema import RUNS
from dropbench.results.store import git_commit
from dropbench.run import telling
from dropbench.run.config import RunConfig
from dropbench.run.machine import Policy
from dropbench.run.result import RunResult

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitMetrics:
    """The metrics of a run on one split; NaN where it has none, as a regression has no error in percent."""

    error: float
    """Misclassified examples, in percent."""
    nll: float
    """Negative log-likelihood, in nats."""
    brier: float
    """Brier score, 0 to 2."""
    ece: float
    """Expected calibration error in 15 bins, 0 to 1."""
    rmse: float
    """Root mean squared error of a regression, in the unit of the target."""
    coverage_error: float
    """|share of targets in the central interval − its level|, of a regression; the mean over 19 levels."""

    @classmethod
    def of(cls, metrics: Mapping[str, float], split: str) -> "SplitMetrics":
        """The metrics of ``train``, ``val`` or ``test``."""
        names = ("error_percent", "nll", "brier", "ece", "rmse", "coverage_error")
        return cls(*(metrics.get(f"{split}_{name}", math.nan) for name in names))


@dataclass(frozen=True, repr=False)
class RunDone(Done):
    """A run that was carried out; ``result.status`` says how it ended."""

    result: RunResult

    @property
    def test(self) -> SplitMetrics:
        """The metrics on the test images."""
        return SplitMetrics.of(self.result.metrics, "test")

    @property
    def training(self) -> SplitMetrics:
        """The metrics on training images, with dropout off."""
        return SplitMetrics.of(self.result.metrics, "train")

    @property
    def validation(self) -> SplitMetrics:
        """The metrics on the validation images."""
        return SplitMetrics.of(self.result.metrics, "val")

    def __repr__(self) -> str:
        """Say how the run ended."""
        return f"<RunDone: {telling.outcome(self.result)}>"

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The run as its row of runs.csv, whether it is recorded or not."""
        return tidied(pd.DataFrame([run_row(self.result, git_commit())], columns=list(RUNS.columns)))

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row an epoch: loss and error on training and validation images, as in epochs.csv."""
        return pd.DataFrame([vars(record) for record in self.result.epochs])


def train(
    data: Data = "mnist5k",
    *,
    panel: bool = False,
    save: Path | str | None = None,
    out: Path | str | None = None,
    data_dir: Path | str | None = None,
    watcher: Watcher | None = None,
    **settings: Any,
) -> RunDone:
    """Train one net and evaluate it once on the test images.

    Args:
        data: a data set, or its name.
        panel: also measure what dropout does to the hidden units.
        save: the file, ending in ``.safetensors``, that the tested net is written into: ``load_net`` and
            ``predict`` read it. A net that is there is replaced.
        out: the folder that the run is recorded in; nowhere unless told. A run that was killed there goes on
            from its checkpoint.
        data_dir: where torchvision's data sets are, or go when downloaded.
        watcher: sees the run happen; its end is logged unless given.
        settings: any setting of a run by its name, as ``p=0.5`` or ``dropout=0.5``, and of the machine.

    Raises:
        UsageError: for a setting that nothing knows, or values that are no run.
        DropbenchError: if the data are not to be had, or the result cannot be written.

    """
    keywords = sort_out(settings)
    target = None if save is None else check_target(save, "save")
    check_classifier(keywords.single().get("model", RunConfig().model.name))
    for name in ("jobs", "stack", "ray_address", "gpus_per_run"):
        if getattr(keywords.machine, name) is not None:
            raise UsageError(f"`{name}` is for several runs.", "Leave it out, or call a sweep.")
    if keywords.machine.runner not in ("auto", "serial"):
        raise UsageError("`runner` is for several runs: one is carried out in this process.", "Leave it out.")
    machine = replace(keywords.machine, runner="serial")
    if out is None:  # no other call finds the folder
        machine = replace(machine, checkpoint=False)
    keywords = replace(keywords, machine=machine, policy=Policy(force=True))
    with contextlib.ExitStack() as stack:
        folder = Path(out if out is not None else stack.enter_context(tempfile.TemporaryDirectory()))
        work = Work.prepare(
            lambda on_data: [RunConfig(**on_data.single())], data, keywords, folder, data_dir, panel
        )
        if target is not None:
            check_states(work.runs, work.bench.data, "save")
        nets = {} if target is None else dict.fromkeys(work.run_ids, target)
        outcome = work.carry_out(watcher, nets=nets)
        (result,) = [*outcome.ok, *outcome.unsuccessful]
        if target is not None and result.status != "ok":
            _log.warning(f"The run {result.status}, so {target.name} is not written.")
        panels = panel_report(work.out, work.run_ids).subjects if panel else ()
    return RunDone(
        work.out, work.run_ids, outcome, lambda: Report(work.out, (RunSubject(result), *panels)), result
    )
