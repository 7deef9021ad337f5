"""Tables in the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from dropbench.report.table import Table

_WIDEST = 100
"""Columns of a drawing."""


def show(tables: Sequence[Table], console: Console) -> None:
    """Print every table with its title and notes. All of it is text: no markup in it is obeyed."""
    for number, table in enumerate(tables):
        if number:
            console.print()
        console.print(Text(table.title, style="bold"))
        for sentence in table.verdict:
            console.print(Text(sentence))
        if table.verdict:
            console.print()
        for columns in _blocks(table, console.width):
            grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
            for index in columns:
                column = table.columns[index]
                grid.add_column(
                    Text(column.title), justify="left" if column.left else "right", overflow="fold"
                )
            for row, cells in zip(table.rows, table.texts(), strict=True):
                grid.add_row(
                    *(Text(cells[index], style=table.columns[index].style(row)) for index in columns)
                )
            console.print(grid)
        for note in table.notes:
            console.print(Text(note, style="dim"))
        if console.is_terminal and table.drawing and (drawn := table.drawing(min(console.width, _WIDEST))):
            console.print()
            console.print(Text(drawn))


def _blocks(table: Table, width: int) -> list[list[int]]:
    """The columns in as many blocks as fit ``width`` without folding a cell, each led by the table's lead."""
    texts = table.texts()
    widths = [
        max(map(len, (*column.title.split("\n"), *(cells[index] for cells in texts))))
        for index, column in enumerate(table.columns)
    ]
    gap = 2
    lead = list(range(table.lead))
    blocks = [lead.copy()]
    for index in range(table.lead, len(widths)):
        full = sum(widths[i] + gap for i in (*blocks[-1], index)) - gap > width
        if len(blocks[-1]) > table.lead and full:
            blocks.append(lead.copy())
        blocks[-1].append(index)
    return blocks
