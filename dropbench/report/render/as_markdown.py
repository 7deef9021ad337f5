"""GitHub's Markdown tables."""

from collections.abc import Iterable, Sequence

from dropbench.report.table import Table


def render(tables: Sequence[Table]) -> str:
    """Every table under a heading of its own, its notes below it."""
    return "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    header = [_escape(column.heading) for column in table.columns]
    rule = [":---" if column.left else "---:" for column in table.columns]
    lines = [f"## {_escape(table.title)}", ""]
    for sentence in table.verdict:
        lines += [_escape(sentence), ""]
    lines += [_line(header), _line(rule)]
    lines += [_line(_escape(cell) for cell in cells) for cells in table.texts()]
    lines += ["", *(f"- {_escape(note)}" for note in table.notes), ""]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    for character in "\\|<*_`":
        text = text.replace(character, f"\\{character}")
    return text
