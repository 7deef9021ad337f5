"""The rows of a comparison: which of them are not on disk yet, and writing those."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dropbench.catalog.arms import LOSSES
from dropbench.experiments.bagging.plan import ComparisonPlan, PlannedArm
from dropbench.experiments.bagging.reduce import Average, Measured, Reducer, averages_of
from dropbench.experiments.bagging.uncertainty import bootstrap_differences, mcnemar
from dropbench.results.schema import COMPARISONS, DIFFERENCES, RELIABILITY, SCHEMA_VERSION
from dropbench.results.store import Store

NOTHING = ""
"""Stands for the reference where an arm's losses are taken by themselves."""
Pair = tuple[str, str]
"""An arm and its reference."""
_MADE_OF = ("member_run_ids", "member_started_at", "message")
"""The cells of a row that say from which runs, and from which time they were done, it was made."""


class Rows:
    """Which rows of a comparison are not on disk, and writing them."""

    def __init__(self, plan: ComparisonPlan, reducer: Reducer, store: Store) -> None:
        self._plan = plan
        self._reducer = reducer
        self._store = store
        self._arms = {(arm.name, arm.setting.repetition.seed): arm for arm in plan.all_arms()}
        self._headlines = {key: reducer.headline(arm) for key, arm in self._arms.items()}

    def write(self) -> None:
        """Write them, an arm at a time."""
        written = self._store.recorded(COMPARISONS)
        pairs = self._new_pairs()
        compared = {(name, seed) for pair, seeds in pairs.items() for seed in seeds for name in pair}
        losses: dict[tuple[str, int], Mapping[str, np.ndarray]] = {}
        seed_at_hand = 0
        for key, arm in self._arms.items():
            if arm.setting.repetition.seed != seed_at_hand:  # members are shared between the arms of a seed
                self._reducer.forget()
                seed_at_hand = arm.setting.repetition.seed
            new = [average for average in averages_of(arm) if self._is_new(average, written)]
            measured = self._write_arm(arm, new, self._headlines[key], wanted=key in compared)
            if measured is not None:
                losses[key] = measured.losses
        for seeds in {seeds for seeds in pairs.values() if seeds}:
            self._write_differences([pair for pair in pairs if pairs[pair] == seeds], seeds, losses)

    def _is_new(self, average: Average, written: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether there is no row, or one of other members, or of the same before they were done again."""
        row, now = written.get(average.comparison_id), self._reducer.cells(average)
        return row is None or any(row[name] != now[name] for name in _MADE_OF)

    def _write_arm(
        self, arm: PlannedArm, new: Iterable[Average], headline: Average | None, wanted: bool
    ) -> Measured | None:
        """Write the new averages of an arm; measure its headline if that is one of them, or ``wanted``."""
        rows: list[Mapping[str, Any]] = []
        of_headline = self._reducer.measure(headline) if headline is not None and wanted else None
        for average in new:
            if average.members > self._reducer.members(arm):
                rows.append(self._reducer.cells(average))
                continue
            measured = of_headline if average == headline and of_headline else self._reducer.measure(average)
            rows.append(measured.row)
            if average == headline:
                self._store.append_rows(RELIABILITY, _versioned(measured.bins))
        self._store.append_rows(COMPARISONS, _versioned(rows))
        return of_headline

    def _new_pairs(self) -> dict[Pair, tuple[int, ...]]:
        """What has no differences on disk: each arm by itself, and against the reference.

        With the seeds in which both have members.
        """
        written = self._store.recorded(DIFFERENCES)
        pairs = [
            (name, other)
            for name in self._plan.arms
            for other in (NOTHING, self._plan.reference)
            if name != other
        ]
        new = {}
        for pair in pairs:
            seeds = tuple(
                seed
                for seed in range(self._plan.seeds)
                if all(self._headlines[n, seed] for n in _named(pair))
            )
            if any(self._difference_id(pair, seeds, loss) not in written for loss in LOSSES):
                new[pair] = seeds
        return new

    def _difference_id(self, pair: Pair, seeds: tuple[int, ...], loss: str) -> str:
        read = [self._headlines[name, seed] for seed in seeds for name in _named(pair)]
        made_of = [
            str(self._reducer.cells(average)[name]) for average in read if average for name in _MADE_OF
        ]
        identity = " ".join([*pair, loss, *(r.comparison_id for r in read if r), *made_of])
        return hashlib.sha256(identity.encode()).hexdigest()[:12]

    def _write_differences(
        self,
        pairs: list[Pair],
        seeds: tuple[int, ...],
        losses: Mapping[tuple[str, int], Mapping[str, np.ndarray]],
    ) -> None:
        """Of pairs that have the same seeds; all with the same draws of seeds and images."""

        def of(name: str, loss: str) -> np.ndarray:
            """``(seeds, images)``."""
            return np.stack([losses[name, seed][loss] for seed in seeds])

        kinds = [(pair, loss) for pair in pairs for loss in LOSSES]
        stacked = np.stack(
            [of(name, loss) - (of(other, loss) if other != NOTHING else 0) for (name, other), loss in kinds]
        )
        rows = []
        for ((name, other), loss), found in zip(kinds, bootstrap_differences(stacked), strict=True):
            row = {
                "difference_id": self._difference_id((name, other), seeds, loss),
                "experiment_id": self._plan.experiment_id,
                "arm": name,
                "reference": other,
                "loss": loss,
                "seeds": " ".join(map(str, seeds)),
                "test_images": stacked.shape[2],
                "difference": found.mean,
                "low": found.low,
                "high": found.high,
            }
            if other != NOTHING:
                row["p_better"] = found.p_better
            if other != NOTHING and loss == "error_percent":
                wrong = [[losses[each, seed][loss] > 0 for each in (name, other)] for seed in seeds]
                row |= _tests([mcnemar(*each) for each in wrong])
            rows.append(row)
        self._store.append_rows(DIFFERENCES, _versioned(rows))


def _named(pair: Pair) -> tuple[str, ...]:
    return tuple(name for name in pair if name != NOTHING)


def _tests(tests: Iterable[tuple[int, int, float]]) -> dict[str, str]:
    """McNemar's test of each seed, as cells."""
    only_arm, only_reference, p = zip(*tests, strict=True)
    return {
        "only_arm_right": " ".join(map(str, only_arm)),
        "only_reference_right": " ".join(map(str, only_reference)),
        "mcnemar_p": " ".join(f"{value:.4g}" for value in p),
    }


def _versioned(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"schema_version": SCHEMA_VERSION, **row} for row in rows]
