"""From a results folder to its tables and pictures."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from dropbench.errors import DropbenchError, unknown_name
from dropbench.report.comparison.comparison import Comparison, find_comparisons
from dropbench.report.comparison.tables import comparison_tables
from dropbench.report.features.table import feature_table
from dropbench.report.metrics import ERROR, Metric
from dropbench.report.paper.result import PaperResult, find_papers, paper_table
from dropbench.report.speed import speed_tables
from dropbench.report.sweep.sweep import Sweep, find_sweeps
from dropbench.report.sweep.table import SORTS, sweep_table
from dropbench.report.table import Table
from dropbench.report.units.panel import Panel, find_panels, panel_tables
from dropbench.report.verify import check_tables
from dropbench.results.read import read_table
from dropbench.results.schema import CHECKS, COMPARISONS, DIFFERENCES, PANEL, PAPER, RELIABILITY, RUNS, SPEED

GROUPS = ("paper", "sweep", "panel", "features", "comparison", "speed", "verify")
"""What a report is made of, in its order."""


@dataclass(frozen=True)
class Choice:
    """What of a folder is reported, and how settings are compared."""

    only: tuple[str, ...] = GROUPS
    metric: Metric = ERROR
    reference_p: float = 0.0
    sort: str = "p"

    def __post_init__(self) -> None:
        """Raise UsageError for a group or an order that there is not."""
        for name in self.only:
            if name not in GROUPS:
                raise unknown_name("part of a report", name, GROUPS)
        if self.sort not in SORTS:
            raise unknown_name("order", self.sort, SORTS)


@dataclass(frozen=True)
class Experiment:
    """One of the things that a folder holds: its kind, of GROUPS, its tables, and what they were made of.

    ``source`` is a PaperResult, a Sweep, a Panel or a Comparison by its kind; speed and verify have none.
    """

    kind: str
    tables: tuple[Table, ...]
    source: PaperResult | Sweep | Panel | Comparison | None = None


@dataclass(frozen=True)
class Report:
    """What a folder holds, ready to be shown, in the order of GROUPS."""

    folder: Path
    experiments: tuple[Experiment, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """All of them."""
        return tuple(table for experiment in self.experiments for table in experiment.tables)

    @property
    def papers(self) -> list[PaperResult]:
        """Experiments of the lecture and the paper."""
        return [each.source for each in self.experiments if isinstance(each.source, PaperResult)]

    @property
    def sweeps(self) -> list[Sweep]:
        """Of classifiers."""
        return [
            each.source
            for each in self.experiments
            if each.kind == "sweep" and isinstance(each.source, Sweep)
        ]

    @property
    def comparisons(self) -> list[Comparison]:
        """Of arms."""
        return [each.source for each in self.experiments if isinstance(each.source, Comparison)]

    def panels(self, kind: str) -> list[Panel]:
        """Of the ``panel`` of classifiers, or the ``features`` of autoencoders."""
        return [
            each.source for each in self.experiments if each.kind == kind and isinstance(each.source, Panel)
        ]


def build_report(folder: Path, choice: Choice = Choice()) -> Report:  # frozen
    """The tables of everything in ``folder``, from its CSV files alone.

    Raises:
        DropbenchError: if there is no such folder, or nothing of the choice in it.

    """
    if not folder.is_dir():
        raise DropbenchError(f"There is no folder {folder}.", "Run one first: dropbench sweep --p 0.1..0.8")
    runs, comparisons = read_table(folder, RUNS), read_table(folder, COMPARISONS)
    speed, checks = read_table(folder, SPEED), read_table(folder, CHECKS)
    papers = find_papers(read_table(folder, PAPER))
    if runs.empty and speed.empty and checks.empty and not papers:
        raise DropbenchError(f"{folder} holds no runs.", "Run some first: dropbench sweep --p 0.1..0.8")
    wanted = {"sweep", "panel", "features"} & set(choice.only)
    sweeps = find_sweeps(_without_arms(runs, papers)) if wanted else []
    found = [
        *_papers(papers, choice),
        *_sweeps(sweeps, comparisons, choice),
        *_panels(folder, sweeps, choice),
        *_compared(folder, comparisons, choice),
        *_each("speed", _speed(speed), choice),
        *_each("verify", _checks(checks), choice),
    ]
    if not found:
        raise DropbenchError(
            f"{folder} holds nothing of {', '.join(choice.only)}.", "Leave out --only to see what it holds."
        )
    return Report(folder, tuple(found))


def paper_report(folder: Path, experiment_id: str) -> Report:
    """One experiment of the paper, with what its runs show besides: curves against p, features.

    Raises:
        DropbenchError: if it has no rows.

    """
    found = find_papers(read_table(folder, PAPER))
    papers = [each for each in found if each.experiment_id == experiment_id]
    if not papers:
        raise DropbenchError(f"{folder} holds no run of this experiment that ended.")
    runs = read_table(folder, RUNS)
    sweeps = find_sweeps(_without_arms(runs[runs["run_id"].isin(list(papers[0].run_ids))], papers))
    comparisons, choice = read_table(folder, COMPARISONS), Choice()
    experiments = [*_papers(papers, choice), *_sweeps(sweeps, comparisons, choice)]
    return Report(folder, (*experiments, *_panels(folder, sweeps, choice)))


def _papers(papers: Collection[PaperResult], choice: Choice) -> Iterator[Experiment]:
    for paper in papers if "paper" in choice.only else ():
        yield Experiment("paper", (paper_table(paper),), paper)


def _sweeps(sweeps: Collection[Sweep], comparisons: pd.DataFrame, choice: Choice) -> Iterator[Experiment]:
    """The errors of runs that were only done as parts of a comparison stand in its table and in no other."""
    parts = {run_id for ids in comparisons["member_run_ids"] for run_id in ids.split()}
    for sweep in sweeps if "sweep" in choice.only else ():
        if not sweep.reconstructs and not sweep.run_ids <= parts:
            chosen = replace(sweep, metric=choice.metric, reference_p=choice.reference_p)
            yield Experiment("sweep", (sweep_table(chosen, choice.sort),), chosen)


def _without_arms(runs: pd.DataFrame, papers: Collection[PaperResult]) -> pd.DataFrame:
    """The runs without those of experiments whose arms differ in more than p: they are no sweep."""
    curves = {run_id for paper in papers if paper.is_curve for run_id in paper.run_ids}
    arms = {run_id for paper in papers for run_id in paper.run_ids} - curves
    return runs[~(runs["run_id"].isin(list(arms)) & (runs["model"] != "autoencoder"))]


def _panels(folder: Path, sweeps: Collection[Sweep], choice: Choice) -> Iterator[Experiment]:
    """Those of classifiers, then those of autoencoders, which have features."""
    if not {"panel", "features"} & set(choice.only):
        return
    panels = find_panels(read_table(folder, PANEL), sweeps)
    for panel in panels:
        if "panel" in choice.only and not panel.sweep.reconstructs:
            yield Experiment("panel", tuple(panel_tables(panel)), panel)
    for panel in panels:
        if "features" in choice.only and panel.sweep.reconstructs:
            yield Experiment("features", (feature_table(panel),), panel)


def _compared(folder: Path, comparisons: pd.DataFrame, choice: Choice) -> Iterator[Experiment]:
    for comparison in _comparisons(folder, comparisons) if "comparison" in choice.only else ():
        yield Experiment("comparison", tuple(comparison_tables(comparison)), comparison)


def _each(kind: str, tables: Sequence[Table], choice: Choice) -> Iterator[Experiment]:
    return (Experiment(kind, (table,)) for table in tables if kind in choice.only)


def sweeps_of(folder: Path, run_ids: Collection[str]) -> list[Sweep]:
    """The sweeps that the runs with these ids make up."""
    runs = read_table(folder, RUNS)
    return find_sweeps(runs[runs["run_id"].isin(run_ids)])


def panels_of(folder: Path, sweeps: Collection[Sweep]) -> list[Panel]:
    """The panels of these sweeps' runs."""
    return find_panels(read_table(folder, PANEL), sweeps)


def comparisons_of(folder: Path, comparison_ids: Collection[str]) -> list[Comparison]:
    """The comparisons that the rows with these ids make up."""
    comparisons = read_table(folder, COMPARISONS)
    return _comparisons(folder, comparisons[comparisons["comparison_id"].isin(comparison_ids)])


def speed_of(folder: Path, speed_id: str) -> list[Table]:
    """The table of one session of speed measurements."""
    speed = read_table(folder, SPEED)
    return _speed(speed[speed["speed_id"] == speed_id])


def checks_of(folder: Path, verify_id: str) -> list[Table]:
    """The table of the checks that were made at one time."""
    checks = read_table(folder, CHECKS)
    return _checks(checks[checks["verify_id"] == verify_id])


def _comparisons(folder: Path, comparisons: pd.DataFrame) -> list[Comparison]:
    if comparisons.empty:
        return []
    return find_comparisons(comparisons, read_table(folder, DIFFERENCES), read_table(folder, RELIABILITY))


def _speed(speed: pd.DataFrame) -> list[Table]:
    return speed_tables(speed) if not speed.empty else []


def _checks(checks: pd.DataFrame) -> list[Table]:
    return check_tables(checks) if not checks.empty else []
