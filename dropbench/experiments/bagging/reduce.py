"""Reduce the predictions of an arm to metrics, for every number of members or Monte-Carlo passes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from dropbench.catalog.arms import AVERAGINGS, LOSSES
from dropbench.datasets.dataset import DataSet
from dropbench.engine.evaluate import from_kept, metrics, reliability
from dropbench.experiments.bagging.averaging import Ensemble, out_of_bag_error, quality
from dropbench.experiments.bagging.calibration import at_temperature, detection, entropy, fit_temperature
from dropbench.experiments.bagging.cost import count_flops
from dropbench.experiments.bagging.plan import PlannedArm
from dropbench.run.config import RunConfig
from dropbench.run.result import mc_ladder, ood_split

Kept = Mapping[str, np.ndarray]


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
    """An average's row in comparisons.csv, its rows in reliability.csv, and its losses on each test image."""

    row: dict[str, Any]
    bins: list[dict[str, Any]]
    losses: dict[str, np.ndarray]
    """Arrays ``(examples,)``, one for each of LOSSES."""


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
        arm = average.arm
        runs = self.averaged(average)
        kept = [self._arrays(run) for run in runs]
        labels = {split: torch.from_numpy(kept[0][f"{split}_labels"]) for split in ("val", "test")}
        validated = self._ensemble(average, "val").prediction(average.averaging)
        ensemble = self._ensemble(average, "test")
        predicted = ensemble.prediction(average.averaging)
        temperature = fit_temperature(validated, labels["val"])
        scaled = at_temperature(predicted, temperature)
        row = {
            **self.cells(average),
            **quality(ensemble, average.averaging, labels["test"]),
            "temperature": temperature,
            "val_nll": metrics(validated, labels["val"])["nll"],
            **_scaled_figures("val", at_temperature(validated, temperature), labels["val"], ("nll",)),
            **_scaled_figures("test", scaled, labels["test"], ("nll", "brier", "ece")),
            **self._cost(average, runs),
        }
        if arm.kind.bootstraps:
            rows = [self.finished[run.run_id] for run in runs]
            row["oob_error_percent"] = out_of_bag_error(kept)
            row["distinct_train_percent"] = sum(
                100 * each["distinct_train_images"] / each["train_images"] for each in rows
            ) / len(rows)
        if arm.plan.ood:
            ood = self._ensemble(average, ood_split(arm.plan.ood_key)).prediction(average.averaging)
            row |= detection(entropy(predicted), entropy(ood))
        return Evaluation(
            row, _bins(average, predicted, labels["test"]), _losses(predicted, scaled, labels["test"])
        )

    def _arrays(self, run: RunConfig) -> Kept:
        if run.run_id not in self._kept:
            self._kept[run.run_id] = self.load(run.run_id)
        return self._kept[run.run_id]

    def _ensemble(self, average: Average, split: str) -> Ensemble:
        runs = self.averaged(average)
        if average.arm.kind.monte_carlo:
            rung = mc_ladder(runs[0].dropout.mc_samples).index(average.passes)
            return Ensemble.of_thinned_nets(self._arrays(runs[0]), split, rung, average.passes)
        if average.arm.kind.snapshots:  # the last ones count, as in Huang et al. 2017
            members = list(self._arrays(runs[0])[f"{split}_snapshots"][-average.members :])
        else:
            members = [self._arrays(run)[split] for run in runs]
        return Ensemble.of_members([from_kept(member) for member in members])

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
            "prediction_flops": flops[0].first_thinned + (average.passes - 1) * flops[0].thinned
            if kind.monte_carlo
            else nets * sum(count.prediction for count in flops),
        }


def _epochs_trained(row: Mapping[str, Any]) -> float:
    """How many epochs a run took: all, unless its patience ended it."""
    last: float = row["last_epoch"]
    return float(row["epochs"]) if math.isnan(last) else last  # an older dropbench did not write it


def _scaled_figures(
    split: str, scaled: torch.Tensor, labels: torch.Tensor, names: tuple[str, ...]
) -> dict[str, float]:
    """Metrics after temperature scaling, which does not change the error; NaN where there was none."""
    found = dict.fromkeys(names, math.nan) if scaled.isnan().any() else metrics(scaled, labels)
    return {f"{split}_{name}_scaled": found[name] for name in names}


def _bins(average: Average, predicted: torch.Tensor, labels: torch.Tensor) -> list[dict[str, Any]]:
    """A row of reliability.csv for each bin of confidence that is not empty."""
    columns = zip(*(column.tolist() for column in reliability(predicted.exp(), labels)), strict=True)
    return [
        {
            "comparison_id": average.comparison_id,
            "bin": number,
            "examples": examples,
            "accuracy": right / examples,
            "confidence": confidence / examples,
        }
        for number, (examples, right, confidence) in enumerate(columns)
        if examples
    ]


def _losses(predicted: torch.Tensor, scaled: torch.Tensor, labels: torch.Tensor) -> dict[str, np.ndarray]:
    """Each of LOSSES on every example ``(examples,)``, from log-probabilities before and after scaling."""
    truth = F.one_hot(labels, predicted.shape[1])
    losses = {
        "error_percent": 100 * (predicted.argmax(1) != labels).double(),
        "nll": F.nll_loss(predicted.double(), labels, reduction="none"),
        "nll_scaled": F.nll_loss(scaled, labels, reduction="none"),
        "brier": (predicted.double().exp() - truth).square().sum(1),
    }
    return {name: losses[name].numpy() for name in LOSSES}
