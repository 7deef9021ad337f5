"""A sweep as a table."""

import math
from collections.abc import Callable
from functools import partial

from dropbench.report.overflows import MANY
from dropbench.report.significance import LEVEL
from dropbench.report.statistics import Estimate
from dropbench.report.sweep.diagnosis import (
    NO_GAP,
    NOT_LEARNT,
    OVERFITS,
    UNDERFITS,
    diagnoses,
    diagnosis_sentences,
    fit_cells,
)
from dropbench.report.sweep.figures import error_figure
from dropbench.report.sweep.sweep import Sweep, axis_columns, axis_text, sweep_title
from dropbench.report.sweep.tuned_words import edge_sentences, tuned_cells, tuned_notes
from dropbench.report.sweep.verdict import NetTests, reference_name
from dropbench.report.table import NONE, Column, Row, Table, number, p_text, share_of_seeds
from dropbench.run.blocks.data import REGRESSION
from dropbench.run.telling import counted

SORTS = {
    "p": "as swept",
    "val": "lowest on validation first",
    "test": "lowest on test first",
    "difference": "lowest difference to the reference first",
}


def sweep_table(sweep: Sweep, sort: str = "p") -> Table:
    """The metric against p: mean and interval of every setting, its difference to the reference, and tests.

    ``sort`` is one of SORTS.

    Tests are corrected for the settings of one net, which are a family: net means here layers, tying and
    training size.
    """
    verdict: list[str] = []
    by_setting: dict[int, Row] = {}
    for settings in sweep.nets:
        found = NetTests(sweep, settings)
        diagnosed = diagnoses(sweep, settings)
        by_setting |= {
            id(setting): {
                **found.row(setting),
                **fit_cells(sweep, setting, diagnosed[id(setting)]),
                **tuned_cells(setting),
            }
            for setting in settings
        }
        verdict += found.sentences(several=len(sweep.nets) > 1)
        verdict += diagnosis_sentences(sweep, settings)
    verdict += edge_sentences(sweep)
    rows = _sorted([by_setting[id(setting)] for setting in sweep.settings], sort)
    metric = sweep.metric
    learned = any(setting.learned_p_drop for setting in sweep.settings)
    several = len(sweep.settings) > 1
    trained = any(sweep.train(setting) for setting in sweep.settings)
    unit = metric.label.replace(",", "")
    columns = (
        *axis_columns(sweep),
        *(
            [Column("learned\np_drop", lambda row: axis_text(round(row["learned_p_drop"], 3)))]
            if learned
            else []
        ),
        Column("seeds", lambda row: str(row["seeds"])),
        *([Column(f"training\n{unit}", lambda row: _mean(row["_train"], metric.digits))] if trained else []),
        Column(f"val\n{unit}", _validation(metric.digits)),
        Column(f"test {metric.label}\n[95 % interval]", lambda row: row["_test"].text(metric.digits)),
        *([Column("gap", number("gap", f".{metric.digits}f"))] if trained else []),
        *(
            (
                Column(f"paired difference to\n{reference_name(sweep)} [95 %]", _difference(metric.digits)),
                Column("seeds\nbetter", share_of_seeds),
                Column("p,\nHolm", lambda row: p_text(row["p_value_holm"])),
            )
            if several
            else ()
        ),
        *([Column("fit", lambda row: row["diagnosis"], left=True)] if trained else []),
    )
    title = f"{metric.heading} against p: {sweep_title(sweep)}"
    return Table(
        "sweep",
        title,
        columns,
        tuple(rows),
        (*_notes(sweep), *tuned_notes(sweep)),
        tuple(verdict),
        partial(error_figure, sweep),
    )


def _sorted(rows: list[Row], sort: str) -> list[Row]:
    """Rows without the figure come last."""
    if sort == "p":
        return rows
    name = {"val": "_val", "test": "_test", "difference": "_difference"}[sort]
    means = {id(row): row[name].mean for row in rows}
    return sorted(rows, key=lambda row: (math.isnan(means[id(row)]), means[id(row)]))


def _validation(digits: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        mark = " *" if row["best"] else " =" if row["as_good_as_best"] else ""
        return f"{_mean(row['_val'], digits)}{mark}"

    return text


def _mean(estimate: Estimate, digits: int) -> str:
    return NONE if math.isnan(estimate.mean) else f"{estimate.mean:.{digits}f}"


def _difference(digits: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        return "reference" if row["reference"] else str(row["_difference"].text(digits, signed=True))

    return text


def _notes(sweep: Sweep) -> list[str]:
    notes = ["p_drop is the probability of dropping a unit (p_keep = 1 − p_drop is the 2014 paper's p)."]
    if len(sweep.settings) > 1:
        notes.append(
            f"* best on validation; = not told apart from it on the test examples, though {sweep.twice} "
            f"would be. p: t-test with the seeds as blocks, Holm-corrected; below {LEVEL:g} is significant."
        )
    if any(sweep.train(setting) for setting in sweep.settings):
        notes.append(
            "training: at most 10,000 training examples, dropout off; gap: test less training; fit: "
            f"{_fits(sweep)}."
        )
    for count, what in (
        (sum(len(setting.diverged) for setting in sweep.settings), "diverged"),
        (sum(len(setting.failed) for setting in sweep.settings), "failed"),
    ):
        if count:
            runs, be = counted(count, "run"), "is" if count == 1 else "are"
            notes.append(f"{runs} {what} and {be} in no mean; the column message of runs.csv says why.")
    if overflowing := sum(len(setting.overflowing) for setting in sweep.settings):
        notes.append(
            f"{counted(overflowing, 'run')} skipped more than {MANY:.0%} of the steps, which overflowed in "
            "fp16, and may train better in fp32; the column overflowed_steps of runs.csv counts them."
        )
    if sweep.raced:
        notes.append(
            "Runs of it are of a find, which looked at results to choose which had more seeds. The tests "
            "here do not know that: the table of the find decides."
        )
    return notes


def _fits(sweep: Sweep) -> str:
    """The diagnoses there can be, and what they are made by."""
    if sweep.task == REGRESSION:
        return f"{OVERFITS}, {UNDERFITS} or {NO_GAP}, by the mean squared errors"
    return f"{OVERFITS}, {UNDERFITS}, {NOT_LEARNT} or {NO_GAP}, by the errors"
