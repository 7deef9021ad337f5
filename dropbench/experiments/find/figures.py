"""The figures of candidates: rows of finds.csv, from what is recorded of their runs."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from dropbench.datasets.dataset import DataSet
from dropbench.experiments.bagging.cost import count_flops, prediction_flops
from dropbench.experiments.bagging.reduce import SCORINGS, ensemble_of
from dropbench.experiments.bagging.scoring import Kept
from dropbench.experiments.find.candidates import Averaged, Candidate
from dropbench.experiments.find.in_code import in_code
from dropbench.report.find.standing import Within
from dropbench.report.metrics import Metric
from dropbench.results.predictions import load
from dropbench.results.schema import SCHEMA_VERSION
from dropbench.run.config import RunConfig


@dataclass(frozen=True)
class FindPlan:
    """A find: its candidates, and what they are compared in."""

    candidates: tuple[Candidate, ...]
    metric: Metric
    within: Within

    @cached_property
    def find_id(self) -> str:
        """Twelve hexadecimal digits that identify the find, whatever it has spent."""
        parts = [self.metric.name, repr(self.within.least), repr(self.within.share)]
        for each in self.candidates:
            parts += [str(each.averaged), *(run.run_id for run in each.runs(0))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]

    @property
    def averages(self) -> bool:
        """Whether predictions are to be kept, since a candidate averages several."""
        return any(each.averaged for each in self.candidates)


@dataclass
class Figures:
    """Makes the rows of a plan from the rows of runs.csv, by run_id, and the predictions that are kept."""

    plan: FindPlan
    data: DataSet
    folder: Path
    budget: str
    _shared: dict[int, dict[str, Any]] = field(default_factory=dict)
    _averages: dict[tuple[Any, ...], float] = field(default_factory=dict)
    """Metrics of averaged predictions, which take time, by what they are made from."""

    def row(
        self, place: int, seed: int, recorded: Mapping[str, Mapping[str, Any]], tested: bool = False
    ) -> dict[str, Any]:
        """The row of a candidate and a seed, all of whose runs ended; ``tested`` looks at the test examples.

        Where a run of it diverged or failed, it has no figures, and says so.
        """
        candidate = self.plan.candidates[place]
        runs = candidate.runs(seed)
        rows = [recorded[run.run_id] for run in runs]
        bad = [row for row in rows if row["status"] != "ok"]
        row = {
            **self._of_candidate(place),
            **candidate.setting.replace(seed=seed).row(),
            "row_id": self._row_id(place, seed),
            "val_figure": math.nan if bad else self._figure(place, seed, rows, "val"),
            "test_figure": self._figure(place, seed, rows, "test") if tested and not bad else math.nan,
            "member_run_ids": " ".join(run.run_id for run in runs),
            "member_started_at": " ".join(str(each["started_at"]) for each in rows),
            "message": f"seed {seed} {bad[0]['status']}: {bad[0]['message']}" if bad else "",
        }
        for name in ("validation_images", "test_images"):
            row[name] = next((each[name] for each in rows if each["status"] == "ok"), math.nan)
        return row

    def _row_id(self, place: int, seed: int) -> str:
        return hashlib.sha256(f"{self.plan.find_id} {place} {seed}".encode()).hexdigest()[:12]

    def _of_candidate(self, place: int) -> dict[str, Any]:
        """The cells that are the same for all seeds of a candidate."""
        if place not in self._shared:
            candidate = self.plan.candidates[place]
            averaged = candidate.averaged
            runs = candidate.runs(0)
            self._shared[place] = {
                "schema_version": SCHEMA_VERSION,
                "find_id": self.plan.find_id,
                "place": place,
                "arm": averaged.name if averaged else "",
                "members": averaged.members if averaged else math.nan,
                "budget": self.budget,
                "metric": self.plan.metric.name,
                "within": self.plan.within.least,
                "within_share": self.plan.within.share,
                "in_code": in_code(
                    candidate.setting,
                    self.data,
                    averaged.name if averaged else "",
                    averaged.members if averaged else 1,
                ),
                **self._cost(candidate, runs),
            }
        return self._shared[place]

    def _cost(self, candidate: Candidate, runs: tuple[RunConfig, ...]) -> dict[str, float]:
        """The cost of a candidate: floating-point operations on one example, and forward passes."""
        count, averaged = count_flops(runs[0], self.data), candidate.averaged
        passes = averaged.members if averaged else 1
        of_one = prediction_flops(count, averaged.kind, passes) if averaged else count.prediction
        return {
            "train_flops": sum(count.training * run.optimizer.epochs for run in runs),
            "prediction_flops": of_one,
            "passes_per_prediction": passes,
        }

    def _figure(self, place: int, seed: int, rows: list[Mapping[str, Any]], split: str) -> float:
        """The metric of a candidate on a split, ``val`` or ``test``."""
        averaged = self.plan.candidates[place].averaged
        if averaged is None or not (averaged.kind.is_ensemble or averaged.kind.monte_carlo):
            return float(rows[0][f"{split}_{self.plan.metric.column}"])
        key = place, seed, split, tuple(row["started_at"] for row in rows)
        if key not in self._averages:
            self._averages[key] = self._average(averaged, self.plan.candidates[place].runs(seed), split)
        return self._averages[key]

    def _average(self, averaged: Averaged, runs: tuple[RunConfig, ...], split: str) -> float:
        """The metric of an averaged prediction."""
        scoring = SCORINGS[self.data.task]
        kept: list[Kept] = [load(self.folder, run.run_id) for run in runs]
        ensemble = ensemble_of(scoring, averaged.kind, runs, kept, split, averaged.members)
        targets = torch.from_numpy(kept[0][f"{split}_{scoring.targets}"])
        return scoring.metrics(ensemble, targets)[self.plan.metric.column]
