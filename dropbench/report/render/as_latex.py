"""LaTeX tables in the style of booktabs; the document needs ``\\usepackage{booktabs,graphicx}``."""

import unicodedata
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
    "‖": r"$\|$",
    "√": r"$\surd$",
    "∞": r"$\infty$",
    "→": r"$\to$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "±": r"$\pm$",
    "·": r"$\cdot$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "’": "'",
}
# The capitals that LaTeX has; the others look like Latin ones. Of small letters only omicron is missing.
_CAPITALS = ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega")
_ACCENTS = {
    "\N{COMBINING TILDE}": "tilde",
    "\N{COMBINING MACRON}": "bar",
    "\N{COMBINING CIRCUMFLEX ACCENT}": "hat",
}


def render(tables: Sequence[Table]) -> str:
    """Every table as a float, no wider than the text, with its caption above, its verdict and notes below."""
    return "% needs \\usepackage{booktabs,graphicx}\n" + "\n".join(_table(table) for table in tables)


def _table(table: Table) -> str:
    alignment = "".join("l" if column.left else "r" for column in table.columns)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(table.title)}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _line(column.heading for column in table.columns),
        r"\midrule",
        *(_line(cells) for cells in table.texts()),
        r"\bottomrule",
        r"\end{tabular}}",
        *(rf"\par\footnotesize {_escape(note)}" for note in (*table.verdict, *table.notes)),
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return " & ".join(_escape(cell) for cell in cells) + r" \\"


def _escape(text: str) -> str:
    """Text as pdflatex takes it: what its fonts lack becomes mathematics."""
    escaped: list[str] = []
    for character in unicodedata.normalize("NFC", text):
        if character in _ACCENTS and escaped:  # on a letter that has no such accent of its own
            escaped[-1] = rf"$\{_ACCENTS[character]}{{{escaped[-1]}}}$"
        else:
            escaped.append(_ESCAPES.get(character) or _mathematics(character))
    return "".join(escaped)


def _mathematics(character: str) -> str:
    if character.isascii():
        return character
    kind, _, plain = unicodedata.decomposition(character).partition(" ")
    letters = "".join(chr(int(code, 16)) for code in plain.split())
    if kind in ("<super>", "<sub>"):
        inner = _ESCAPES.get(letters, letters).strip("$")
        return f"${'^' if kind == '<super>' else '_'}{{{inner}}}$"
    if kind == "<fraction>":
        over, _, under = letters.partition("\N{FRACTION SLASH}")
        return rf"$\frac{{{over}}}{{{under}}}$"
    name = unicodedata.name(character, "")
    if name.startswith("GREEK ") and " LETTER " in name:
        letter = name.rpartition(" ")[2].lower().replace("lamda", "lambda")
        if "CAPITAL" in name:
            letter = letter.capitalize()
            return rf"$\{letter}$" if letter in _CAPITALS else letter[0]
        return "o" if letter == "omicron" else rf"$\{letter}$"
    # Of letters pdflatex knows the Latin ones, with their accents.
    return character if name.startswith("LATIN ") else "?"
