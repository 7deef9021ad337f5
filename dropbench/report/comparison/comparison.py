"""Comparisons of arms out of the rows of comparisons.csv."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from dropbench.catalog.arms import ARMS, AVERAGINGS, REFERENCE, reference_under
from dropbench.catalog.dropouts import VARIANTS
from dropbench.report.metrics import OF_TASK, Metric
from dropbench.report.statistics import Estimate, seed_differences
from dropbench.report.sweep.find import with_defaults
from dropbench.report.sweep.sweep import AXES, SETTING
from dropbench.run.config import SETTINGS

_AXES = tuple(axis for axis in AXES if SETTINGS[axis].offered_by("compare-bagging"))
_SAME = ("experiment_id", *SETTING, *_AXES, "members", "mc_samples", "budget", "foreign")
HEADLINE = "bagging"
"""The arm whose difference to the reference is the lecture's question; see Comparison.headline."""


@dataclass(frozen=True)
class ArmDifference:
    """An arm's loss less the reference's, in the mean of some seeds, and McNemar's test of each seed.

    The interval is that of the bootstrap over seeds and test examples: see
    dropbench.experiments.bagging.uncertainty.
    """

    estimate: Estimate
    seeds: tuple[int, ...]
    p_better: float
    test_examples: int
    mcnemar: tuple[float, ...]
    """The exact test's p of each seed; empty where the loss is not the error."""


@dataclass(frozen=True)
class Comparison:
    """All arms of one setting, in all their readings: one row for each and for each seed."""

    fields: Mapping[str, Any]
    rows: pd.DataFrame
    left_out: pd.DataFrame
    """The rows of readings for which members are missing."""
    found: tuple[tuple[str, str, str, ArmDifference], ...]
    """Arm, reference (empty: the arm by itself), loss, and what is known of it, of these and other seeds."""
    bins: pd.DataFrame
    """The bins of reliability that belong to these rows."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of its task."""
        return OF_TASK[self.fields["task"]]

    @cached_property
    def metric(self) -> Metric:
        """The metric that the arms are compared in, with the digits that their figures need."""
        metric = self.metrics[0]
        return metric.fitted(self.rows[f"test_{metric.column}"])

    @property
    def calibration(self) -> Metric:
        """The metric of how well calibrated the predictions are."""
        return self.metrics[-1]

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return reference_under(self.fields["budget"])

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that have figures."""
        return tuple(arm for arm in ARMS if (self.rows["arm"] == arm).any())

    @property
    def seeds(self) -> int:
        """How many repetitions there are."""
        return int(self.rows["seed"].nunique())

    @property
    def run_ids(self) -> frozenset[str]:
        """The runs of all members."""
        return frozenset(run_id for ids in self.rows["member_run_ids"] for run_id in ids.split())

    @property
    def headline(self) -> str | None:
        """The arm of the headline pair: bagging, or the first other that averages several nets, or any."""
        others = [arm for arm in self.arms if arm not in (self.reference, REFERENCE)]
        several = [arm for arm in others if ARMS[arm].is_ensemble]
        return HEADLINE if HEADLINE in others else next(iter([*several, *others]), None)

    def readings(self, arm: str, averaging: str = AVERAGINGS[0]) -> pd.DataFrame:
        """The rows of an arm; one that averages nothing has only the arithmetic mean."""
        return self.rows[(self.rows["arm"] == arm) & (self.rows["averaging"] == averaging)]

    def fullest(self, arm: str, averaging: str = AVERAGINGS[0]) -> pd.DataFrame:
        """The row of each seed that has most members or passes."""
        rows = self.readings(arm, averaging).sort_values(["averaged", "passes_per_prediction"], kind="stable")
        return rows.groupby("seed").tail(1).sort_values("seed")

    def difference(self, arm: str, loss: str = "") -> ArmDifference | None:
        """An arm's loss, else its metric, less the reference's, of the seeds in which both have members."""
        loss = loss or self.metric.column
        if arm == self.reference or self.reference not in self.arms:
            return None
        ours, theirs = (self.by_seed(each) for each in (arm, self.reference))
        seeds = tuple(sorted(ours.keys() & theirs.keys()))
        known = self._known(arm, self.reference, loss, seeds)
        if known is None and loss == self.metric.column and seeds:  # the command was cut off before them
            mean = sum(seed_differences(ours, theirs)) / len(seeds)
            return ArmDifference(_without_interval(mean, len(seeds)), seeds, math.nan, 0, ())
        return known

    def error(self, arm: str) -> Estimate:
        """The arm's metric with all its members, with the bootstrap's interval if there is one."""
        errors = self.by_seed(arm)
        known = self._known(arm, "", self.metric.column, tuple(sorted(errors)))
        if known is not None:
            return known.estimate
        return _without_interval(sum(errors.values()) / len(errors), len(errors))

    def by_seed(self, arm: str) -> dict[int, float]:
        """The arm's metric with all its members, by seed."""
        return by_seed(self.fullest(arm), f"test_{self.metric.column}")

    def _known(self, arm: str, reference: str, loss: str, seeds: tuple[int, ...]) -> ArmDifference | None:
        """The last one on disk for exactly these seeds."""
        wanted = (arm, reference, loss)
        return next(
            (d for *key, d in reversed(self.found) if tuple(key) == wanted and d.seeds == seeds), None
        )

    def count(self, arm: str) -> str:
        """How many members an arm has, where not all of them ended well in every seed."""
        planned = int(self.fields["members"])
        found = sorted(set(self.fullest(arm)["averaged"].astype(int)))
        if found == [planned]:
            return str(planned)
        return f"{'–'.join(map(str, (found[0], found[-1]) if len(found) > 1 else found))} of {planned}"

    def name(self, arm: str) -> str:
        """The arm's title, with how many nets or passes it has."""
        title = ARMS[arm].title
        dropout = self.fields["dropout"]
        if arm == REFERENCE and not (dropout in VARIANTS and VARIANTS[dropout].scaled):
            title = "dropout, noise at its mean"
        if ARMS[arm].monte_carlo:
            return f"{title} × {self.fullest(arm)['passes_per_prediction'].max():.0f}"
        return f"{title} × {self.count(arm)}" if ARMS[arm].is_ensemble else title


def _without_interval(mean: float, seeds: int) -> Estimate:
    """What can be said without the predictions, which only the command that made them has."""
    return Estimate(mean, math.nan, math.nan, seeds)


def pooled(comparison: Comparison, arm: str) -> pd.DataFrame:
    """The bins of an arm's reliability with those of several seeds as one, each by its number of examples."""
    ids = comparison.fullest(arm)["comparison_id"]
    bins = comparison.bins[comparison.bins["comparison_id"].isin(ids)]
    means = ["accuracy", "confidence"]
    weighted = bins.assign(**{name: bins[name] * bins["examples"] for name in means})
    sums = weighted.groupby("bin")[["examples", *means]].sum()
    return sums.assign(**{name: sums[name] / sums["examples"] for name in means})


def by_seed(rows: pd.DataFrame, column: str) -> dict[int, float]:
    """A column of rows of which there is one for each seed."""
    return dict(zip(rows["seed"].astype(int), rows[column], strict=True))


def find_comparisons(
    comparisons: pd.DataFrame, differences: pd.DataFrame, reliability: pd.DataFrame
) -> list[Comparison]:
    """The comparisons among the rows of the three files."""
    comparisons = _as_of_now(comparisons)
    found = []
    for values, rows in comparisons.groupby(list(_SAME), dropna=False, sort=False):
        fields = dict(zip(_SAME, values, strict=True))
        complete = rows[f"test_{OF_TASK[str(fields['task'])][0].column}"].notna()
        pairs: Any = differences[differences["experiment_id"] == (fields["experiment_id"] or None)]
        found.append(
            Comparison(
                fields,
                rows[complete],
                rows[~complete],
                _differences(pairs.to_dict("records")),
                reliability[reliability["comparison_id"].isin(rows["comparison_id"])],
            )
        )
    return found


def _as_of_now(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The rows with what an older dropbench did not write: it had five arms, and one way to average."""
    several = comparisons["arm"].isin([arm for arm in ARMS if ARMS[arm].is_ensemble])
    rows = with_defaults(comparisons)
    return rows.assign(
        budget=comparisons["budget"].replace("", "members"),
        averaging=comparisons["averaging"].replace("", AVERAGINGS[0]),
        averaged=comparisons["averaged"].fillna(comparisons["members"].where(several, 1)),
    )


def _differences(rows: Iterable[Mapping[Any, Any]]) -> tuple[tuple[str, str, str, ArmDifference], ...]:
    found = []
    for row in rows:
        seeds = tuple(int(seed) for seed in str(row["seeds"]).split())
        estimate = Estimate(row["difference"], row["low"], row["high"], len(seeds))
        tests = tuple(float(p) for p in row["mcnemar_p"].split())
        difference = ArmDifference(estimate, seeds, row["p_better"], int(row["test_images"]), tests)
        found.append((row["arm"], row["reference"], row["loss"], difference))
    return tuple(found)
