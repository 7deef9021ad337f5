"""The choreography of every call that trains: prepare, bind, carry out what is not done yet, look."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import pandas as pd

from dropbench.api.data import data as data_set
from dropbench.api.keywords import Keywords
from dropbench.api.shown import Shown
from dropbench.catalog.dropouts import variant_of
from dropbench.catalog.models import TABLE, recipe_of
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.registry import inputs_of
from dropbench.errors import UsageError
from dropbench.experiments.agenda import Agenda, make_agenda
from dropbench.experiments.watching import LogWatcher, Watcher
from dropbench.experiments.workbench import Outcome, Workbench, carry_out
from dropbench.report.folder import Report
from dropbench.results.csv_file import read_rows
from dropbench.results.read import latest, rows_of
from dropbench.results.schema import RUNS
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Policy
from dropbench.run.telling import counted

_log = logging.getLogger(__name__)
Data = DataSet | str | Path


@dataclass(frozen=True)
class Work:
    """Runs on a bench, and the folder that their results go into."""

    bench: Workbench
    runs: tuple[RunConfig, ...]
    """Bound to the bench's data and precision."""
    out: Path
    policy: Policy

    @classmethod
    def prepare(
        cls,
        runs: Callable[[Keywords], Collection[RunConfig]],
        data: Data,
        keywords: Keywords,
        out: Path | str,
        data_dir: Path | str | None = None,
        panel: bool = False,
    ) -> "Work":
        """Fetch the data and see that every run can be trained on them, before anything is written.

        ``runs`` makes the runs of the keywords, to which the settings of the data are added: what is usual
        depends on these.

        Raises:
            UsageError: if a run does not fit the data or the machine.
            DropbenchError: if the data or the device are not to be had.

        """
        keywords.check()
        if isinstance(data, str) and (inputs := inputs_of(data)):
            runs(keywords.on({"data": data, "inputs": inputs}))  # faults are told before any data are fetched
        made = data_set(data, data_dir=data_dir, **keywords.of_source())
        of_runs = runs(keywords.on(made.settings))
        warn_of_what_is_in_vain(of_runs)
        bench = Workbench.set_up(made, keywords.machine, panel, keywords.deadline)
        return cls(bench, tuple(bench.bind(of_runs)), Path(out).expanduser(), keywords.policy)

    def agenda(self, with_predictions: bool = False) -> Agenda:
        """Which of the runs would be carried out; nothing is written."""
        rows = latest(read_rows(self.out, RUNS), RUNS)
        ended = {row["run_id"]: row["status"] for row in rows}
        return make_agenda(self.runs, ended, self.policy, self.bench.keeps(self.out, with_predictions))

    def carry_out(
        self,
        watcher: Watcher | None,
        with_predictions: bool = False,
        nets: Mapping[str, Path] = MappingProxyType({}),
    ) -> Outcome:
        """Carry out what is not done yet; each run is on disk before the next is begun.

        ``nets`` has the files that nets are written into, by run_id.

        Raises:
            DropbenchError: if a result cannot be written.
            TimeLimitError: if the time limit was over before all was done.
            KeyboardInterrupt: if the watcher wanted to stop before all was done.

        """
        return carry_out(
            self.runs,
            self.bench,
            Store(self.out),
            watcher or LogWatcher(),
            self.policy,
            with_predictions,
            nets,
        )

    def with_runs(self, runs: Collection[RunConfig]) -> "Work":
        """The same with other runs, which are bound already."""
        return replace(self, runs=tuple(runs))

    @property
    def run_ids(self) -> frozenset[str]:
        """The ids of all runs."""
        return frozenset(run.run_id for run in self.runs)


@dataclass(frozen=True, repr=False)
class Done(Shown):
    """The result of a call: how its runs ended, and the report on them."""

    out: Path
    run_ids: frozenset[str]
    outcome: Outcome
    make_report: Callable[[], Report]

    def __repr__(self) -> str:
        """Say how many runs there are, and where."""
        return f"<{type(self).__name__}: {counted(len(self.run_ids), 'run')} in {self.out}>"

    @cached_property
    def report(self) -> Report:
        """The tables, figures and verdicts of these runs alone, from the CSV files."""
        return self.make_report()

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows of these runs in runs.csv, one a run; docs/files.md explains the columns."""
        return rows_of(self.out, self.run_ids)


def check_classifier(model: str) -> None:
    """Raise UsageError for a model that does not classify, or that there is not."""
    if recipe_of(model).task != "classify":
        raise UsageError(
            f"The {model} does not classify.", "Features are what it is trained for: dropbench features."
        )


def warn_of_what_is_in_vain(runs: Collection[RunConfig]) -> None:
    """Log where a variant or a schedule was asked for and changes nothing."""
    for name in {run.dropout.variant for run in runs if not run.without_dropout}:
        of_this = [run for run in runs if run.dropout.variant == name]
        if variant_of(name).of_maps and not any(
            run.dropout.p_drop_conv
            or (run.dropout.p_drop_input and run.data.inputs != TABLE)
            or recipe_of(run.model.name).hidden_maps
            for run in of_this
        ):
            if all(run.data.inputs == TABLE for run in of_this):
                _log.warning(f"A table has no feature maps, so `dropout={name}` is bernoulli there.")
            else:
                where = f"Full layers have no maps, so `dropout={name}` is bernoulli there"
                _log.warning(f"{where}: add `p_drop_conv`.")
    if runs and all(run.without_dropout for run in runs):
        for name in ("dropout", "dropout_schedule"):
            for value in {run.told[name] for run in runs if name in run.told}:
                if value != RunConfig().settings()[name]:
                    _log.warning(f"Every p is 0, so `{name}={value}` does nothing.")
