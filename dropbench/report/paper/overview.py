"""All differences that the lecture and the 2014 paper state, and what was found of each."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from dropbench.report.figure import Figure
from dropbench.report.paper.figures import OVERVIEW, overview_figure
from dropbench.report.paper.result import HIGHER, LOWER, READINGS, PaperResult, names_of
from dropbench.report.paper.subject import PaperSubject
from dropbench.report.paper.table import DIGITS, mark_notes, mark_of, place_name
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
        """The commands of the experiments."""
        return tuple(result.command() for result in self.results)

    @property
    def file_name(self) -> str:
        """The word differences: a folder has one overview."""
        return "differences"


def paper_subjects(results: Sequence[PaperResult]) -> Iterator[Subject]:
    """All differences of several experiments together, then each experiment."""
    if sum(bool(result.spoken) for result in results) > 1:
        yield OverviewSubject(tuple(results))
    yield from map(PaperSubject, results)


def overview_table(results: Sequence[PaperResult]) -> Table:
    """A row for each difference that the lecture or the paper states, in the order of the experiments."""
    rows = tuple(
        row for name, result in zip(names_of(results), results, strict=True) for row in _rows(name, result)
    )
    return Table(
        "paper-differences",
        OVERVIEW,
        (
            Column("experiment", lambda row: str(row["_name"]), left=True),
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
        lead=2,
    )


def _rows(name: str, result: PaperResult) -> Iterator[Row]:
    fields = result.fields
    for place, other in result.spoken:
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
            **place.difference.cells("difference"),
            "seeds": place.difference.count,
            "unverified": place.unverified,
            "reading": place.reading,
            "_name": name,
            "_difference": place.difference,
        }


def _there(row: Row) -> str:
    direction = str(row["paper_direction"])
    if math.isnan(row["paper_difference"]):
        return direction
    told = f"{row['paper_difference']:+.{DIGITS}f}{mark_of(row['unverified'])}"
    return told if direction in (LOWER, HIGHER) else f"{direction} ({told})"


def _verdict(rows: Sequence[Row]) -> str:
    counts = {reading: sum(row["reading"] == reading for row in rows) for reading in READINGS}
    told = ", ".join(f"{count} {reading}" for reading, count in counts.items() if count)
    return f"Of {counted(len(rows), 'difference')}: {told}."
