"""The table of an experiment of the lecture or the 2014 paper: theirs beside ours."""

import math
from collections.abc import Iterable, Sequence

from dropbench.report.paper.result import (
    AGREES,
    CONTRARY,
    CURVE,
    UNCLEAR,
    UNSEEN,
    PaperResult,
    Place,
    paper_title,
)
from dropbench.report.paper.tuning import cells_of, columns_of, notes_of, tuned_names
from dropbench.report.significance import LEVEL
from dropbench.report.table import NONE, Column, Row, Table, number, p_text
from dropbench.run.telling import counted, duration

_AXIS_TITLES = {"train_size": "training\nimages", "passes": "k"}
_MARKS = {"single copy": ("†", "stood in a single copy of the paper"), "from memory": ("‡", "is from memory")}
DIGITS, _MANY, _PAIR = 2, 3, 2


def paper_table(result: PaperResult) -> Table:
    """The paper's value, ours with its interval, and how ours stands to what the paper found."""
    fields, digits = result.fields, DIGITS
    tuned = tuned_names(place.tuned for place in result.places)
    leading = [Column("arm", lambda row: str(row["arm"]), left=True), *_place_columns(result)]
    columns = [
        *leading,
        *columns_of(tuned),
        Column("seeds", lambda row: str(row["seeds"])),
        *([Column("paper", _paper_text)] if any(not math.isnan(p.paper) for p in result.places) else []),
        *(
            [Column("training\nerror %", number("train_error", f".{digits}f"))]
            if result.has_train_errors
            else []
        ),
        Column(f"ours, {fields['unit']}\n[95 % interval]", lambda row: row["_ours"].text(digits)),
        Column("difference\n[95 %]", lambda row: row["_difference"].text(digits, signed=True)),
        *(
            [Column("paper's\ndifference", number("paper_difference", f"+.{digits}f"))]
            if any(not math.isnan(p.paper_difference) for p in result.places)
            else []
        ),
        Column("p,\nHolm", lambda row: p_text(row["p_value_holm"])),
        Column("beside\ntheirs", lambda row: str(row["reading"]), left=True),
    ]
    title = paper_title(result)
    told = {name: fields[name] for name in ("scale", "data", "precision", "unit", "source", "differs")}
    rows = tuple(
        {"experiment": fields["paper"], **told, **_row(place), **cells_of(place.tuned, tuned)}
        for place in result.places
    )
    notes, verdict = tuple(_notes(result)), tuple(_verdict(result))
    return Table("paper", title, tuple(columns), rows, notes, verdict, lead=len(leading))


def _place_columns(result: PaperResult) -> list[Column]:
    axis = result.fields["axis"]
    return [
        Column("p_drop", number("p_drop", "g")),
        Column("p_keep", number("p_keep", "g")),
        *([Column(_AXIS_TITLES.get(axis, axis), number("x", ",.0f"))] if axis not in ("", "p_drop") else []),
    ]


def _row(place: Place) -> Row:
    test = place.test
    return {
        "arm": place.arm,
        "x": place.x,
        "p_drop": place.p_drop,
        "p_keep": place.p_keep,
        "seeds": len(place.values),
        "lost_runs": place.lost,
        "paper": place.paper,
        "paper_spread": place.paper_spread,
        "unverified": place.unverified,
        "train_error": place.train_error,
        **place.estimate.cells("ours"),
        "against": place.against[0] if place.against else "",
        "against_x": place.against[1] if place.against else None,
        **place.difference.cells("difference"),
        **place.ratio.cells("ratio"),
        "paper_difference": place.paper_difference,
        "p_value": test.p if test else math.nan,
        "p_value_holm": test.p_holm if test else math.nan,
        "paper_direction": place.expected,
        "reading": place.agreement,
        "_ours": place.estimate,
        "_difference": place.difference,
    }


def _paper_text(row: Row) -> str:
    if math.isnan(row["paper"]):
        return NONE
    spread = "" if math.isnan(row["paper_spread"]) else f" ± {row['paper_spread']:g}"
    return f"{row['paper']:.{DIGITS}f}{spread}{mark_of(row['unverified'])}"


def mark_of(unverified: str) -> str:
    """The mark of a figure of the paper that is not certain; empty for one that is."""
    return _MARKS[unverified][0] if unverified in _MARKS else ""


def mark_notes(places: Iterable[Place]) -> list[str]:
    """The meaning of the marks beside the paper's figures."""
    unsure = {place.unverified for place in places}
    return [f"{mark} {why}: unverified." for kind, (mark, why) in _MARKS.items() if kind in unsure]


def _verdict(result: PaperResult) -> list[str]:
    sentences = [f"There: {result.fields['shows']}"]
    spoken = [place for place, _ in result.spoken]
    told = [place for place in spoken if place.agreement]
    if spoken and not told:
        sentences.append(_no_interval(spoken))
    for agreement, text in (
        (AGREES, "Here as there"),
        (UNSEEN, "There no difference, here none to be seen"),
        (UNCLEAR, "There a difference, here none that can be told"),
        (CONTRARY, "Here contrary to there"),
    ):
        found = [place for place in told if place.agreement == agreement]
        if found:
            named = "; ".join(_named(result, place) for place in found)
            sentences.append(f"{text} ({len(found)} of {len(told)}): {named}.")
    return sentences


def _no_interval(spoken: Sequence[Place]) -> str:
    seeds = max((place.difference.count for place in spoken), default=0)
    why = "one seed gives no interval" if seeds < _PAIR else "nothing varies between the seeds"
    return f"Here: {why}, so nothing can be said of the differences."


def place_name(result: PaperResult, place: Place, several: bool = True) -> str:
    """The arm and its place; the place alone where there are not ``several`` arms to tell apart."""
    axis, x = result.fields["axis"], place.x
    if not axis or math.isnan(x):
        return place.arm
    called = {"train_size": f"{x:,.0f} images", "passes": f"k = {x:.0f}", "p_drop": f"p_drop {x:g}"}
    return f"{place.arm}, {called.get(axis, f'{axis} {x:g}')}" if several else called[axis]


def _named(result: PaperResult, place: Place) -> str:
    name = place_name(result, place, several=len(result.arms) > CURVE)
    difference = place.difference.text(DIGITS, signed=True)
    return f"{name} ({difference}{' ' if result.unit else ''}{result.unit})"


def _notes(result: PaperResult) -> list[str]:
    fields = result.fields
    notes = [f"From {fields['source']}. What differs here: {fields['differs']}"]
    against = sorted({place.against[0] for place in result.places if place.against})
    if against:
        names = " or ".join(against) if len(against) < _MANY else "the row with the same name and no dropout"
        notes.append(
            f"Differences are to {names}, seed by seed. What stands beside theirs goes by the 95 % "
            "intervals, which are not corrected for their number. p: t-test with the seeds as blocks, "
            "Holm-corrected for the differences of which something is said there; below "
            f"{LEVEL:g} is significant."
        )
    if result.has_train_errors:
        notes.append("training: at most 10,000 training examples, dropout off.")
    if not math.isnan(result.seconds):
        runs = counted(len(result.run_ids), "run")
        notes.append(f"{runs}, {duration(result.seconds)} one after another.")
    notes.append(
        "p_drop is the probability of dropping a hidden unit; p_keep = 1 − p_drop is the 2014 paper's p."
    )
    if lost := sum(place.lost for place in result.places):
        runs, be = counted(lost, "run"), "is" if lost == 1 else "are"
        notes.append(f"{runs} diverged or failed and {be} in no mean; message in runs.csv says why.")
    called = {place.key: place_name(result, place) for place in result.places}
    notes += notes_of(called, {place.key: (place.tuned, place.against) for place in result.places})
    return [*notes, *mark_notes(result.places)]
