"""The subjects of a results folder, out of its CSV files alone."""

import functools
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dropbench.errors import DropbenchError, unknown_name
from dropbench.report.apart import told_apart
from dropbench.report.comparison.comparison import find_comparisons
from dropbench.report.comparison.subject import ComparisonSubject
from dropbench.report.comparison.tables import comparison_title
from dropbench.report.features.subject import FeaturesSubject
from dropbench.report.find.find import Find, find_finds
from dropbench.report.find.subject import FindSubject
from dropbench.report.find.words import find_title
from dropbench.report.metrics import METRICS, lacking, metrics_of
from dropbench.report.paper.overview import paper_subjects
from dropbench.report.paper.result import PaperResult, find_papers, paper_title
from dropbench.report.paper.subject import PaperSubject
from dropbench.report.speed import find_speed
from dropbench.report.subject import Subject
from dropbench.report.sweep.find import find_sweeps, with_defaults
from dropbench.report.sweep.subject import SweepSubject
from dropbench.report.sweep.sweep import Sweep, sweep_title
from dropbench.report.sweep.table import SORTS
from dropbench.report.table import Table
from dropbench.report.units.panel import find_panels
from dropbench.report.units.subject import PanelSubject
from dropbench.report.verify import find_checks
from dropbench.results.csv_table import CsvTable
from dropbench.results.read import read_table
from dropbench.results.schema import (
    CHECKS,
    COMPARISONS,
    DIFFERENCES,
    EPOCHS,
    FINDS,
    PANEL,
    PAPER,
    RELIABILITY,
    RUNS,
    SPEED,
)

KINDS = ("paper", "find", "sweep", "panel", "features", "comparison", "speed", "verify")
"""The kinds of subjects that a report is made of, in its order."""
_ARE_THERE = (RUNS, SPEED, CHECKS, PAPER, FINDS)
"""A folder without any row of these holds nothing."""

_log = logging.getLogger(__name__)
_Read = Callable[[CsvTable], pd.DataFrame]


@dataclass(frozen=True)
class Choice:
    """The subjects that are reported, and how settings are compared."""

    only: tuple[str, ...] = KINDS
    metric: str = ""
    """The name of one of METRICS; empty for the first of each task."""
    reference_p: float = 0.0
    sort: str = "p"

    def __post_init__(self) -> None:
        """Raise UsageError for a kind, a metric or an order that there is not."""
        if self.metric:
            METRICS.find(self.metric)
        for name in self.only:
            if name not in KINDS:
                raise unknown_name("part of a report", name, KINDS)
        if self.sort not in SORTS:
            raise unknown_name("order", self.sort, SORTS)


@dataclass(frozen=True)
class Report:
    """The subjects that a folder holds, or those of them that were asked for, in the order of KINDS."""

    folder: Path
    subjects: tuple[Subject, ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of all subjects."""
        return tuple(table for subject in self.subjects for table in subject.tables)


def load_report(folder: Path, choice: Choice = Choice()) -> Report:  # frozen
    """Everything in ``folder`` that ``choice`` names.

    Raises:
        DropbenchError: if there is no such folder, or nothing of the choice in it.

    """
    if folder.is_file():
        raise DropbenchError(
            f"{folder} is a file, not a folder.", f"Name the folder that it is in: {folder.parent}"
        )
    if not folder.is_dir():
        raise DropbenchError(f"There is no folder {folder}.", "Run one first: dropbench sweep --p 0.1..0.8")
    read = _reader(folder)
    if all(read(table).empty for table in _ARE_THERE):
        raise DropbenchError(f"{folder} holds no runs.", "Run some first: dropbench sweep --p 0.1..0.8")
    subjects = tuple(_chosen(folder, read, choice))
    if not subjects:
        raise DropbenchError(
            f"{folder} holds nothing of {', '.join(choice.only)}.", "Leave out `only` to see what it holds."
        )
    return Report(folder, subjects)


def sweep_report(folder: Path, run_ids: Collection[str], panels: bool = False, metric: str = "") -> Report:
    """The sweeps that the runs with these ids make up; with ``panels`` also what their units do.

    Raises:
        UsageError: for a metric that none of them has.

    """
    read = _reader(folder)
    sweeps = with_metric(_sweeps_of(read, run_ids, metric), metric)
    found: list[Subject] = [SweepSubject(each, _epochs(read)) for each in _raced(read, sweeps)]
    return Report(folder, (*found, *(_panels(read, sweeps) if panels else ())))


def panel_report(folder: Path, run_ids: Collection[str]) -> Report:
    """The panels of the runs with these ids."""
    read = _reader(folder)
    return Report(folder, tuple(_panels(read, _sweeps_of(read, run_ids))))


def features_report(folder: Path, run_ids: Collection[str]) -> Report:
    """The features of the autoencoders with these ids."""
    read = _reader(folder)
    return Report(folder, tuple(_features(folder, read, _sweeps_of(read, run_ids))))


def comparison_report(
    folder: Path, comparison_ids: Collection[str], panel_run_ids: Collection[str] = ()
) -> Report:
    """The comparisons that the rows with these ids make up, and what the units of runs with such ids do."""
    read = _reader(folder)
    rows = read(COMPARISONS)
    comparisons = _comparisons(read, rows[rows["comparison_id"].isin(comparison_ids)])
    panels = _panels(read, _sweeps_of(read, panel_run_ids)) if panel_run_ids else ()
    return Report(folder, (*comparisons, *panels))


def paper_report(folder: Path, experiment_id: str) -> Report:
    """One experiment of the paper, with what its runs show besides: curves against p, panels, features.

    Raises:
        DropbenchError: if it has no rows.

    """
    read = _reader(folder)
    papers = [each for each in find_papers(read(PAPER), read(RUNS)) if each.experiment_id == experiment_id]
    if not papers:
        raise DropbenchError(f"{folder} holds no run of this experiment that ended.")
    runs = read(RUNS)
    sweeps = _find_sweeps(_without_arms(runs[runs["run_id"].isin(list(papers[0].run_ids))], papers))
    return Report(
        folder,
        (
            *map(PaperSubject, papers),
            *_classifiers(read, sweeps, Choice()),
            *_panels(read, sweeps),
            *_features(folder, read, sweeps),
        ),
    )


def find_report(folder: Path, find_id: str) -> Report:
    """One find.

    Raises:
        DropbenchError: if it has no rows.

    """
    finds = [each for each in _finds(_reader(folder)) if each.fields["find_id"] == find_id]
    if not finds:
        raise DropbenchError(f"{folder} holds no run of this find that ended.")
    return Report(folder, tuple(map(FindSubject, finds)))


def speed_report(folder: Path, speed_id: str) -> Report:
    """One session of speed measurements."""
    speed = read_table(folder, SPEED)
    return Report(folder, tuple(find_speed(speed[speed["speed_id"] == speed_id])))


def verify_report(folder: Path, verify_id: str) -> Report:
    """The checks that were made at one time."""
    checks = read_table(folder, CHECKS)
    return Report(folder, tuple(find_checks(checks[checks["verify_id"] == verify_id])))


def _reader(folder: Path) -> _Read:
    """Reads each CSV file of a folder when it is first asked for, and once."""

    def read(table: CsvTable) -> pd.DataFrame:
        rows = read_table(folder, table)
        return _named_once(rows) if "data_key" in rows else rows

    return functools.cache(read)


def _named_once(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with one name, the last, for the same data: a folder may be told by several paths."""
    named = list(zip(rows["data_key"], rows["data"], strict=True))
    last = {key: name for key, name in named if key}
    return rows.assign(data=[last.get(key, name) for key, name in named])


def with_metric(sweeps: Collection[Sweep], name: str) -> list[Sweep]:
    """The sweeps that have the metric of this name, or all for an empty one; the others are logged.

    Raises:
        UsageError: if there are sweeps, and none has it.

    """
    having = [sweep for sweep in sweeps if name in ("", sweep.metric.name)]
    if sweeps and not having:
        raise lacking(name, next(iter(sweeps)).task)
    for sweep in [each for each in sweeps if name not in ("", each.metric.name)]:
        metrics = ", ".join(metric.name for metric in metrics_of(sweep.task))
        _log.warning(f"Left out, as it has no {name} but {metrics}: {sweep_title(sweep)}.")
    return having


def _find_sweeps(runs: pd.DataFrame, metric: str = "") -> list[Sweep]:
    """The sweeps among rows of runs.csv, each with a title of its own."""
    return told_apart(find_sweeps(runs, metric), sweep_title)


def _raced(read: _Read, sweeps: Iterable[Sweep]) -> Iterator[Sweep]:
    """The sweeps, marked where a find looked at their runs to choose which others to do."""
    raced = {run_id for ids in read(FINDS)["member_run_ids"] for run_id in ids.split()}
    return (replace(sweep, raced=not raced.isdisjoint(sweep.run_ids)) for sweep in sweeps)


def _epochs(read: _Read) -> Callable[[], pd.DataFrame]:
    return functools.partial(read, EPOCHS)


def _chosen(folder: Path, read: _Read, choice: Choice) -> Iterator[Subject]:
    papers = told_apart(find_papers(read(PAPER), read(RUNS)), paper_title)
    wanted = {"sweep", "panel", "features"} & set(choice.only)
    sweeps = _find_sweeps(_without_arms(read(RUNS), papers), choice.metric) if wanted else []
    finders: dict[str, Callable[[], Iterator[Subject]]] = {
        "paper": lambda: paper_subjects(papers),
        "find": lambda: map(FindSubject, _finds(read)),
        "sweep": lambda: _classifiers(read, sweeps, choice),
        "panel": lambda: _panels(read, sweeps),
        "features": lambda: _features(folder, read, sweeps),
        "comparison": lambda: _comparisons(read, read(COMPARISONS)),
        "speed": lambda: iter(find_speed(read(SPEED))),
        "verify": lambda: iter(find_checks(read(CHECKS))),
    }
    for kind in KINDS:
        if kind in choice.only:
            yield from finders[kind]()


def _sweeps_of(read: _Read, run_ids: Collection[str], metric: str = "") -> list[Sweep]:
    runs = read(RUNS)
    return _find_sweeps(runs[runs["run_id"].isin(list(run_ids))], metric)


def _without_arms(runs: pd.DataFrame, papers: Collection[PaperResult]) -> pd.DataFrame:
    """The runs without those of experiments whose arms differ in more than p: they are no sweep."""
    curves = {run_id for paper in papers if paper.is_curve for run_id in paper.run_ids}
    arms = {run_id for paper in papers for run_id in paper.run_ids} - curves
    return runs[~(runs["run_id"].isin(list(arms)) & (runs["model"] != "autoencoder"))]


def _classifiers(read: _Read, sweeps: Collection[Sweep], choice: Choice) -> Iterator[SweepSubject]:
    """The errors of runs that were only done as parts of a comparison stand in its table and in no other."""
    parts = {run_id for ids in read(COMPARISONS)["member_run_ids"] for run_id in ids.split()}
    shown = [sweep for sweep in sweeps if not sweep.reconstructs and not sweep.run_ids <= parts]
    for sweep in _raced(read, with_metric(shown, choice.metric)):
        chosen = replace(sweep, reference_p=choice.reference_p)
        yield SweepSubject(chosen, _epochs(read), choice.sort)


def _finds(read: _Read) -> list[Find]:
    rows = read(FINDS)
    if rows.empty:
        return []
    runs = read(RUNS)
    seconds = dict(zip(runs["run_id"], runs["seconds"], strict=True))
    return told_apart(find_finds(_records(rows), seconds), find_title)


def _records(rows: pd.DataFrame) -> list[Mapping[str, Any]]:
    """The rows as mappings, with what an older dropbench did not write at its default."""
    return [{str(name): cell for name, cell in row.items()} for row in with_defaults(rows).to_dict("records")]


def _panels(read: _Read, sweeps: Collection[Sweep]) -> Iterator[PanelSubject]:
    return map(PanelSubject, find_panels(read(PANEL), [s for s in sweeps if not s.reconstructs]))


def _features(folder: Path, read: _Read, sweeps: Collection[Sweep]) -> Iterator[FeaturesSubject]:
    for panel in find_panels(read(PANEL), [s for s in sweeps if s.reconstructs]):
        yield FeaturesSubject(panel, folder)


def _comparisons(read: _Read, comparisons: pd.DataFrame) -> Iterator[ComparisonSubject]:
    if not comparisons.empty:
        found = find_comparisons(comparisons, read(DIFFERENCES), read(RELIABILITY))
        yield from map(ComparisonSubject, told_apart(found, comparison_title))
