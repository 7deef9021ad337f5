"""A comparison of arms as tables: quality, members, cost, and the arms against M and against k."""

import math
from dataclasses import replace
from typing import Any

import pandas as pd

from dropbench.catalog.arms import ARMS, BUDGETS, losses_of
from dropbench.report.apart import words_apart
from dropbench.report.comparison.comparison import ArmDifference, Comparison
from dropbench.report.comparison.sizes import SCALED, against_members, against_passes
from dropbench.report.comparison.verdict import verdict
from dropbench.report.comparison.words import OF_TASK, Words
from dropbench.report.statistics import ENOUGH_SEEDS
from dropbench.report.sweep.sweep import AXES, SETTING, typed
from dropbench.report.table import NONE, Column, Row, Table, number
from dropbench.results.schema import COMPARISON_FIGURES
from dropbench.run import telling

_MEANS = ("averaged", *COMPARISON_FIGURES)
_NEARLY = 1.001
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def comparison_tables(comparison: Comparison) -> list[Table]:
    """All tables of a comparison; those that would be empty are left out."""
    title = comparison_title(comparison)
    rows = tuple(_row(comparison, arm) for arm in comparison.arms)
    left_out = tuple(_left_out(comparison))
    first = _quality(comparison, title, rows, left_out)
    if not rows:
        return [first]
    tables = [_members(comparison, title, rows), _cost(comparison, title, rows)]
    tables += [*against_members(comparison, title), *against_passes(comparison, title)]
    return [first, *(replace(table, notes=(*table.notes, *left_out)) for table in tables)]


def comparison_title(comparison: Comparison) -> str:
    """The model and the data, what was held equal, and all that tells the comparison from another."""
    fields = comparison.fields
    values = typed(fields)
    told_of = [name for name in (*AXES, *SETTING) if name in values and name not in ("p_drop", "dropout")]
    p = f"p_drop {values['p_drop']:g} (p_keep {1 - values['p_drop']:g})"
    told = [f"M = {fields['members']:.0f}"]
    if fields["mc_samples"]:
        told.append(f"k up to {fields['mc_samples']:.0f}")
    if fields["foreign"]:
        told.append(f"out-of-distribution examples: {fields['foreign']}")
    equal = BUDGETS[fields["budget"]].partition(",")[0].partition(":")[0]
    shared = telling.title(values, told_of, *words_apart(fields), p)
    return f"Dropout ({fields['dropout']}) and bagging: {shared}; equal: {equal}; {', '.join(told)}"


def _row(comparison: Comparison, arm: str) -> Row:
    rows = comparison.fullest(arm)
    error = comparison.error(arm)
    difference = comparison.difference(arm)
    metric = comparison.metric.column
    cells: dict[str, Any] = {
        "arm": arm,
        "seeds": error.count,
        **error.cells(f"test_{metric}"),
        "left_out": rows["left_out"].fillna(0).sum(),
        f"p_better_{metric}": math.nan,
        **{f"test_{other.column}": _mean(rows, f"test_{other.column}") for other in comparison.metrics[1:]},
        **{name: _mean(rows, name) for name in _MEANS},
        "_name": comparison.name(arm),
        "_error": error,
        "_difference": difference,
        "difference_seeds": math.nan if difference is None else len(difference.seeds),
    }
    for loss in losses_of(comparison.fields["task"]):
        found = comparison.difference(arm, loss)
        if found is not None:
            cells |= found.estimate.cells(f"difference_to_dropout_{loss}")
            cells[f"p_better_{loss}"] = found.p_better
            if found.mcnemar:
                cells["mcnemar_p"] = " ".join(map(str, found.mcnemar))
    return cells


def _mean(rows: pd.DataFrame, column: str) -> float:
    return float(rows[column].mean(skipna=column not in SCALED))


def _words(comparison: Comparison) -> Words:
    return OF_TASK[comparison.fields["task"]]


def _arm_column() -> Column:
    return Column("arm", lambda row: str(row["_name"]), left=True)


def _quality(comparison: Comparison, title: str, rows: tuple[Row, ...], left_out: tuple[str, ...]) -> Table:
    metric = comparison.metric

    def difference(row: Row) -> str:
        if row["arm"] == comparison.reference:
            return "reference"
        found: ArmDifference | None = row["_difference"]
        if found is None:
            return NONE
        fewer = "" if len(found.seeds) == row["seeds"] else f" ({len(found.seeds)} seeds)"
        return f"{found.estimate.text(metric.digits, signed=True)}{fewer}"

    columns = (
        _arm_column(),
        Column("seeds", lambda row: str(row["seeds"])),
        Column(f"test {metric.label}\n[95 % bootstrap]", lambda row: row["_error"].text(metric.digits)),
        Column("paired difference to\ndropout [95 % bootstrap]", difference),
        Column("P(arm\nbetter)", number(f"p_better_{metric.column}", ".2f")),
        *(
            Column(f"{told}{after}", number(f"test_{name}{scaled}", ".3f"))
            for name, told in _words(comparison).likelihoods.items()
            for scaled, after in (("", ""), ("_scaled", "\nscaled"))
        ),
    )
    notes = (*_notes(comparison), *left_out)
    return Table("comparison", title, columns, rows, notes, verdict(comparison))


def _notes(comparison: Comparison) -> list[str]:
    if not comparison.arms:
        return []
    fields, words = comparison.fields, _words(comparison)
    held = f"Held equal: {BUDGETS[fields['budget']]}."
    if fields["budget"] == "train":
        epochs = fields["epochs"]
        held += f" They train for {fields['members'] * epochs:.0f} epochs, members for {epochs:.0f}."
    notes = [
        held,
        f"Scaled: {words.scaled}, fitted on validation examples for each arm; it changes no "
        f"{comparison.metric.what}.",
        "The bootstrap draws seeds and test examples again; P(arm better) is the chance that the arm has the "
        f"lower {comparison.metric.what} in one repetition. {words.uncorrected} not corrected for several "
        "arms.",
    ]
    full = [comparison.fullest(arm) for arm in comparison.arms]
    if unscaled := [arm for arm in comparison.arms if comparison.fullest(arm)["temperature"].isna().any()]:
        named = ", ".join(comparison.name(arm) for arm in unscaled)
        notes.append(
            f"Not scaled: {named}. Without an error on the validation examples there is no best temperature."
        )
    end = words.largest_factor / _NEARLY
    if any(((rows["temperature"] < 1 / end) | (rows["temperature"] > end)).any() for rows in full):
        notes.append(
            f"{words.factor} is at the end of what is looked for, 1/{words.largest_factor:g} to "
            f"{words.largest_factor:g}: with few validation examples."
        )
    if comparison.seeds == 1:
        notes.append(
            "One seed: the intervals hold for these nets and leave out what another seed would change. "
            f"Repeat with {ENOUGH_SEEDS} seeds."
        )
    elif comparison.seeds < ENOUGH_SEEDS:
        notes.append(
            f"{comparison.seeds} seeds tell little of what another seed would change. "
            f"{ENOUGH_SEEDS} or more are better."
        )
    return notes


def _left_out(comparison: Comparison) -> list[str]:
    """Sentences on the runs that diverged or failed, arm by arm and seed by seed."""
    notes = []
    lacking = comparison.rows[comparison.rows["left_out"] > 0].drop_duplicates(["arm", "seed"])
    for _, row in lacking.iterrows():
        members = "1 member" if row["left_out"] == 1 else f"{row['left_out']:.0f} members"
        notes.append(
            f"Left out: {members} of {row['arm']}, seed {row['seed']:.0f}, that diverged or failed; its "
            "figures are of the others."
        )
    there = set(zip(comparison.rows["arm"], comparison.rows["seed"], strict=True))
    for _, row in comparison.left_out.drop_duplicates(["arm", "seed"]).iterrows():
        if (row["arm"], row["seed"]) not in there:
            why = f"{row['message']}; see the message in runs.csv"
            notes.append(f"Left out: {row['arm']}, seed {row['seed']:.0f}: {why}.")
    return notes


def _members(comparison: Comparison, title: str, rows: tuple[Row, ...]) -> Table:
    foreign = comparison.fields["foreign"]
    bagged = any(ARMS[row["arm"]].bootstraps for row in rows)
    words = _words(comparison)
    columns = (
        _arm_column(),
        *words.diversity(comparison),
        Column("member\nNLL", number("mean_member_nll", ".3f")),
        Column("− ambi-\nguity", number("nll_ambiguity", ".3f")),
        Column("= NLL", number("test_nll", ".3f")),
        *((words.out_of_bag(comparison),) if bagged else ()),
        *((Column("distinct\nexamples %", number("distinct_train_percent", ".1f")),) if bagged else ()),
        *(
            (
                Column("OOD\nAUROC", number("foreign_auroc", ".3f")),
                Column("FPR at\n95 % TPR", number("foreign_fpr95_percent", ".1f")),
            )
            if foreign
            else ()
        ),
    )
    notes = [f"Members of dropout, Monte-Carlo, are thinned nets; {words.members}"]
    if bagged:
        notes.append("A bootstrap holds 63.2 % of the distinct training examples, on average.")
    if foreign:
        notes.append(
            f"OOD: out-of-distribution examples ({foreign}), told from the test examples by the prediction's "
            f"{words.uncertainty}; FPR is the share of test examples taken for them where 95 % of them are "
            "found."
        )
    return Table("members", f"Members: {title}", columns, rows, tuple(notes))


def _cost(comparison: Comparison, title: str, rows: tuple[Row, ...]) -> Table:
    reference: Row = {row["arm"]: row for row in rows}.get(comparison.reference, {})

    def flops(name: str, what: str) -> tuple[Column, Column]:
        """FLOPs in the unit in which dropout's are 1 or more, and as a multiple of dropout's."""
        base = reference.get(name, math.nan)
        unit, prefix = next(((u, p) for u, p in _PREFIXES if base >= u), _PREFIXES[-1])

        def times(row: Row) -> str:
            ratio = row[name] / base
            return NONE if math.isnan(ratio) else f"{ratio:.1f}"

        return Column(f"{what}\n{prefix}FLOPs", number(name, ",.1f", unit)), Column(
            f"{what}, ×\ndropout's", times
        )

    columns = (
        _arm_column(),
        Column("train\nseconds", number("train_seconds", ",.2f")),
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
