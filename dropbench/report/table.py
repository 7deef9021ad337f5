"""A table as data: what to show and the numbers behind it. Rendering is elsewhere."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dropbench.report.figure import Figure

Row = Mapping[str, Any]

NONE = "–"
"""The text of a cell where there is no value."""


@dataclass(frozen=True)
class Column:
    """One shown column: its title, with a line break where it may be folded, and a row's text in it."""

    title: str
    text: Callable[[Row], str]
    left: bool = False
    style: Callable[[Row], str] = lambda row: ""
    """A row's colour in it on a terminal, as rich names them; it says nothing that the text does not."""

    @property
    def heading(self) -> str:
        """The title on one line, and no word divided."""
        return self.title.replace("-\n", "").replace("\n", " ")


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of numbers under names (for CSV and JSON) and columns of text (for people)."""

    kind: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())
    verdict: tuple[str, ...] = field(default=())
    """The sentences above the table: its result in words."""
    figure: "Callable[[], Figure] | None" = None
    """Makes the figure that a terminal draws below the table."""
    lead: int = 1
    """How many columns, from the first, tell the rows apart: they are repeated where a table is folded."""

    def __repr__(self) -> str:
        """Say what it is and how large, since rows hold every number."""
        return f"<Table {self.title!r}: {len(self.rows)} rows>"

    def _repr_html_(self) -> str:
        """Show the columns in a notebook; nothing in a cell is obeyed as markup."""
        head = "".join(f"<th>{escape(column.heading)}</th>" for column in self.columns)
        rows = ("".join(f"<td>{escape(cell)}</td>" for cell in cells) for cells in self.texts())
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><caption>{escape(self.title)}</caption><tr>{head}</tr>{body}</table>"

    def texts(self) -> list[list[str]]:
        """The shown cells, row by row."""
        return [[column.text(row) for column in self.columns] for row in self.rows]

    def numbers(self) -> list[dict[str, Any]]:
        """The rows without the objects that only the shown cells use."""
        return [{name: cell for name, cell in row.items() if not name.startswith("_")} for row in self.rows]


def number(name: str, form: str, scale: float = 1.0) -> Callable[[Row], str]:
    """The text of a row's number in units of ``scale``; a dash where there is none."""

    def text(row: Row) -> str:
        value = row[name]
        return NONE if math.isnan(value) else f"{value / scale:{form}}"

    return text


def p_text(value: float) -> str:
    """A probability of a test as papers give it; a dash where there is none."""
    if math.isnan(value):
        return NONE
    return "<0.001" if value < 0.001 else f"{value:.2g}"


def p_words(value: float) -> str:
    """The same after the letter p, in a sentence: ``= 0.03``, ``< 0.001``."""
    text = p_text(value)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def share_of_seeds(row: Row) -> str:
    """In how many of a row's compared seeds it is the better, ties half: ``2 of 3``."""
    if math.isnan(row["p_better"]):
        return NONE
    seeds = row["compared_seeds"]
    return f"{row['p_better'] * seeds:g} of {seeds}"
