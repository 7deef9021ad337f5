"""Tables in the terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from dropbench.report.table import Table


def show(tables: Sequence[Table], console: Console) -> None:
    """Print every table with its title and notes. All of it is text: no markup in it is obeyed."""
    for number, table in enumerate(tables):
        if number:
            console.print()
        grid = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
        for column in table.columns:
            grid.add_column(Text(column.title), justify="left" if column.left else "right", overflow="fold")
        for cells in table.texts():
            grid.add_row(*(Text(cell) for cell in cells))
        console.print(Text(table.title, style="bold"))
        console.print(grid)
        for note in table.notes:
            console.print(Text(note, style="dim"))
