"""Tables in the terminal, and the curve of a figure in letters."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from dropbench.report.figure import Subplot, tick_text
from dropbench.report.table import Table

_WIDEST, _HEIGHT = 100, 17
"""Columns and lines of a drawing."""
_FEWEST = 3
"""Points that a drawing is worth."""
_MOST_TICKS = 12
_LEAST = 1e-3
"""Where an interval ends on a logarithmic scale that reaches below 0."""


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
        if console.is_terminal and table.figure is not None:
            for subplot in table.figure().subplots:
                if drawn := draw_in_letters(subplot, min(console.width, _WIDEST)):
                    console.print()
                    console.print(Text(drawn))


def draw_in_letters(subplot: Subplot, width: int) -> str:
    """The lines of a subplot as text ``width`` columns wide, without colours; with one line its intervals.

    Empty where there are fewer than three points to join.
    """
    lines = [series for series in subplot.series if series.joined]
    if max((len(series.x) for series in lines), default=0) < _FEWEST:
        return ""
    from plotext import figure, uncolorize

    figure.clear()
    figure.theme("colorless").canvas("default")
    figure.plot_size(width, _HEIGHT)
    ticks = sorted({x for series in lines for x in series.x})
    named = len(subplot.names) > 1
    for series in lines:
        if len(lines) == 1:
            for x, low, high in zip(series.x, series.low, series.high, strict=True):
                if low < high:
                    seen = [max(low, _LEAST) if subplot.y.log else low, high]
                    figure.draw(figure.signal([x, x], seen, marker="│").lines())
        xs, ys = list(series.x), list(series.y)
        figure.draw(figure.signal(xs, ys, marker="braille").lines())
        points = figure.signal(xs, ys, marker=series.style.marker.letter)
        figure.draw(points.label(series.name) if named else points)
    for level in subplot.levels:
        line = figure.signal([ticks[0], ticks[-1]], [level.y, level.y], marker="╌").lines()
        figure.draw(line.label(level.name))
    if len(ticks) <= _MOST_TICKS:
        figure.ruler("x").ticks(ticks, [tick_text(tick) for tick in ticks])
    for axis, ruler in ((subplot.x, "x"), (subplot.y, "y")):
        if axis.log:
            figure.ruler(ruler).scale("log")
    figure.label(subplot.x.label)
    figure.title(subplot.title or subplot.y.label)
    text = uncolorize(str(figure.build()))
    return "\n".join(line.rstrip() for line in text.splitlines())


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
