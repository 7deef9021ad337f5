"""docs/notebook.md: its cells run in order in one namespace, and give what the page says."""

import ast
import logging
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

PAGE = (Path(__file__).parents[2] / "docs" / "notebook.md").read_text(encoding="utf-8")
CELLS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SCRIPTS = re.findall(r"^```py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does; the value of its last expression."""
    *before, last = ast.parse(source).body
    if not isinstance(last, ast.Expr):
        before, last = [*before, last], None
    exec(compile(ast.Module(before, []), "notebook.md", "exec"), names)  # noqa: S102  # ours
    return None if last is None else eval(compile(ast.Expression(last.value), "notebook.md", "eval"), names)  # noqa: S307


@pytest.fixture
def _as_it_was(tmp_path, monkeypatch):
    """A folder to work in; what the cells set of the process is set back."""
    log = logging.getLogger("dropbench")
    level = log.level
    monkeypatch.chdir(tmp_path)
    yield
    log.setLevel(level)
    plt.close("all")


@pytest.mark.usefixtures("_as_it_was")
def test_the_cells_run_in_order_and_give_what_the_page_says(capsys):
    names: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    for source in CELLS:
        shown[source.strip().splitlines()[-1]] = run_cell(source, names)
    told = capsys.readouterr().out

    assert 0 <= shown["run.test.error"] <= 100
    assert list(shown["run.curves"]["epoch"]) == [1, 2]
    assert len(names["sweep"].frame) == 27
    assert set(names["sweep"].frame["status"]) == {"ok"}
    for result in (names["sweep"], names["comparison"], names["results"]):
        html = result._repr_html_()
        assert "<table" in html
        assert "<svg" in html or "<img" in html
        assert isinstance(result.frame, pd.DataFrame)
    assert names["sweep"].verdict in told
    assert names["comparison"].verdict in told
    assert "Did you mean 'dropout'?" in told
    assert set(names["sizes"].frame["train_size"]) == {100, 300}
    assert names["sweep"].best.keys() == {"p_drop"}
    assert math.isfinite(names["again"].test.nll)
    assert isinstance(names["axes"], Axes)
    assert Path("page.html").stat().st_size > 10_000

    run_cell(next(cell for cell in CELLS if cell.startswith("sweep = ")), names)
    assert not names["sweep"].outcome.ok  # every run is found: nothing is trained again


def test_the_script_has_its_guard():
    (script,) = SCRIPTS
    assert any(isinstance(part, ast.If) for part in ast.parse(script).body)
