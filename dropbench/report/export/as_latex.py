"""LaTeX tables in the style of booktabs; the document needs ``\\usepackage{booktabs}``."""

from collections.abc import Iterable, Sequence

from dropbench.report.table import Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "Δ": r"$\Delta$",
    "×": r"$\times$",
    "−": r"$-$",
    "–": "--",
    "\N{NO-BREAK SPACE}": "~",
}


def render(tables: Sequence[Table]) -> str:
    """Every table as a float with its caption, its notes below it."""
    return "% needs \\usepackage{booktabs}\n" + "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    alignment = "".join("l" if column.left else "r" for column in table.columns)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(table.title)}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _line(column.heading for column in table.columns),
        r"\midrule",
        *(_line(cells) for cells in table.texts()),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {_escape(note)}" for note in (*table.verdict, *table.notes)),
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(_escape(cell) for cell in cells) + r" \\"


def _escape(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)
