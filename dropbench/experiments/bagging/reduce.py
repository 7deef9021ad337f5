"""Reduce the predictions of an arm to metrics, for every number of members or Monte-Carlo passes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from dropbench.catalog.arms import AVERAGINGS, Arm
from dropbench.datasets.dataset import DataSet
from dropbench.experiments.bagging.classes import Classes
from dropbench.experiments.bagging.cost import count_flops, prediction_flops
from dropbench.experiments.bagging.mixtures import Numbers
from dropbench.experiments.bagging.plan import PlannedArm
from dropbench.experiments.bagging.scoring import OOD, Kept, Scoring
from dropbench.run.blocks.data import CLASSIFICATION, REGRESSION
from dropbench.run.config import RunConfig
from dropbench.run.result import mc_ladder, ood_split

SCORINGS: dict[str, Scoring[Any]] = {CLASSIFICATION: Classes(), REGRESSION: Numbers()}
"""The scoring of each task of a data set."""


@dataclass(frozen=True)
class Average:
    """An arm's averaged prediction with a given number of ``members`` or Monte-Carlo ``passes``.

    ``averaging`` is one of AVERAGINGS. An ensemble needs one forward pass for each member.
    """

    arm: PlannedArm
    averaging: str
    members: int
    passes: int

    @property
    def comparison_id(self) -> str:
        """Twelve hexadecimal digits that identify this average and its row."""
        return self.arm.comparison_id(self.averaging, self.members, self.passes)


def averages_of(arm: PlannedArm) -> list[Average]:
    """All averages of an arm; an arm of a single deterministic net has exactly one."""
    if arm.kind.monte_carlo:
        ladder = mc_ladder(arm.runs[0].dropout.mc_samples)
        return [Average(arm, averaging, 1, passes) for averaging in AVERAGINGS for passes in ladder]
    if not arm.kind.is_ensemble:
        return [Average(arm, AVERAGINGS[0], 1, 1)]
    return [Average(arm, averaging, size, size) for averaging in AVERAGINGS for size in arm.sizes]


@dataclass(frozen=True)
class Evaluation:
    """An average's row in comparisons.csv, its rows in reliability.csv, and its losses."""

    row: dict[str, Any]
    bins: list[dict[str, Any]]
    losses: dict[str, np.ndarray]
    """Arrays ``(examples,)`` of the test split, one for each of dropbench.catalog.arms.losses_of."""


def ensemble_of(
    scoring: Scoring[Any], kind: Arm, runs: Sequence[RunConfig], kept: Sequence[Kept], split: str, size: int
) -> Any:
    """Return the predictions of an arm's ``size`` members or passes for a split, as its scoring takes them.

    ``kept`` has the arrays of each of its ``runs``.
    """
    if kind.monte_carlo:
        return scoring.of_passes(kept[0], split, size, runs[0].dropout.mc_samples)
    if kind.snapshots:  # the last ones count, as in Huang et al. 2017
        return scoring.of_members(list(kept[0][f"{split}_snapshots"][-size:]))
    return scoring.of_members([arrays[split] for arrays in kept])


@dataclass
class Reducer:
    """Evaluates averages on one data set.

    ``finished`` maps the run_id of every run that ended well to its row in runs.csv. ``load`` reads the kept
    arrays of a run_id; they stay in memory until ``forget`` is called.
    """

    data: DataSet
    finished: Mapping[str, Mapping[str, Any]]
    load: Callable[[str], Kept]
    _kept: dict[str, Kept] = field(default_factory=dict)

    def forget(self) -> None:
        """Drop the arrays held in memory."""
        self._kept.clear()

    def usable(self, arm: PlannedArm) -> list[RunConfig]:
        """The arm's runs that ended well, in the arm's order."""
        return [run for run in arm.runs if run.run_id in self.finished]

    def members(self, arm: PlannedArm) -> int:
        """The number of members with predictions; runs that diverged or failed have none."""
        usable = self.usable(arm)
        return len(usable) and (arm.plan.members if arm.kind.snapshots else len(usable))

    def headline(self, arm: PlannedArm) -> Average | None:
        """The arithmetic mean of as many members or passes as there are; None if no run ended well."""
        possible = [
            average
            for average in averages_of(arm)
            if average.averaging == AVERAGINGS[0] and average.members <= self.members(arm)
        ]
        return max(possible, key=lambda average: (average.members, average.passes), default=None)

    def cells(self, average: Average) -> dict[str, Any]:
        """The cells that identify an average: its settings, and the runs that it is made from."""
        arm, plan = average.arm, average.arm.plan
        left_out = len(arm.runs) - len(self.usable(arm))
        missing = average.members > self.members(arm)
        averaged = self.averaged(average)
        return {
            "comparison_id": average.comparison_id,
            "experiment_id": plan.experiment_id,
            "arm": arm.name,
            "members": plan.members,
            "budget": plan.budget,
            "foreign": plan.ood,
            "averaging": average.averaging,
            "averaged": average.members,
            "left_out": left_out,
            **arm.setting.row(),
            "passes_per_prediction": average.passes,
            "member_run_ids": " ".join(run.run_id for run in averaged),
            "member_started_at": " ".join(str(self.finished[run.run_id]["started_at"]) for run in averaged),
            "message": f"{left_out} of {len(arm.runs)} runs did not end ok" if missing else "",
        }

    def averaged(self, average: Average) -> list[RunConfig]:
        """The runs whose predictions are averaged: the first ones that ended well."""
        return self.usable(average.arm)[: None if average.arm.kind.snapshots else average.members]

    def evaluate(self, average: Average) -> Evaluation:
        """Compute all metrics of an average, none of whose members may be missing."""
        arm, scoring = average.arm, self._scoring
        runs = self.averaged(average)
        kept = [self._arrays(run) for run in runs]
        targets = {
            split: torch.from_numpy(kept[0][f"{split}_{scoring.targets}"]) for split in ("val", "test")
        }
        ensembles = {split: self._ensemble(average, split) for split in ("val", "test")}
        if arm.plan.ood:
            ensembles[OOD] = self._ensemble(average, ood_split(arm.plan.ood_key))
        scored = scoring.score(ensembles, targets, average.averaging)
        row = {**self.cells(average), **scored.figures, **self._cost(average, runs)}
        if arm.kind.bootstraps:
            rows = [self.finished[run.run_id] for run in runs]
            row |= scoring.out_of_bag(kept)
            row["distinct_train_percent"] = sum(
                100 * each["distinct_train_images"] / each["train_images"] for each in rows
            ) / len(rows)
        bins = [{"comparison_id": average.comparison_id, **each} for each in scored.bins]
        return Evaluation(row, bins, scored.losses)

    @property
    def _scoring(self) -> Scoring[Any]:
        return SCORINGS[self.data.task]

    def _arrays(self, run: RunConfig) -> Kept:
        if run.run_id not in self._kept:
            self._kept[run.run_id] = self.load(run.run_id)
        return self._kept[run.run_id]

    def _ensemble(self, average: Average, split: str) -> Any:
        """The predictions of the members for a split, as the scoring takes them."""
        runs = self.averaged(average)
        kept = [self._arrays(run) for run in runs]
        return ensemble_of(self._scoring, average.arm.kind, runs, kept, split, average.passes)

    def _cost(self, average: Average, runs: list[RunConfig]) -> dict[str, float]:
        rows = [self.finished[run.run_id] for run in runs]
        flops = [count_flops(run, self.data) for run in runs]
        kind = average.arm.kind
        nets = average.members if kind.snapshots else 1
        return {
            "train_seconds": sum(row["train_seconds"] for row in rows),
            "steps": sum(row["steps"] for row in rows),
            "train_flops": sum(
                count.training * row["train_images"] * _epochs_trained(row)
                for count, row in zip(flops, rows, strict=True)
            ),
            "parameters": nets * sum(row["parameters"] for row in rows),
            "prediction_flops": prediction_flops(flops[0], kind, average.passes),
        }


def _epochs_trained(row: Mapping[str, Any]) -> float:
    """How many epochs a run took: all, unless its patience ended it."""
    last: float = row["last_epoch"]
    return float(row["epochs"]) if math.isnan(last) else last  # an older dropbench did not write it
