"""From the rows of comparisons.csv to what a comparison of arms shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dropbench.arms import ARMS, AVERAGINGS, REFERENCE
from dropbench.report.statistics import Estimate, mean_interval
from dropbench.report.sweep import SETTING
from dropbench.variants import VARIANTS

_SAME = (
    "experiment_id",
    *SETTING,
    "dropout",
    "p_drop",
    "p_drop_input",
    "p_drop_conv",
    "train_size",
    "layers",
    "members",
    "mc_samples",
    "budget",
    "foreign",
)
HEADLINE = "bagging"
"""The arm whose difference to the reference is the lecture's question; see Comparison.headline."""


@dataclass(frozen=True)
class Difference:
    """An arm's loss less the reference's, in the mean of some seeds, and McNemar's test of each seed.

    The interval is that of the bootstrap over seeds and test images: see
    dropbench.experiments.bagging.uncertainty.
    """

    estimate: Estimate
    p_better: float
    test_images: int
    mcnemar: tuple[float, ...]
    """The exact test's p of each seed; empty where the loss is not the error."""


@dataclass(frozen=True)
class Comparison:
    """All arms of one setting, in all their readings: one row for each and for each seed."""

    fields: Mapping[str, Any]
    rows: pd.DataFrame
    left_out: pd.DataFrame
    """The rows of readings for which members are missing."""
    differences: Mapping[tuple[str, str], Difference]
    """To the reference, by arm and loss."""
    losses: Mapping[tuple[str, str], Estimate]
    """Likewise, of each arm by itself."""
    bins: pd.DataFrame
    """Of reliability, of these rows."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Those that have figures."""
        return tuple(arm for arm in ARMS if (self.rows["arm"] == arm).any())

    @property
    def seeds(self) -> int:
        """How many repetitions there are."""
        return int(self.rows["seed"].nunique())

    @property
    def run_ids(self) -> frozenset[str]:
        """Of all members."""
        return frozenset(run_id for ids in self.rows["member_run_ids"] for run_id in ids.split())

    @property
    def headline(self) -> str | None:
        """The arm of the headline pair: bagging, or the first other that averages several nets, or any."""
        others = [arm for arm in self.arms if arm != REFERENCE]
        several = [arm for arm in others if ARMS[arm].averages]
        return HEADLINE if HEADLINE in others else next(iter([*several, *others]), None)

    def readings(self, arm: str, averaging: str = AVERAGINGS[0]) -> pd.DataFrame:
        """The rows of an arm; one that averages nothing has only the arithmetic mean."""
        return self.rows[(self.rows["arm"] == arm) & (self.rows["averaging"] == averaging)]

    def fullest(self, arm: str, averaging: str = AVERAGINGS[0]) -> pd.DataFrame:
        """Of each seed, the row with all members or passes that there are."""
        rows = self.readings(arm, averaging).sort_values(["averaged", "passes_per_prediction"], kind="stable")
        return rows.groupby("seed").tail(1).sort_values("seed")

    def error(self, arm: str) -> Estimate:
        """The test error of an arm with all its members, with the bootstrap's interval if there is one."""
        of_seeds = mean_interval(list(self.fullest(arm)["test_error_percent"]))
        return self.losses.get((arm, "error_percent"), of_seeds)

    def name(self, arm: str) -> str:
        """The arm's title, with how many nets or passes it has."""
        title = ARMS[arm].title
        dropout = self.fields["dropout"]
        if arm == REFERENCE and not (dropout in VARIANTS and VARIANTS[dropout].scaled):
            title = "dropout, noise at its mean"
        if ARMS[arm].monte_carlo:
            return f"{title} × {self.fullest(arm)['passes_per_prediction'].max():.0f}"
        return f"{title} × {self.fields['members']:.0f}" if ARMS[arm].averages else title


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
        complete = rows["test_error_percent"].notna()
        pairs = differences[differences["experiment_id"] == (fields["experiment_id"] or None)]
        pairs = pairs[pairs["seeds"] <= rows["seed"].nunique()]
        found.append(
            Comparison(
                fields,
                rows[complete],
                rows[~complete],
                _differences(pairs[pairs["reference"] != ""]),
                {key: found.estimate for key, found in _differences(pairs[pairs["reference"] == ""]).items()},
                reliability[reliability["comparison_id"].isin(rows["comparison_id"])],
            )
        )
    return found


def _as_of_now(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The rows with what an older dropbench did not write: it had five arms, and one way to average."""
    several = comparisons["arm"].isin([arm for arm in ARMS if ARMS[arm].averages])
    return comparisons.assign(
        dropout=comparisons["dropout"].replace("", "bernoulli"),
        budget=comparisons["budget"].replace("", "members"),
        averaging=comparisons["averaging"].replace("", AVERAGINGS[0]),
        averaged=comparisons["averaged"].fillna(comparisons["members"].where(several, 1)),
    )


def _differences(pairs: pd.DataFrame) -> dict[tuple[str, str], Difference]:
    """Of each arm and loss the difference over most seeds."""
    return {
        (row["arm"], row["loss"]): Difference(
            Estimate(row["difference"], row["low"], row["high"], int(row["seeds"])),
            row["p_better"],
            int(row["test_images"]),
            tuple(map(float, row["mcnemar_p"].split())),
        )
        for row in pairs.sort_values("seeds", kind="stable").to_dict("records")
    }
