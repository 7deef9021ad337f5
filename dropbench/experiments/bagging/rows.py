"""The rows of a comparison: find those that are missing on disk or outdated, and write them."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from dropbench.catalog.arms import ROOTS, losses_of
from dropbench.experiments.bagging.plan import ComparisonPlan, PlannedArm
from dropbench.experiments.bagging.reduce import Average, Evaluation, Reducer, averages_of
from dropbench.experiments.bagging.uncertainty import BootstrapDifference, bootstrap_differences, mcnemar
from dropbench.results.schema import COMPARISONS, DIFFERENCES, RELIABILITY, SCHEMA_VERSION
from dropbench.results.store import Store

NO_REFERENCE = ""
"""The reference in rows of differences.csv that hold an arm's own mean loss, not a difference."""
Pair = tuple[str, str]
"""The names of an arm and of its reference."""
MADE_FROM = ("member_run_ids", "member_started_at", "message")
"""The cells that tell which runs a row was made from, and when these started."""


class Rows:
    """Writes the rows of a plan that are missing on disk or outdated."""

    def __init__(self, plan: ComparisonPlan, reducer: Reducer, store: Store) -> None:
        self._plan = plan
        self._reducer = reducer
        self._store = store
        self._arms = {(arm.name, arm.setting.repetition.seed): arm for arm in plan.all_arms()}
        self._losses = losses_of(reducer.data.task)
        self._headlines = {key: reducer.headline(arm) for key, arm in self._arms.items()}

    def write(self) -> None:
        """Write the rows arm by arm, then the differences between arms."""
        written = self._store.recorded(COMPARISONS)
        pairs = self._missing_pairs()
        compared = {(name, seed) for pair, seeds in pairs.items() for seed in seeds for name in pair}
        losses: dict[tuple[str, int], Mapping[str, np.ndarray]] = {}
        current_seed = 0
        for key, arm in self._arms.items():
            if arm.setting.repetition.seed != current_seed:  # arms share members within a seed only
                self._reducer.forget()
                current_seed = arm.setting.repetition.seed
            missing = [average for average in averages_of(arm) if self._is_missing(average, written)]
            headline = self._write_arm(arm, missing, self._headlines[key], wanted=key in compared)
            if headline is not None:
                losses[key] = headline.losses
        for seeds in {seeds for seeds in pairs.values() if seeds}:
            self._write_differences([pair for pair in pairs if pairs[pair] == seeds], seeds, losses)

    def _is_missing(self, average: Average, written: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether no row is written, or one from other runs, or from runs that were repeated since."""
        row, now = written.get(average.comparison_id), self._reducer.cells(average)
        return row is None or any(row[name] != now[name] for name in MADE_FROM)

    def _write_arm(
        self, arm: PlannedArm, missing: Iterable[Average], headline: Average | None, wanted: bool
    ) -> Evaluation | None:
        """Write the missing averages of an arm.

        An average with too few members that ended well gets a row without metrics. Returns the evaluation of
        the headline where it is ``wanted``, whether its row is missing or not.
        """
        rows: list[Mapping[str, Any]] = []
        of_headline = self._reducer.evaluate(headline) if headline is not None and wanted else None
        for average in missing:
            if average.members > self._reducer.members(arm):
                rows.append(self._reducer.cells(average))
                continue
            is_headline = average == headline
            evaluation = of_headline if is_headline and of_headline else self._reducer.evaluate(average)
            rows.append(evaluation.row)
            if is_headline:
                self._store.append_rows(RELIABILITY, _versioned(evaluation.bins))
        self._store.append_rows(COMPARISONS, _versioned(rows))
        return of_headline

    def _missing_pairs(self) -> dict[Pair, tuple[int, ...]]:
        """The pairs without differences on disk, with the seeds in which both arms have predictions.

        Each arm is paired with NO_REFERENCE and with the reference.
        """
        written = self._store.recorded(DIFFERENCES)
        pairs = [
            (name, other)
            for name in self._plan.arms
            for other in (NO_REFERENCE, self._plan.reference)
            if name != other
        ]
        missing = {}
        for pair in pairs:
            seeds = tuple(
                seed
                for seed in range(self._plan.seeds)
                if all(self._headlines[n, seed] for n in _arms_of(pair))
            )
            if any(self._difference_id(pair, seeds, loss) not in written for loss in self._losses):
                missing[pair] = seeds
        return missing

    def _difference_id(self, pair: Pair, seeds: tuple[int, ...], loss: str) -> str:
        """Twelve hexadecimal digits that identify a difference; other runs or repeated ones change them."""
        headlines = [self._headlines[name, seed] for seed in seeds for name in _arms_of(pair)]
        averages = [headline for headline in headlines if headline]
        made_from = [str(self._reducer.cells(average)[name]) for average in averages for name in MADE_FROM]
        identity = " ".join([*pair, loss, *(average.comparison_id for average in averages), *made_from])
        return hashlib.sha256(identity.encode()).hexdigest()[:12]

    def _write_differences(
        self,
        pairs: list[Pair],
        seeds: tuple[int, ...],
        losses: Mapping[tuple[str, int], Mapping[str, np.ndarray]],
    ) -> None:
        """Write the differences of pairs with the same seeds; all use the same bootstrap draws.

        The same draws of seeds and test examples make the intervals of different arms comparable.
        """
        examples = len(next(iter(next(iter(losses.values())).values())))

        def of(name: str, loss: str) -> np.ndarray:
            """The losses ``(seeds, examples)`` of an arm's headline; zeros for NO_REFERENCE."""
            if name == NO_REFERENCE:
                return np.zeros((len(seeds), examples))
            return np.stack([losses[name, seed][loss] for seed in seeds])

        kinds = [(pair, loss) for pair in pairs for loss in self._losses]
        found: dict[tuple[Pair, str], BootstrapDifference] = {}
        for root in (False, True):
            chosen = [kind for kind in kinds if (kind[1] in ROOTS) == root]
            if chosen:
                ours, theirs = (np.stack([of(pair[side], loss) for pair, loss in chosen]) for side in (0, 1))
                found |= dict(zip(chosen, bootstrap_differences(ours, theirs, root), strict=True))
        rows = []
        for (name, other), loss in kinds:
            difference = found[(name, other), loss]
            row = {
                "difference_id": self._difference_id((name, other), seeds, loss),
                "experiment_id": self._plan.experiment_id,
                "arm": name,
                "reference": other,
                "loss": loss,
                "seeds": " ".join(map(str, seeds)),
                "test_images": examples,
                "difference": difference.mean,
                "low": difference.low,
                "high": difference.high,
            }
            if other != NO_REFERENCE:
                row["p_better"] = difference.p_better
            if other != NO_REFERENCE and loss == "error_percent":
                wrong = [[losses[each, seed][loss] > 0 for each in (name, other)] for seed in seeds]
                row |= _mcnemar_cells([mcnemar(*each) for each in wrong])
            rows.append(row)
        self._store.append_rows(DIFFERENCES, _versioned(rows))


def _arms_of(pair: Pair) -> tuple[str, ...]:
    return tuple(name for name in pair if name != NO_REFERENCE)


def _mcnemar_cells(tests: Iterable[tuple[int, int, float]]) -> dict[str, str]:
    """The results of mcnemar for each seed, as cells with one number a seed."""
    only_arm, only_reference, p = zip(*tests, strict=True)
    return {
        "only_arm_right": " ".join(map(str, only_arm)),
        "only_reference_right": " ".join(map(str, only_reference)),
        "mcnemar_p": " ".join(f"{value:.4g}" for value in p),
    }


def _versioned(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"schema_version": SCHEMA_VERSION, **row} for row in rows]
