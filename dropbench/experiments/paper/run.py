"""Carrying out an experiment: its runs on a bench, and a row of paper.csv for every arm, place and seed."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dropbench.arms import AVERAGINGS
from dropbench.config import RunConfig
from dropbench.experiments.bagging.compare import compare
from dropbench.experiments.bagging.plan import Plan
from dropbench.experiments.bagging.reduce import readings_of
from dropbench.experiments.paper.definition import HIGHER, LOWER, MEASURES, PASSES, SAME, Paper, Point
from dropbench.experiments.workbench import Outcome, Policy, Watcher, Workbench, carry_out
from dropbench.recipes import recipe_of
from dropbench.results.csv_file import read_rows
from dropbench.results.read import latest
from dropbench.results.schema import COMPARISONS, PANEL, PAPER, SCHEMA_VERSION
from dropbench.results.store import Store

# What of a row may be otherwise than before: another run behind it, or another text of the experiment.
_MADE_OF = (
    "run_id",
    "run_started_at",
    "value",
    "paper_value",
    "unverified",
    "paper_direction",
    "differs",
    "title",
)


@dataclass(frozen=True)
class Experiment:
    """A paper's experiment at one scale, its runs bound to a bench's images and precision."""

    paper: Paper
    scale: str
    seeds: int
    points: tuple[Point, ...]
    """Of seed 0."""

    @classmethod
    def plan(cls, paper: Paper, scale: str, bench: Workbench, seeds: int | None = None) -> "Experiment":
        """Raises UsageError if it does not fit the bench's images."""
        points = paper.points(scale)
        bound = bench.bind([point.config for point in points])
        placed = tuple(replace(point, config=config) for point, config in zip(points, bound, strict=True))
        return cls(paper, scale, seeds or paper.scale(scale).seeds, placed)

    @property
    def experiment_id(self) -> str:
        """Twelve hexadecimal digits that name it, however many seeds it has."""
        identity = " ".join([self.paper.name, self.scale, *(point.config.run_id for point in self.points)])
        return hashlib.sha256(identity.encode()).hexdigest()[:12]

    def runs(self) -> list[RunConfig]:
        """All of them, each once, all of one seed before the next."""
        found = [replace(point.config, seed=seed) for seed in range(self.seeds) for point in self.points]
        return list({run.run_id: run for run in found}.values())

    def comparison(self) -> Plan:
        """Of an experiment on passes: what compare-bagging makes of it."""
        arms = tuple(dict.fromkeys(point.reading for point in self.points))
        return Plan(self.points[0].config, members=1, seeds=self.seeds, arms=arms)


def carry_out_paper(
    experiment: Experiment, bench: Workbench, store: Store, watcher: Watcher, policy: Policy
) -> Outcome:
    """Carry out the runs that are not done yet, and write the rows that are not there yet.

    Raises:
        DropbenchError: if a result cannot be written.
        KeyboardInterrupt: if the watcher wanted to stop before all was done.

    """
    runs = experiment.runs()
    if experiment.paper.axis == PASSES:
        outcome = compare(experiment.comparison(), bench, store, watcher, policy)
    else:
        # Features are drawn from what is kept beside the rows.
        reconstructs = recipe_of(runs[0].model).task == "reconstruct"
        outcome = carry_out(runs, bench, store, watcher, policy, with_predictions=reconstructs)
    written = store.recorded(PAPER)
    store.append_rows(PAPER, (row for row in _rows(experiment, store) if _is_new(row, written)))
    return outcome


def _is_new(row: Mapping[str, Any], written: Mapping[str, Mapping[str, Any]]) -> bool:
    before = written.get(row["row_id"])
    return before is None or any(_differ(row[name], before[name]) for name in _MADE_OF)


def _differ(now: Any, before: Any) -> bool:
    def is_empty(cell: Any) -> bool:
        return cell in (None, "") or cell != cell  # NaN is not itself

    return is_empty(now) != is_empty(before) or (not is_empty(now) and bool(now != before))


def _rows(experiment: Experiment, store: Store) -> Iterator[dict[str, Any]]:
    """A row for each point and seed that has a figure."""
    finished = store.finished()
    values = _Values(experiment, store, finished)
    paper = experiment.paper
    papers = {point.key: point.paper for point in experiment.points}
    for position, point in enumerate(experiment.points):
        other, place = point.against or ("", None)
        expected = point.expect or _expected(
            point.paper, papers.get(point.against) if point.against else None
        )
        for seed in range(experiment.seeds):
            run = replace(point.config, seed=seed)
            found = values.of(point, run)
            if found is None:
                continue
            value, run_id = found
            row_id = f"{experiment.experiment_id} {point.arm} {point.x} {seed}"
            yield {
                "row_id": hashlib.sha256(row_id.encode()).hexdigest()[:12],
                "schema_version": SCHEMA_VERSION,
                "experiment_id": experiment.experiment_id,
                "paper": paper.name,
                "scale": experiment.scale,
                "title": paper.title,
                "shows": paper.shows,
                "source": paper.source,
                "differs": f"{paper.scale(experiment.scale).text(run)}. {paper.differs}",
                "data": run.data,
                "precision": run.precision,
                "position": float(position),
                "arm": point.arm,
                "axis": paper.axis,
                "x": point.x,
                "p_drop": run.p_drop,
                "p_keep": run.p_keep,
                "seed": float(seed),
                "measure": paper.measure,
                "unit": MEASURES[paper.measure],
                "value": value,
                "paper_value": point.paper,
                "paper_spread": point.paper_spread,
                "unverified": point.unverified,
                "against": other,
                "against_x": place,
                "paper_direction": expected,
                "run_id": run_id,
                "run_started_at": finished[run_id]["started_at"],
            }


def _expected(paper: float | None, other: float | None) -> str:
    """What the paper's figures say of the difference."""
    if paper is None or other is None:
        return ""
    return SAME if paper == other else LOWER if paper < other else HIGHER


class _Values:
    """The figure of a point in a run, and the run that it is of; None where there is none."""

    def __init__(
        self, experiment: Experiment, store: Store, finished: Mapping[str, Mapping[str, Any]]
    ) -> None:
        self._finished = finished
        self._measure = experiment.paper.measure
        self._compared: dict[tuple[str, float | None, int], tuple[float, str]] = {}
        self._panel: dict[str, float] = {}
        if experiment.paper.axis == PASSES:
            self._read_comparison(experiment, store)
        elif not self._measure.startswith("test_"):
            rows = latest(read_rows(store.folder, PANEL, lambda sentence: None), PANEL)
            self._panel = {row["run_id"]: row["value"] for row in rows if row["measure"] == self._measure}

    def _read_comparison(self, experiment: Experiment, store: Store) -> None:
        rows = store.recorded(COMPARISONS)
        for arm in experiment.comparison().all_arms():
            for reading in readings_of(arm):
                row = rows.get(reading.comparison_id)
                if reading.averaging != AVERAGINGS[0] or row is None or math.isnan(row["test_error_percent"]):
                    continue
                place = float(reading.passes) if arm.kind.monte_carlo else None
                found = (row["test_error_percent"], row["member_run_ids"])
                self._compared[arm.name, place, arm.setting.seed] = found

    def of(self, point: Point, run: RunConfig) -> tuple[float, str] | None:
        if point.reading:
            return self._compared.get((point.reading, point.x, run.seed))
        if run.run_id not in self._finished:
            return None
        if self._panel:
            value = self._panel.get(run.run_id, math.nan)
        else:
            value = self._finished[run.run_id][self._measure]
        return None if math.isnan(value) else (value, run.run_id)
