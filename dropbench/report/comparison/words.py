"""The words and columns that the tables of a comparison have for each task."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dropbench.report.comparison.comparison import Comparison
from dropbench.report.metrics import RMSE
from dropbench.report.table import Column, number
from dropbench.run.blocks.data import CLASSIFICATION, REGRESSION


@dataclass(frozen=True)
class Words:
    """The words and columns of a task."""

    likelihoods: Mapping[str, str]
    """The heading of each metric that has a scaled figure beside it, by its column."""
    scaled: str
    """The name of the scaling."""
    factor: str
    """The quantity that is fitted for it."""
    largest_factor: int
    """The largest one that is looked for; the smallest is its inverse."""
    uncorrected: str
    """The figures that are not corrected for several arms, with their verb."""
    members: str
    """A note on the members' figures."""
    uncertainty: str
    """The score that tells out-of-distribution examples."""
    diversity: Callable[[Comparison], tuple[Column, ...]]
    """The columns of members' figures other than their likelihood."""
    out_of_bag: Callable[[Comparison], Column]


_LEAST, _MOST = 1e-3, 1e7
"""Squared errors from the first on and below the second are written without a power of ten."""


def _disagreement(comparison: Comparison) -> tuple[Column, ...]:
    return (
        Column("member\nerror %", number("mean_member_error_percent", ".2f")),
        Column("disagree-\nment %", number("disagreement_percent", ".2f")),
    )


def _squared_errors(comparison: Comparison) -> tuple[Column, ...]:
    members = [comparison.fullest(arm)["mean_member_squared_error"].mean() for arm in comparison.arms]
    fixed = min(members) >= _LEAST and max(members) < _MOST
    form = f".{RMSE.fitted(members).digits}f" if fixed else ".3e"

    def of_ensemble(row: Mapping[str, Any]) -> str:
        return f"{row['mean_member_squared_error'] - row['squared_error_ambiguity']:{form}}"

    return (
        Column("member\nsquared error", number("mean_member_squared_error", form)),
        Column("− ambi-\nguity", number("squared_error_ambiguity", form)),
        Column("= squared\nerror", of_ensemble),
    )


OF_TASK = {
    CLASSIFICATION: Words(
        likelihoods={"nll": "NLL", "brier": "Brier", "ece": "ECE"},
        scaled="after temperature scaling",
        factor="A temperature",
        largest_factor=10,
        uncorrected="McNemar's test and the intervals are",
        members="disagreement is that of two members. Brier's decomposition is in the CSV.",
        uncertainty="entropy",
        diversity=_disagreement,
        out_of_bag=lambda _: Column("out-of-bag\nerror %", number("oob_error_percent", ".2f")),
    ),
    REGRESSION: Words(
        likelihoods={"nll": "NLL", "coverage_error": "coverage\nerror"},
        scaled="after scaling the standard deviations by one factor",
        factor="A factor of the variance",
        largest_factor=10**12,
        uncorrected="The intervals are",
        members="squared errors are in the square of the target's unit, and an arm's is that of its RMSE.",
        uncertainty="variance",
        diversity=_squared_errors,
        out_of_bag=lambda comparison: Column(
            "out-of-bag\nRMSE", number("oob_rmse", f".{comparison.metric.digits}f")
        ),
    ),
}
