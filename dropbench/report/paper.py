"""From the rows of paper.csv to what an experiment of the lecture or the paper says: theirs beside ours."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from dropbench.report.significance import LEVEL, PairedTest, paired_tests
from dropbench.report.statistics import Estimate, mean_interval
from dropbench.report.table import Column, Row, Table, number, p_text

ERROR = "test_error_percent"
_FIELDS = (
    "paper",
    "scale",
    "title",
    "shows",
    "source",
    "differs",
    "data",
    "precision",
    "axis",
    "measure",
    "unit",
)
_AXIS_TITLES = {"train_size": "training\nimages", "passes": "k"}
AGREES, CONTRARY, UNCLEAR = "as there", "contrary", "not distinguishable"
_MARKS = {"single copy": "†", "from memory": "‡"}
_MANY = 3
_MARK_NOTES = {
    "single copy": "† stood in a single copy of the paper: unverified.",
    "from memory": "‡ is from memory: unverified.",
}


@dataclass(frozen=True)
class Place:
    """One arm at one place of the axis: the paper's value and ours."""

    arm: str
    x: float
    """NaN where there is no axis, or the arm has no place on it."""
    p_drop: float
    p_keep: float
    values: Mapping[int, float]
    """Ours, by seed."""
    paper: float
    """NaN where none is known, as is its spread."""
    paper_spread: float
    unverified: str
    against: tuple[str, float] | None
    expected: str
    """``lower``, ``higher`` or ``same`` than ``against``, as there; empty where nothing is said."""
    test: PairedTest | None = None
    """Of ours, against ``against``."""
    paper_difference: float = math.nan

    @property
    def estimate(self) -> Estimate:
        """Ours, over seeds."""
        return mean_interval(list(self.values.values()))

    @property
    def reading(self) -> str:
        """How our difference stands to the paper's; empty where one of them is missing.

        By the 95 % interval of the difference: the paper's direction, the opposite one, or neither.
        """
        if self.test is None or not self.expected or math.isnan(self.test.difference.low):
            return ""
        found = self.test.difference
        if self.expected == "same":
            return CONTRARY if found.excludes_zero else AGREES
        if not found.excludes_zero:
            return UNCLEAR
        return AGREES if (found.mean < 0) == (self.expected == "lower") else CONTRARY


@dataclass(frozen=True)
class PaperResult:
    """One experiment at one scale, on one data set."""

    experiment_id: str
    fields: Mapping[str, Any]
    places: tuple[Place, ...]
    run_ids: frozenset[str]

    @cached_property
    def arms(self) -> dict[str, list[Place]]:
        """The places of each arm, in their order."""
        found: dict[str, list[Place]] = {}
        for place in self.places:
            found.setdefault(place.arm, []).append(place)
        return found

    @property
    def seeds(self) -> int:
        """Of the place that has most."""
        return max(len(place.values) for place in self.places)

    @property
    def digits(self) -> int:
        """That a figure is shown with."""
        return 2

    @property
    def unit(self) -> str:
        """Of a difference."""
        return "points" if self.fields["measure"] == ERROR else ""

    def command(self) -> str:
        """The command that makes it again."""
        fields = self.fields
        return (
            f"dropbench paper {fields['paper']} --scale {fields['scale']} --data {fields['data']} "
            f"--seeds {self.seeds} --precision {fields['precision']}"
        )


def find_papers(rows: pd.DataFrame) -> list[PaperResult]:
    """The experiments among the rows of paper.csv."""
    found = []
    for experiment_id, group in rows.groupby("experiment_id", sort=False):
        # Another dropbench may have another text for the same experiment: the last one stands.
        last = group.iloc[-1]
        places = [_place(each) for _, each in group.sort_values("position").groupby("position")]
        found.append(
            PaperResult(
                str(experiment_id),
                {name: last[name] for name in _FIELDS},
                tuple(_compared(places)),
                frozenset(run_id for ids in group["run_id"] for run_id in ids.split()),
            )
        )
    return found


def _place(rows: pd.DataFrame) -> Place:
    last = rows.iloc[-1]
    return Place(
        arm=last["arm"],
        x=last["x"],
        p_drop=last["p_drop"],
        p_keep=last["p_keep"],
        values=dict(zip(rows["seed"].astype(int), rows["value"], strict=True)),
        paper=last["paper_value"],
        paper_spread=last["paper_spread"],
        unverified=last["unverified"],
        against=(last["against"], last["against_x"]) if last["against"] else None,
        expected=last["paper_direction"],
    )


def _compared(places: list[Place]) -> list[Place]:
    """The places with the tests against what they are compared with, corrected for all of the experiment."""
    by_key = {(place.arm, _key(place.x)): place for place in places}
    others = {
        id(place): by_key.get((place.against[0], _key(place.against[1])))
        for place in places
        if place.against is not None
    }
    pairs = [(place, other) for place in places if (other := others.get(id(place))) is not None]
    tests = paired_tests([(place.values, other.values) for place, other in pairs])
    found = {
        id(place): (test, place.paper - other.paper)
        for (place, other), test in zip(pairs, tests, strict=True)
    }
    return [
        replace(place, test=found[id(place)][0], paper_difference=found[id(place)][1])
        if id(place) in found
        else place
        for place in places
    ]


def _key(x: float) -> float | None:
    return None if math.isnan(x) else x


def paper_table(result: PaperResult) -> Table:
    """The paper's value, ours with its interval, and how ours stands to what the paper found."""
    fields, digits = result.fields, result.digits
    columns = [Column("", lambda row: str(row["arm"]), left=True), *_axis_columns(result)]
    columns += [
        Column("seeds", lambda row: str(row["seeds"])),
        *([Column("paper", _paper_text)] if any(not math.isnan(p.paper) for p in result.places) else []),
        Column(f"ours, {fields['unit']}\n[95 % interval]", lambda row: row["_ours"].text(digits)),
        Column("difference\n[95 %]", lambda row: row["_difference"].text(digits, signed=True)),
        *(
            [Column("paper's\ndifference", number("paper_difference", f"+.{digits}f"))]
            if any(not math.isnan(p.paper_difference) for p in result.places)
            else []
        ),
        Column("p,\nHolm", lambda row: p_text(row["p_value_holm"])),
        Column("", lambda row: str(row["reading"]), left=True),
    ]
    title = f"{fields['title']} ({fields['scale']} scale, {fields['data']}, {fields['precision']})"
    rows = tuple(_row(place) for place in result.places)
    return Table("paper", title, tuple(columns), rows, tuple(_notes(result)), tuple(_verdict(result)))


def _axis_columns(result: PaperResult) -> list[Column]:
    axis = result.fields["axis"]
    if axis == "p_drop":
        return [Column("p_drop", number("p_drop", "g")), Column("p_keep", number("p_keep", "g"))]
    return [Column(_AXIS_TITLES.get(axis, axis), number("x", ",.0f"))] if axis else []


def _row(place: Place) -> Row:
    nothing = mean_interval([])
    test = place.test
    return {
        "arm": place.arm,
        "x": place.x,
        "p_drop": place.p_drop,
        "p_keep": place.p_keep,
        "seeds": len(place.values),
        "paper": place.paper,
        "paper_spread": place.paper_spread,
        "unverified": place.unverified,
        **place.estimate.cells("ours"),
        "against": place.against[0] if place.against else "",
        **(test.difference if test else nothing).cells("difference"),
        "paper_difference": place.paper_difference,
        "p_value": test.p if test else math.nan,
        "p_value_holm": test.p_holm if test else math.nan,
        "paper_direction": place.expected,
        "reading": place.reading,
        "_ours": place.estimate,
        "_difference": test.difference if test else nothing,
    }


def _paper_text(row: Row) -> str:
    if math.isnan(row["paper"]):
        return "–"
    spread = "" if math.isnan(row["paper_spread"]) else f" ± {row['paper_spread']:g}"
    return f"{row['paper']:.2f}{spread}{_MARKS.get(row['unverified'], '')}"


def _verdict(result: PaperResult) -> list[str]:
    sentences = [f"There: {result.fields['shows']}"]
    spoken = [place for place in result.places if place.expected and place.test is not None]
    told = [place for place in spoken if place.reading]
    if spoken and not told:
        sentences.append("Here: one seed gives no interval, so nothing can be said of the differences.")
    for reading, text in (
        (AGREES, "as there"),
        (UNCLEAR, "there is a difference and here none can be told"),
        (CONTRARY, "contrary to what is said there"),
    ):
        found = [place for place in told if place.reading == reading]
        if found:
            named = "; ".join(_named(result, place) for place in found)
            sentences.append(f"Here, {text} ({len(found)} of {len(told)}): {named}.")
    return sentences


def _named(result: PaperResult, place: Place) -> str:
    axis, x = result.fields["axis"], place.x
    name = place.arm
    if axis and not math.isnan(x):
        called = {"train_size": f"{x:,.0f} images", "passes": f"k = {x:.0f}", "p_drop": f"p_drop {x:g}"}
        name = f"{name}, {called.get(axis, f'{axis} {x:g}')}" if len(result.arms) > 2 else called[axis]
    difference = place.test.difference.text(result.digits, signed=True) if place.test else ""
    return f"{name} ({difference}{' ' if result.unit else ''}{result.unit})"


def _notes(result: PaperResult) -> list[str]:
    fields = result.fields
    notes = [f"From {fields['source']}. What differs: {fields['differs']}"]
    against = {place.against[0] for place in result.places if place.against}
    if against:
        names = " or ".join(sorted(against)) if len(against) < _MANY else "the arm without dropout"
        notes.append(
            f"Differences are to {names}, seed by seed. The last column goes by their 95 % intervals, which "
            f"are not corrected for their number; p is (paired t-test, Holm; below {LEVEL:g} is significant)."
        )
    if fields["axis"] == "p_drop":
        notes.append("p_drop is the probability of dropping a unit; p_keep = 1 − p_drop is the paper's p.")
    marks = {place.unverified for place in result.places if place.unverified}
    return [*notes, *(_MARK_NOTES[mark] for mark in sorted(marks) if mark in _MARK_NOTES)]
