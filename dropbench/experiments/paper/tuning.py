"""The trial that a point of an experiment is recorded at: its best on validation."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dropbench.experiments.paper.definition import Point
from dropbench.report.sweep.tuning import Choice, choose, written
from dropbench.run.config import RunConfig

_VALIDATION = {"classify": "val_error_percent", "reconstruct": "val_reconstruction_error"}


@dataclass(frozen=True)
class Chosen:
    """A point of an experiment at one of its trials, which is the only one where nothing is tuned."""

    point: Point
    seeds: Sequence[int]
    """Those of the experiment; where an arm is tuned, all that were ever done, since all show one choice."""
    choice: Choice | None
    """None where nothing is tuned, or the trials have no seed in common."""
    tuned_on: Sequence[int] = ()
    """The seeds that every trial is run on."""

    @classmethod
    def of(
        cls,
        point: Point,
        seeds: int,
        tune_seeds: int | None,
        finished: Mapping[str, Mapping[str, Any]],
        ended: Mapping[str, str],
    ) -> "Chosen":
        """The choice by what is recorded: the rows of runs that ended well, and how every run ended.

        It is made on the first ``tune_seeds`` of all that are recorded, or on all of them.
        """
        if not point.tune:
            return cls(point, range(seeds), None)
        every = list(range(seeds))
        for seed in itertools.count(seeds):
            if not any(run.run_id in ended for run in with_seed(point, seed)):
                break
            every.append(seed)
        tuned_on = every[:tune_seeds]
        column = _VALIDATION[point.config.task]
        validation: list[dict[int, float]] = [{} for _ in point.trials]
        diverged: list[set[int]] = [set() for _ in point.trials]
        for seed in tuned_on:
            for number, run in enumerate(with_seed(point, seed)):
                value = finished.get(run.run_id, {}).get(column)
                if value is not None and value == value:  # NaN is not
                    validation[number][seed] = value
                elif ended.get(run.run_id) == "diverged":
                    diverged[number].add(seed)
        return cls(point, every, choose(validation, diverged), tuned_on)

    def run(self, seed: int) -> RunConfig:
        """The run of the chosen trial."""
        return self.point.trials[self.choice.number if self.choice else 0].replace(seed=seed)

    def cells(self, seed: int) -> dict[str, Any]:
        """The cells that tell of the trials; none where nothing is tuned."""
        tune = self.point.tune
        if not tune:
            return {}
        tried = with_seed(self.point, seed) if seed in self.tuned_on else [self.run(seed)]
        told = {"tune": written(tune), "trial_run_ids": " ".join(run.run_id for run in tried)}
        if self.choice is None:
            return {**told, "value": None}
        settings = self.run(seed).settings()
        return {
            **told,
            "trial": written({name: [settings[name]] for name in tune}),
            "trials": float(len(self.point.trials) - self.choice.without),
            "seeds_of_choice": float(len(self.choice.seeds)),
        }


def with_seed(point: Point, seed: int) -> list[RunConfig]:
    """The runs of all trials of a point on a seed."""
    return [trial.replace(seed=seed) for trial in point.trials]
