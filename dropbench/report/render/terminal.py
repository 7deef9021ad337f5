"""Tables in the terminal, and the curve of a figure in letters."""

import io
from collections.abc import Sequence
from math import inf, isnan, log10

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from dropbench.report.figure import Series, Subplot, log_ticks, tick_text
from dropbench.report.table import Table

_WIDEST, _HEIGHT = 100, 17
"""Columns and lines of a drawing."""
_HOLLOW = "○"
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
            console.print(grid(table, columns))
        for note in table.notes:
            console.print(Text(note, style="dim"))
        if console.is_terminal and table.figure is not None:
            for subplot in table.figure().subplots:
                if drawn := draw_in_letters(subplot, min(console.width, _WIDEST)):
                    console.print()
                    console.print(Text(drawn))


def grid(table: Table, columns: Sequence[int], most: int | None = None) -> RichTable:
    """Some columns of a table, by number, and its first rows, ``most`` of them where that is told."""
    made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for index in columns:
        column = table.columns[index]
        made.add_column(Text(column.title), justify="left" if column.left else "right", overflow="fold")
    for row, cells in zip(table.rows[:most], table.texts()[:most], strict=True):
        made.add_row(*(Text(cells[index], style=table.columns[index].style(row)) for index in columns))
    return made


def as_text(tables: Sequence[Table]) -> str:
    """The tables as they are shown on a terminal as wide as this one (80 columns without one), uncoloured."""
    lines = io.StringIO()
    show(tables, Console(file=lines, color_system=None))
    return "\n".join(line.rstrip() for line in lines.getvalue().splitlines())


def draw_in_letters(subplot: Subplot, width: int) -> str:
    """The lines of a subplot as text ``width`` columns wide, without colours; one filled line has intervals.

    Empty where there are fewer than three points to join.
    """
    lines = [series for series in subplot.series if series.joined]
    filled = [series for series in lines if not series.hollow]
    if max((len(series.x) for series in lines), default=0) < _FEWEST:
        return ""
    from plotext import figure, uncolorize

    figure.clear()
    figure.theme("colorless").canvas("default")
    figure.plot_size(width, _HEIGHT)
    title = subplot.title or subplot.y.label
    named = "   ".join(f"{_letter(series)} {series.name}" for series in lines)
    above = len(lines) > 1 and not subplot.levels and len(title) + len(named) + 6 < width
    place = log10 if subplot.x.log else float  # plotext's own logarithmic x puts all points in one column
    for series in lines:
        points = [point for point in zip(series.x, series.y, strict=True) if _is_seen(point, subplot)]
        xs, ys = [place(x) for x, _ in points], [y for _, y in points]
        for x, low, high in _seen_intervals(series, subplot) if filled == [series] else ():
            seen = [_LEAST if subplot.y.log and low <= 0 else low, high]
            figure.draw(figure.signal([place(x)] * 2, seen, marker="│").lines())
        figure.draw(figure.signal(xs, ys, marker="braille").lines())
        marked = figure.signal(xs, ys, marker=_letter(series))
        figure.draw(marked.label(series.name) if len(subplot.names) > 1 and not above else marked)
    ticks = sorted(set(subplot.xs))
    for level in subplot.levels:
        ends = [place(ticks[0]), place(ticks[-1])]
        figure.draw(figure.signal(ends, [level.y] * 2, marker="╌").lines().label(level.name))
    if subplot.x.log and len(ticks) > _MOST_TICKS:
        ticks = [tick for tick in log_ticks(ticks) if ticks[0] <= tick <= ticks[-1]]
    if subplot.x.log or len(ticks) <= _MOST_TICKS:
        figure.ruler("x").ticks([place(tick) for tick in ticks], [tick_text(tick) for tick in ticks])
    if subplot.y.log:
        figure.ruler("y").scale("log")
    figure.label(subplot.x.label)
    figure.title(f"{title}   {named}" if above else title)  # plotext's own legend may hide points
    text = uncolorize(str(figure.build()))
    return "\n".join(line.rstrip() for line in text.splitlines())


def _is_seen(point: tuple[float, float], subplot: Subplot) -> bool:
    """Whether a point has a place, within the span of the axis."""
    low, high = subplot.y.span or (-inf, inf)
    return not any(map(isnan, point)) and low <= point[1] <= high


def _seen_intervals(series: Series, subplot: Subplot) -> list[tuple[float, float, float]]:
    """The intervals of the points that are seen."""
    seen = {x for x, y in zip(series.x, series.y, strict=True) if _is_seen((x, y), subplot)}
    return [each for each in series.intervals if each[0] in seen]


def _letter(series: Series) -> str:
    return _HOLLOW if series.hollow else series.style.marker.letter


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
