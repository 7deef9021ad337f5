"""A comparison of arms as tables: quality, members, cost, and the arms against M and against k."""

import math
from typing import Any

import pandas as pd

from dropbench.arms import ARMS, BUDGETS, REFERENCE
from dropbench.report.bagging import Comparison, Difference, by_seed
from dropbench.report.bagging_readings import against_members, against_passes
from dropbench.report.statistics import ENOUGH_SEEDS, paired_difference
from dropbench.report.table import Column, Row, Table, number
from dropbench.report.verdict import verdict
from dropbench.results.schema import COMPARISON_FIGURES

_MEANS = ("averaged", "test_nll", "test_brier", "test_ece", *COMPARISON_FIGURES)
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def comparison_tables(comparison: Comparison) -> list[Table]:
    """All tables of a comparison; those that would be empty are left out."""
    title = comparison_title(comparison)
    rows = tuple(_row(comparison, arm) for arm in comparison.arms)
    tables = [_quality(comparison, title, rows), _members(comparison, title, rows), _cost(title, rows)]
    return [*tables, *against_members(comparison, title), *against_passes(comparison, title)]


def comparison_title(comparison: Comparison) -> str:
    """What was trained on what, how, and what was held equal."""
    fields = comparison.fields
    size = "" if math.isnan(fields["train_size"]) else f", {fields['train_size']:.0f} training images"
    return (
        f"Dropout ({fields['dropout']}) and bagging: {fields['model']} on {fields['data']}, "
        f"p_drop {fields['p_drop']:g} (p_keep {1 - fields['p_drop']:g}), "
        f"{fields['epochs']:.0f} epochs{size}, {fields['precision']}; "
        f"equal: {BUDGETS[fields['budget']].partition(',')[0].partition(':')[0]}"
    )


def _row(comparison: Comparison, arm: str) -> Row:
    rows = comparison.fullest(arm)
    error = comparison.error(arm)
    difference = comparison.differences.get((arm, "error_percent"))
    cells: dict[str, Any] = {
        "arm": arm,
        "seeds": error.count,
        **error.cells("test_error_percent"),
        "left_out": rows["left_out"].fillna(0).sum(),
        "p_better_error_percent": math.nan,
        **{name: _mean(rows, name) for name in _MEANS},
        "_name": comparison.name(arm),
        "_error": error,
        "_difference": difference or _of_seeds(comparison, arm),
    }
    for (of_arm, loss), found in comparison.differences.items():
        if of_arm == arm:
            cells |= found.estimate.cells(f"difference_to_dropout_{loss}")
            cells[f"p_better_{loss}"] = found.p_better
            if found.mcnemar:
                cells["mcnemar_p"] = " ".join(map(str, found.mcnemar))
    return cells


def _of_seeds(comparison: Comparison, arm: str) -> Difference | None:
    """The difference by seeds alone, of rows that an older dropbench wrote."""
    if arm == REFERENCE or REFERENCE not in comparison.arms:
        return None
    ours, theirs = (by_seed(comparison.fullest(each), "test_error_percent") for each in (arm, REFERENCE))
    return Difference(paired_difference(ours, theirs), math.nan, 0, ())


def _mean(rows: pd.DataFrame, column: str) -> float:
    return float(rows[column].mean())


def _arm_column() -> Column:
    return Column("arm", lambda row: str(row["_name"]), left=True)


def _quality(comparison: Comparison, title: str, rows: tuple[Row, ...]) -> Table:
    def difference(row: Row) -> str:
        if row["arm"] == REFERENCE:
            return "reference"
        found: Difference | None = row["_difference"]
        return "–" if found is None else found.estimate.text(signed=True)

    columns = (
        _arm_column(),
        Column("seeds", lambda row: str(row["seeds"])),
        Column("test error, %\n[95 % bootstrap]", lambda row: row["_error"].text()),
        Column("paired difference to\ndropout [95 % bootstrap]", difference),
        Column("P(arm\nbetter)", number("p_better_error_percent", ".2f")),
        Column("NLL", number("test_nll", ".3f")),
        Column("NLL\nscaled", number("test_nll_scaled", ".3f")),
        Column("Brier", number("test_brier", ".3f")),
        Column("Brier\nscaled", number("test_brier_scaled", ".3f")),
        Column("ECE", number("test_ece", ".3f")),
        Column("ECE\nscaled", number("test_ece_scaled", ".3f")),
    )  # fmt: skip
    return Table("comparison", title, columns, rows, tuple(_notes(comparison)), verdict=verdict(comparison))


def _notes(comparison: Comparison) -> list[str]:
    notes = [
        f"Held equal: {BUDGETS[comparison.fields['budget']]}.",
        "Scaled: after temperature scaling, fitted on validation images for each arm; it changes no error.",
        "The bootstrap draws seeds and test images again; P(arm better) is the chance that the arm has the "
        "lower error in one repetition. McNemar's test and the intervals are not corrected for several arms.",
    ]
    if comparison.seeds == 1:
        notes.append(
            "One seed: the intervals hold for these nets and leave out what another seed would change. "
            f"Repeat with --seeds {ENOUGH_SEEDS}."
        )
    elif comparison.seeds < ENOUGH_SEEDS:
        notes.append(
            f"{comparison.seeds} seeds tell little of what another seed would change: intervals tend to be "
            f"narrow. --seeds {ENOUGH_SEEDS} or more is better."
        )
    told = comparison.rows[comparison.rows["left_out"] > 0].drop_duplicates(["arm", "seed"])
    for _, row in told.iterrows():
        notes.append(
            f"Left out: {row['left_out']:.0f} members of {row['arm']}, seed {row['seed']:.0f}, that diverged "
            "or failed; its figures are of the others."
        )
    without = comparison.left_out.merge(
        comparison.rows[["arm", "seed"]].drop_duplicates(), how="left", indicator=True
    )
    for _, row in without[without["_merge"] == "left_only"].drop_duplicates(["arm", "seed"]).iterrows():
        notes.append(f"Left out: {row['arm']}, seed {row['seed']:.0f}: {row['message']}.")
    return notes


def _members(comparison: Comparison, title: str, rows: tuple[Row, ...]) -> Table:
    foreign = comparison.fields["foreign"]
    bagged = any(ARMS[row["arm"]].bootstrap for row in rows)
    columns = (
        _arm_column(),
        Column("member\nerror %", number("mean_member_error_percent", ".2f")),
        Column("disagree-\nment %", number("disagreement_percent", ".2f")),
        Column("member\nNLL", number("mean_member_nll", ".3f")),
        Column("− ambi-\nguity", number("nll_ambiguity", ".3f")),
        Column("= NLL", number("test_nll", ".3f")),
        *((Column("out-of-bag\nerror %", number("oob_error_percent", ".2f")),) if bagged else ()),
        *((Column("distinct\nimages %", number("distinct_train_percent", ".1f")),) if bagged else ()),
        *(
            (
                Column("foreign\nAUROC", number("foreign_auroc", ".3f")),
                Column("FPR at\n95 % TPR", number("foreign_fpr95_percent", ".1f")),
            )
            if foreign
            else ()
        ),
    )
    notes = [
        "Members of dropout, Monte-Carlo, are thinned nets; disagreement is that of two members. Brier's "
        "decomposition is in the CSV."
    ]
    if bagged:
        notes.append("A bootstrap holds 63.2 % of the distinct training images, on average.")
    if foreign:
        notes.append(
            f"Foreign: {foreign}, told from the test images by the prediction's entropy; FPR is the share of "
            "test images taken for foreign where 95 % of the foreign ones are found."
        )
    return Table("members", f"Members: {title}", columns, rows, tuple(notes))


def _cost(title: str, rows: tuple[Row, ...]) -> Table:
    reference = {row["arm"]: row for row in rows}.get(REFERENCE, {})

    def flops(name: str, what: str) -> tuple[Column, Column]:
        """In the unit in which dropout's are 1 or more, and as a multiple of them."""
        base = reference.get(name, math.nan)
        unit, prefix = next(((u, p) for u, p in _PREFIXES if base >= u), _PREFIXES[-1])

        def times(row: Row) -> str:
            ratio = row[name] / base
            return "–" if math.isnan(ratio) else f"{ratio:.1f}"

        return Column(f"{what}\n{prefix}FLOPs", number(name, ",.1f", unit)), Column("×\ndropout", times)

    columns = (
        _arm_column(),
        Column("train\nseconds", number("train_seconds", ",.1f")),
        Column("steps", number("steps", ",.0f")),
        *flops("train_flops", "train"),
        Column("para-\nmeters, M", number("parameters", ".2f", 1e6)),
        Column("forward\npasses", number("passes_per_prediction", ".0f")),
        *flops("prediction_flops", "predict"),
    )
    notes = (
        "Of all members together. FLOPs are counted on a step and a prediction of each net; passes with "
        "masks share what comes before the first mask.",
    )
    return Table("cost", f"Cost: {title}", columns, rows, notes)
