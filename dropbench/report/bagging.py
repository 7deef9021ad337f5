"""From the rows of comparisons.csv to the table of arms."""

import math
from typing import Any

import pandas as pd

from dropbench.report.statistics import mean_interval, paired_difference
from dropbench.report.sweep import SETTING
from dropbench.report.table import Column, Row, Table
from dropbench.variants import VARIANTS

ARMS = {
    "single": "single net, p = 0",
    "dropout": "dropout, weight scaling",
    "dropout-mc": "dropout, Monte-Carlo",
    "bagging": "bagging",
    "ensemble": "ensemble, all data",
}
REFERENCE = "dropout"
_COMPARISON = (
    *SETTING,
    "dropout",
    "p_drop",
    "p_drop_input",
    "p_drop_conv",
    "train_size",
    "layers",
    "members",
    "mc_samples",
)


def comparison_tables(comparisons: pd.DataFrame) -> list[Table]:
    """One table for every setting in which the arms were compared."""
    tables = []
    # Before there were variants, the column was not written.
    comparisons = comparisons.assign(dropout=comparisons["dropout"].replace("", "bernoulli"))
    for values, group in comparisons.groupby(list(_COMPARISON), dropna=False, sort=False):
        tables.append(_table(dict(zip(_COMPARISON, values, strict=True)), group))
    return tables


def _table(fields: dict[str, Any], group: pd.DataFrame) -> Table:
    complete = group[group["test_error_percent"].notna()]
    by_arm = dict(iter(complete.groupby("arm")))
    reference = _by_seed(by_arm.get(REFERENCE), "test_error_percent")
    rows = [_row(arm, by_arm[arm], reference) for arm in ARMS if arm in by_arm]
    names = {
        **ARMS,
        **(
            {}
            if fields["dropout"] in VARIANTS and VARIANTS[fields["dropout"]].scaled
            else {"dropout": "dropout, noise at its mean"}
        ),
        "dropout-mc": f"{ARMS['dropout-mc']} × {fields['mc_samples']:.0f}",
        "bagging": f"{ARMS['bagging']} × {fields['members']:.0f}",
        "ensemble": f"{ARMS['ensemble']} × {fields['members']:.0f}",
    }
    columns = (
        Column("arm", lambda row: names[row["arm"]], left=True),
        Column("seeds", lambda row: str(row["seeds"])),
        Column("test error, %\n[95 % interval]", lambda row: row["_error"].text()),
        Column(
            "paired difference to\ndropout [95 %]",
            lambda row: "reference" if row["arm"] == REFERENCE else row["_difference"].text(signed=True),
        ),
        Column("NLL", lambda row: f"{row['test_nll']:.3f}"),
        Column("ECE", lambda row: f"{row['test_ece']:.3f}"),
        Column("train\nseconds", lambda row: f"{row['train_seconds']:.1f}"),
        Column("para-\nmeters", lambda row: f"{row['parameters'] / 1e6:.1f} M"),
        Column("forward\npasses", lambda row: f"{row['passes_per_prediction']:.0f}"),
    )
    size = "" if math.isnan(fields["train_size"]) else f", {fields['train_size']:.0f} training images"
    title = (
        f"Dropout ({fields['dropout']}) and bagging: {fields['model']} on {fields['data']}, "
        f"p_drop {fields['p_drop']:g} "
        f"(p_keep {1 - fields['p_drop']:g}), {fields['epochs']:.0f} epochs{size}, {fields['precision']}"
    )
    return Table("comparison", title, columns, tuple(rows), tuple(_notes(group, rows)))


def _row(arm: str, rows: pd.DataFrame, reference: dict[int, float]) -> Row:
    errors = _by_seed(rows, "test_error_percent")
    error = mean_interval(list(errors.values()))
    difference = mean_interval([]) if arm == REFERENCE else paired_difference(errors, reference)
    means = ("test_nll", "test_brier", "test_ece", "train_seconds", "parameters", "passes_per_prediction")
    return {
        "arm": arm,
        "seeds": error.count,
        **error.cells("test_error_percent"),
        **difference.cells("difference_to_dropout"),
        **{name: float(rows[name].mean()) for name in means},
        "_error": error,
        "_difference": difference,
    }


def _by_seed(rows: pd.DataFrame | None, column: str) -> dict[int, float]:
    return {} if rows is None else dict(zip(rows["seed"].astype(int), rows[column], strict=True))


def _notes(group: pd.DataFrame, rows: list[Row]) -> list[str]:
    notes = [
        "Train seconds and parameters are those of all members; passes are forward passes per prediction."
    ]
    if any(row["arm"] in ("bagging", "ensemble") for row in rows) and (group["members"] == 1).all():
        notes.append("With one member the ensemble is the single net.")
    if max((row["seeds"] for row in rows), default=0) < 2:
        notes.append("One seed: no interval can be given. Repeat with --seeds 3 or more.")
    for _, row in group[group["test_error_percent"].isna()].iterrows():
        notes.append(f"Left out: {row['arm']}, seed {row['seed']:.0f}: {row['message']}.")
    return notes
