"""LaTeX tables: every character has its place, and pdflatex takes them."""

import os
import shutil
import subprocess
import unicodedata

import pytest
from report.test_bagging import ERRORS, compare, differ
from report.test_report import runs

from dropbench.report.folder import load_report
from dropbench.report.render.as_latex import render
from dropbench.report.table import Column, Table

LATEX = shutil.which("pdflatex")
# What titles, checks and folders' names may hold: signs of ours, and some of a user's.
SIGNS = (
    "E(DX) = (1 − p)·E(X), ½ Σ w²x², √k, 10⁻⁵, x₁, αβγδελμσΓΔΣΩ, w̃, P̄, ‖y‖ ≤ ∞, é ß ø, 猫 😀, "
    "a_b&c%d#e$f{g}~^\\|<>"
)


def table(text: str) -> Table:
    return Table("t", text, (Column(text, lambda row: text, left=True),), ({},), (text,), (text,))


def test_nothing_is_left_that_pdflatex_does_not_know():
    text = render([table(SIGNS)])
    known = {c for c in text if not c.isascii()}
    assert all(unicodedata.name(c).startswith("LATIN") for c in known), known
    signs = [r"$\surd$", "$^{2}$", "$^{-}$$^{5}$", "$_{1}$", r"$\frac{1}{2}$", r"$\Sigma$", r"$\tilde{w}$"]
    for sign in (*signs, r"$\bar{P}$", r"a\_b\&c\%d\#e\$f\{g\}", r"\textbackslash{}"):
        assert sign in text


@pytest.mark.skipif(
    LATEX is None and "DROPBENCH_NEEDS_LATEX" not in os.environ, reason="there is no pdflatex here"
)
def test_pdflatex_compiles_every_kind_of_table(tmp_path):
    runs(tmp_path, {0.0: [4, 5], 0.5: [3, 3]}, data=SIGNS)
    compare(tmp_path, ERRORS)
    differ(tmp_path, {"bagging": (-0.4, -0.7, -0.1)}, 2)
    tables = render([*load_report(tmp_path).tables, table(SIGNS)])
    packages = r"\documentclass{article}\usepackage{booktabs,graphicx}"
    document = rf"{packages}\begin{{document}}{tables}\end{{document}}"
    (tmp_path / "document.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        [str(LATEX), "-interaction=nonstopmode", "-halt-on-error", "document.tex"],
        cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "document.pdf").stat().st_size > 10_000
    assert "Overfull" not in done.stdout
