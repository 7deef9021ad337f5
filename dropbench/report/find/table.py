"""A find as a table."""

import math
from collections.abc import Callable

from dropbench.report.find.find import Entrant, Find
from dropbench.report.find.race import STATES, State
from dropbench.report.find.standing import LEVEL
from dropbench.report.find.words import amount, find_title, sentences, spent_words
from dropbench.report.statistics import Estimate
from dropbench.report.sweep.sweep import axis_cell, axis_text
from dropbench.report.table import NONE, Column, Row, Table, number
from dropbench.run import telling
from dropbench.run.config import SETTINGS
from dropbench.run.telling import counted

_COLOURS: dict[State, str] = {
    "best": "bold green",
    "as good": "green",
    "no better": "cyan",
    "open": "yellow",
    "behind": "dim",
    "worse": "dim",
    "no result": "red",
}


def find_table(find: Find) -> Table:
    """Every setting and arm of a race: how far it is from the best, what that means, and what it costs."""
    unit = find.metric.label.replace(",", "")
    tested = any(find.test(each).count for each in find.entrants)
    digits = find.metric.digits
    columns = (
        *_setting_columns(find),
        Column("seeds", lambda row: str(row["seeds"])),
        Column(f"val\n{unit}", number("_val", f".{digits}f")),
        Column("difference to\nthe best [interval]", _difference(digits)),
        _state_column(),
        Column("left out\nafter seeds", number("left_out_after", ".0f")),
        Column("training,\ntimes the least", number("training_times", ".2g")),
        Column("forward\npasses", number("passes_per_prediction", ".0f")),
        *([Column(f"test {find.metric.label}\n[95 % interval]", _test(digits))] if tested else []),
    )
    return Table(
        "find",
        find_title(find),
        columns,
        _rows(find),
        _notes(find),
        tuple(sentences(find)),
    )


def live_table(find: Find) -> Table:
    """The columns of the same that matter while the race goes on, those that are trained on first."""
    digits = find.metric.digits
    columns = (
        Column("rank", lambda row: str(row["rank"])),
        Column("setting", lambda row: str(row["setting"]), left=True),
        Column("seeds", lambda row: str(row["seeds"])),
        Column(f"val\n{find.metric.label.replace(',', '')}", number("_val", f".{digits}f")),
        Column("difference to\nthe best [interval]", _difference(digits)),
        _state_column(),
    )
    rows = sorted(_rows(find), key=lambda row: row["state"] not in ("best", "open"))
    inside = len(find.having("best", "open"))
    title = f"{telling.counted(find.race.seeds, 'seed')}: {inside} of {len(rows)} in the race"
    return Table("find", title, columns, tuple(rows), lead=2)


def _setting_columns(find: Find) -> tuple[Column, ...]:
    averages = any(each.arm for each in find.entrants)
    others = [name for name in find.varying if name != "p_drop"]
    return (
        Column("rank", lambda row: str(row["rank"])),
        *([Column("averaged", lambda row: row["averaged"] or NONE, left=True)] if averages else []),
        Column("p_drop", lambda row: axis_text(row["p_drop"])),
        Column("p_keep", lambda row: axis_text(row["p_keep"])),
        *(Column(SETTINGS[name].title, _cell(name)) for name in others),
    )


def _cell(name: str) -> Callable[[Row], str]:
    text = axis_cell(name)
    return lambda row: text(row["_cells"])


def _state_column() -> Column:
    return Column("state", lambda row: str(row["state"]), left=True, style=lambda row: _COLOURS[row["state"]])


def _rows(find: Find) -> tuple[Row, ...]:
    costs = [each.training for each in find.entrants if each.training > 0]
    least = min(costs, default=math.nan)
    return tuple(_row(find, each, rank, least) for rank, each in enumerate(find.ranked, start=1))


def _row(find: Find, entrant: Entrant, rank: int, least: float) -> Row:
    """The numbers of an entrant; those that start with an underscore are for the shown cells alone."""
    column, after = find.metric.column, find.left_out(entrant)
    above, test = find.difference(entrant), find.test(entrant)
    cells = {name: SETTINGS[name].read_back(entrant.settings[name]) for name in SETTINGS if name != "seed"}
    shown = dict.fromkeys(("p_drop", *find.varying))
    return {
        "rank": rank,
        "setting": find.label(entrant),
        "arm": entrant.arm,
        "averaged": entrant.averaged,
        "members": entrant.members,
        **{name: cells[name] for name in shown},
        "p_keep": round(1 - cells["p_drop"], 12),
        "state": find.state(entrant),
        "seeds": sum(math.isfinite(value) for value in entrant.val.values()),
        f"val_{column}": find.mean(entrant),
        **above.cells("difference_to_best"),
        "left_out_after": math.nan if after is None else after,
        "train_flops": entrant.training,
        "training_times": entrant.training / least,
        "prediction_flops": entrant.prediction,
        "passes_per_prediction": entrant.passes,
        **test.cells(f"test_{column}"),
        "test_seeds": test.count,
        "message": entrant.message,
        "_val": find.mean(entrant),
        "_difference": above,
        "_test": test,
        "_cells": cells,
    }


def _difference(digits: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        above: Estimate = row["_difference"]
        return NONE if row["state"] == "best" else above.text(digits, signed=True)

    return text


def _test(digits: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        test: Estimate = row["_test"]
        return test.text(digits)

    return text


def _notes(find: Find) -> tuple[str, ...]:
    margin = amount(find, find.margin)
    states: dict[State, str] = {
        "best": "lowest on validation of those that are trained on",
        "as good": f"within {margin} of the best to either side",
        "no better": f"no better by more than {margin}, and perhaps worse",
        "open": f"perhaps better by more than {margin}",
        "behind": "worse than one that may be the best",
        "worse": f"worse than all that may be the best, by more than {margin}",
        "no result": "a run of it diverged or failed",
    }
    there = {find.state(each) for each in find.entrants}
    told = "; ".join(f"{state}: {states[state]}" for state in STATES if state in there)
    notes = [
        "p_drop is the probability of dropping a unit (p_keep = 1 − p_drop is the 2014 paper's p).",
        f"{told}.",
    ]
    if find.race.looks:
        notes.append(
            "Intervals of differences hold at all looks together, after every seed from the third on, and "
            "are of the last one at which both were trained; where none is shown, the seeds were too few for "
            f"one. With a chance of {100 * (1 - LEVEL):.0f} % no state that is told in the whole race is "
            "wrong. That nothing is better is told by intervals somewhat shorter than those shown "
            "(docs/statistics.md)."
        )
    if any(find.test(each).count for each in find.entrants):
        notes.append(
            "The settings were chosen on validation; the test examples were looked at for those alone that "
            "may be the best. Their intervals are of the mean over seeds."
        )
    full = sum(len(ids[0]) for each in find.entrants if (ids := [*each.run_ids.values()])) * find.race.seeds
    runs = len(find.run_ids)
    beside = f"; {counted(full, 'run')} with all seeds of the best for every setting" if full > runs else ""
    return (*notes, f"It took {spent_words(find)}{beside}.")
