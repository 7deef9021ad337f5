"""All differences that the lecture and the 2014 paper state, and what was found of each."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from dropbench.report.figure import Figure
from dropbench.report.paper.figures import overview_figure
from dropbench.report.paper.result import NO_INTERVAL, READINGS, PaperResult
from dropbench.report.paper.subject import PaperSubject
from dropbench.report.paper.table import DIGITS, mark_notes, mark_of, place_name
from dropbench.report.statistics import NOTHING
from dropbench.report.subject import Subject
from dropbench.report.table import Column, Row, Table, number
from dropbench.run.telling import counted, data_name


@dataclass(frozen=True)
class OverviewSubject(Subject):
    """The differences of several experiments in one table."""

    results: tuple[PaperResult, ...]
    kind = "paper"

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """The table of all differences of which something is said."""
        return (overview_table(self.results),)

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """One figure of what the table says."""
        return (overview_figure(self.results),)

    @property
    def run_ids(self) -> frozenset[str]:
        """The runs of all experiments."""
        return frozenset().union(*(result.run_ids for result in self.results))

    @property
    def commands(self) -> tuple[str, ...]:
        """Those of the experiments."""
        return tuple(result.command() for result in self.results)

    @property
    def file_name(self) -> str:
        """What it shows; there is one in a folder."""
        return "differences"


def paper_subjects(results: Sequence[PaperResult]) -> Iterator[Subject]:
    """All differences of several experiments together, then each experiment."""
    if len(results) > 1:
        yield OverviewSubject(tuple(results))
    yield from map(PaperSubject, results)


def overview_table(results: Sequence[PaperResult]) -> Table:
    """A row for each difference that the lecture or the paper states, in the order of the experiments."""
    rows = tuple(row for result in results for row in _rows(result))
    scales = len({row["scale"] for row in rows}) > 1
    return Table(
        "paper-differences",
        "All differences that the lecture and the 2014 paper state",
        (
            Column("experiment", lambda row: str(row["experiment"]), left=True),
            *([Column("scale", lambda row: str(row["scale"]), left=True)] if scales else []),
            Column("arm", lambda row: str(row["arm"]), left=True),
            Column("against", lambda row: str(row["against"]), left=True),
            Column("measure", lambda row: str(row["unit"]), left=True),
            Column("there", _there, left=True),
            Column("here\n[95 %]", lambda row: row["_difference"].text(DIGITS, signed=True)),
            Column("seeds", number("seeds", ".0f")),
            Column("beside\ntheirs", lambda row: str(row["reading"]), left=True),
        ),
        rows,
        (
            "Differences are taken seed by seed; their intervals are not corrected for their number. There: "
            "the difference of the paper's figures, or the direction that a figure shows.",
            *mark_notes(place for result in results for place in result.places),
        ),
        (_verdict(rows),),
        lead=3 if scales else 2,
    )


def _rows(result: PaperResult) -> Iterable[Row]:
    fields = result.fields
    for place, other in result.spoken:
        difference = place.test.difference if place.test else NOTHING
        yield {
            "experiment": fields["paper"],
            "scale": fields["scale"],
            "data": data_name(fields["data"]),
            "precision": fields["precision"],
            "arm": place_name(result, place),
            "against": place_name(result, other),
            "unit": fields["unit"],
            "paper_direction": place.expected,
            "paper_difference": place.paper_difference,
            **difference.cells("difference"),
            "seeds": difference.count,
            "unverified": place.unverified,
            "reading": place.agreement or NO_INTERVAL,
            "_difference": difference,
        }


def _there(row: Row) -> str:
    if math.isnan(row["paper_difference"]):
        return str(row["paper_direction"])
    return f"{row['paper_difference']:+.{DIGITS}f}{mark_of(row['unverified'])}"


def _verdict(rows: Sequence[Row]) -> str:
    counts = {reading: sum(row["reading"] == reading for row in rows) for reading in READINGS}
    told = ", ".join(f"{count} {reading}" for reading, count in counts.items() if count)
    return f"Of {counted(len(rows), 'difference')}: {told}."
