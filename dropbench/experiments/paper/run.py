"""Carry out an experiment: its runs on a workbench, then a row of paper.csv for every point and seed."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dropbench.catalog.arms import AVERAGINGS
from dropbench.datasets.split import largest_train_size
from dropbench.experiments.agenda import once
from dropbench.experiments.bagging.compare import carry_out_comparison
from dropbench.experiments.bagging.plan import ComparisonPlan, runs_of
from dropbench.experiments.bagging.reduce import averages_of
from dropbench.experiments.paper.definition import (
    MEASURE_TITLES,
    PASSES,
    SAME,
    Paper,
    Point,
    all_trials,
    repeats,
)
from dropbench.experiments.paper.tuning import Chosen, with_seed
from dropbench.experiments.watching import Watcher
from dropbench.experiments.workbench import Outcome, Workbench, carry_out
from dropbench.report.paper.result import HIGHER, LOWER
from dropbench.results.csv_file import read_rows
from dropbench.results.read import latest
from dropbench.results.schema import COMPARISONS, PANEL, PAPER, RUNS, SCHEMA_VERSION
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Policy

_NORMAL = 1.96  # standard deviations: a 95 % interval


@dataclass(frozen=True)
class PaperExperiment:
    """An experiment at one scale, its runs bound to a workbench's data and precision."""

    paper: Paper
    scale: str
    seeds: int
    points: tuple[Point, ...]
    """The points, with the runs of seed 0."""

    @classmethod
    def plan(cls, paper: Paper, scale: str, bench: Workbench, seeds: int | None = None) -> "PaperExperiment":
        """Bind the points of a scale to the workbench; ``seeds`` are the scale's unless given.

        Raises:
            UsageError: if the scale is unknown, or a net does not fit the data.

        """
        points = paper.points(scale, largest_train_size(len(bench.data.train_targets), bench.data.validation))
        bound = iter(bench.bind(all_trials(points)))
        bound_points = [replace(point, trials=tuple(next(bound) for _ in point.trials)) for point in points]
        return cls(paper, scale, seeds or paper.scale(scale).seeds, tuple(bound_points))

    @property
    def trials(self) -> list[RunConfig]:
        """The runs of seed 0, point by point."""
        return all_trials(self.points)

    @property
    def experiment_id(self) -> str:
        """Twelve hexadecimal digits that identify the experiment, whatever its number of seeds."""
        identity = " ".join([self.paper.name, self.scale, *(trial.run_id for trial in self.trials)])
        return hashlib.sha256(identity.encode()).hexdigest()[:12]

    @property
    def tune_seeds(self) -> int | None:
        """The number of seeds that the scale wants every trial on; None for all."""
        return self.paper.scale(self.scale).tune_seeds

    @property
    def tried_seeds(self) -> int:
        """The number of seeds, from 0 on, on which every trial of a tuned arm is run."""
        return self.paper.scale(self.scale).tried_seeds(self.seeds)

    def runs(self) -> list[RunConfig]:
        """The runs that are known beforehand, without duplicates, seed by seed.

        What is missing are the seeds of tuned arms that the chosen trial alone is run on.
        """
        if self.paper.axis == PASSES:
            return runs_of(self.comparison().all_arms())
        return once(
            run
            for seed in range(self.seeds)
            for point in self.points
            if seed < self.tried_seeds or not point.tune
            for run in with_seed(point, seed)
        )

    def chosen_runs(self, store: Store) -> list[RunConfig]:
        """The runs that the choice of trials decides, by what is recorded; none before there is a choice."""
        tuned = [point for point in self.points if point.tune]
        if not tuned or self.tried_seeds == self.seeds:
            return []
        recorded, first = (store.finished(), store.ended()), {run.run_id for run in self.runs()}
        if not first <= recorded[1].keys():
            return []
        chosen = [Chosen.of(point, self.seeds, self.tune_seeds, *recorded) for point in tuned]
        later = range(self.tried_seeds, self.seeds)
        found = once(each.run(seed) for seed in later for each in chosen if each.choice is not None)
        return [run for run in found if run.run_id not in first]

    def repeats(self) -> dict[RunConfig, int]:
        """The number of seeds of each trial; the first of a point stands for its best, which is not known."""
        return repeats(self.points, self.seeds, self.tried_seeds)

    @property
    def count(self) -> int:
        """The number of all runs, those included that a choice decides."""
        return len(self.runs()) if self.paper.axis == PASSES else sum(self.repeats().values())

    @property
    def keeps_predictions(self) -> bool:
        """Whether its figures or pictures need the arrays that are kept beside the rows of runs.csv."""
        return self.paper.axis == PASSES or self.points[0].config.task == "reconstruct"

    def comparison(self) -> ComparisonPlan:
        """The comparison that yields the figures of an experiment whose axis is ``passes``."""
        arms = tuple(dict.fromkeys(point.compared_as for point in self.points))
        return ComparisonPlan(self.points[0].config, members=1, seeds=self.seeds, arms=arms)


def carry_out_paper(
    experiment: PaperExperiment, bench: Workbench, store: Store, watcher: Watcher, policy: Policy
) -> Outcome:
    """Carry out the missing runs, then write the missing rows; an interrupted experiment has rows, too.

    Raises:
        DropbenchError: if a result cannot be written.
        KeyboardInterrupt: if the watcher wanted to stop before all runs were done.

    """
    try:
        if experiment.paper.axis == PASSES:
            return carry_out_comparison(experiment.comparison(), bench, store, watcher, policy)
        runs, keeps = experiment.runs(), experiment.keeps_predictions
        outcome = carry_out(runs, bench, store, watcher, policy, keeps)
        failed = policy.fail_fast and outcome.failed
        if not failed and (chosen := experiment.chosen_runs(store)):
            outcome.extend(carry_out(chosen, bench.as_for(runs), store, watcher, policy, keeps))
        return outcome
    finally:  # an interrupted experiment still gets a table of the runs that ended
        written = store.recorded(PAPER)
        store.append_rows(PAPER, (row for row in _rows(experiment, store) if _is_missing(row, written)))


def _is_missing(row: Mapping[str, Any], written: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the row is not written yet, or differs from the written one in a cell."""
    before = written.get(row["row_id"])
    return before is None or any(_differ(cell, before[name]) for name, cell in row.items())


def _differ(now: Any, before: Any) -> bool:
    """Whether two cells differ; None, NaN and the empty string all count as empty."""

    def is_empty(cell: Any) -> bool:
        return cell in (None, "") or cell != cell  # only NaN differs from itself

    return is_empty(now) != is_empty(before) or (not is_empty(now) and bool(now != before))


def _rows(experiment: PaperExperiment, store: Store) -> Iterator[dict[str, Any]]:
    """Yield a row for each point and seed whose run has ended; without a value if it diverged or failed."""
    recorded = _RecordedValues(experiment, store)
    by_key = {point.key: point for point in experiment.points}
    for position, point in enumerate(experiment.points):
        other = by_key[point.against] if point.against else None
        chosen = recorded.chosen(point, experiment)
        for seed in chosen.seeds:
            measured = recorded.cells(point, chosen.run(seed))
            if measured is None:
                continue
            row_id = f"{experiment.experiment_id} {point.arm} {point.x} {seed}"
            yield {
                "row_id": hashlib.sha256(row_id.encode()).hexdigest()[:12],
                "schema_version": SCHEMA_VERSION,
                **_shared_cells(experiment, point.config),
                "position": float(position),
                "arm": point.arm,
                "x": point.x,
                "p_drop": point.config.dropout.p_drop,
                "p_keep": point.config.dropout.p_keep,
                "seed": float(seed),
                "paper_value": point.paper,
                "paper_spread": point.paper_spread,
                "unverified": point.unverified,
                "against": other.arm if other else "",
                "against_x": other.x if other else None,
                "paper_direction": point.expect or (_direction(point, other) if other else ""),
                **measured,
                **chosen.cells(seed),
            }


def _shared_cells(experiment: PaperExperiment, run: RunConfig) -> dict[str, Any]:
    """The cells that describe the experiment; data, precision and some of ``differs`` are from ``run``."""
    paper, scale = experiment.paper, experiment.paper.scale(experiment.scale)
    other_data = f"{run.data.name} in place of {paper.data}. " if run.data.name != paper.data else ""
    return {
        "experiment_id": experiment.experiment_id,
        "paper": paper.name,
        "scale": experiment.scale,
        "title": paper.title,
        "shows": paper.shows,
        "source": paper.source,
        "differs": f"{other_data}{scale.text(run)}, {run.optimizer.precision}. {paper.differs}",
        "data": run.data.name,
        "precision": run.optimizer.precision,
        "axis": paper.axis,
        "measure": paper.measure,
        "unit": MEASURE_TITLES[paper.measure],
    }


def _direction(point: Point, other: Point) -> str:
    """The direction of the difference between the paper's figures of two points; empty without both.

    A difference within the 95 % interval of their spreads counts as SAME.
    """
    if point.paper is None or other.paper is None:
        return ""
    spread = math.hypot(point.paper_spread or 0, other.paper_spread or 0)
    if abs(point.paper - other.paper) <= _NORMAL * spread:
        return SAME
    return LOWER if point.paper < other.paper else HIGHER


class _RecordedValues:
    """The values of an experiment's measure on disk: in runs.csv, panel.csv or comparisons.csv."""

    def __init__(self, experiment: PaperExperiment, store: Store) -> None:
        self._finished, self._ended = store.finished(), store.ended()
        self._measure = experiment.paper.measure
        self._in_panel = self._measure not in RUNS.columns
        self._compared: dict[tuple[str, float | None, int], float] = {}
        self._panel: dict[str, float] = {}
        self._runs: dict[tuple[str, int], RunConfig] = {}
        if experiment.paper.axis == PASSES:
            self._read_comparison(experiment, store)
        elif self._in_panel:
            rows = latest(read_rows(store.folder, PANEL), PANEL)
            self._panel = {row["run_id"]: row["value"] for row in rows if row["measure"] == self._measure}

    def _read_comparison(self, experiment: PaperExperiment, store: Store) -> None:
        """Read the test errors of the arithmetic means, by arm, number of passes and seed."""
        rows = store.recorded(COMPARISONS)
        for arm in experiment.comparison().all_arms():
            self._runs[arm.name, arm.setting.repetition.seed] = arm.runs[0]
            for average in averages_of(arm):
                row = rows.get(average.comparison_id)
                if average.averaging == AVERAGINGS[0] and row is not None:
                    passes = float(average.passes) if arm.kind.monte_carlo else None
                    self._compared[arm.name, passes, arm.setting.repetition.seed] = row["test_error_percent"]

    def chosen(self, point: Point, experiment: PaperExperiment) -> Chosen:
        """The trial of a point that is the best on validation."""
        return Chosen.of(point, experiment.seeds, experiment.tune_seeds, self._finished, self._ended)

    def cells(self, point: Point, run: RunConfig) -> dict[str, Any] | None:
        """The cells with a point's value and the run behind it; None while that run has not ended."""
        run = self._runs.get((point.compared_as, run.repetition.seed), run)
        if run.run_id not in self._ended:
            return None
        row = self._finished.get(run.run_id, {})
        if point.compared_as:
            value = self._compared.get((point.compared_as, point.x, run.repetition.seed))
        else:
            value = self._panel.get(run.run_id) if self._in_panel else row.get(self._measure)
        return {"run_id": run.run_id, "run_started_at": row.get("started_at", ""), "value": value}
