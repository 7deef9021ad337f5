"""``dropbench find`` as a command: its exit codes, its JSON, its live table, and wrong input."""

import io
import json
import sys
from pathlib import Path

import pytest
from report.finds import find_of
from rich.console import Console

from dropbench.cli import progress
from dropbench.cli.find import UNDECIDED
from dropbench.cli.main import run
from dropbench.experiments.find.carry_out import FindRun

SMALL = ["--model", "mlp", "--layers", "6", "--epochs", "1", "--train-size", "60", "--jobs", "1"]


def find(*words: str, out: Path) -> int:
    return run(["find", *SMALL, *words, "--out", str(out)])


def test_the_exit_code_says_whether_it_is_decided(tmp_path, capsys):
    assert find("--p", "0.5", "--within", "1", "--budget", "3 runs", out=tmp_path) == UNDECIDED
    capsys.readouterr()
    assert find("--p", "0.5", "--within", "90", "--budget", "20 runs", "--json", out=tmp_path) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["decided"] is True
    assert told["flags"].startswith("--p ")
    assert told["test"]["low"] <= told["test"]["mean"] <= told["test"]["high"]
    assert {row["state"] for row in told["tables"][0]["rows"]} == set(told["states"].values())


def test_a_budget_that_ends_before_a_race_is_json_too(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(FindRun, "carry_out", lambda self: None)
    assert find("--p", "0.5", "--budget", "9 runs", "--json", out=tmp_path) == UNDECIDED
    assert json.loads(capsys.readouterr().out) == {"decided": False, "best": None, "tables": []}


def test_a_candidate_that_diverges_does_not_end_it_before_it_begins(tmp_path, capsys):
    words = ["--p", "0.5", "--no-baseline", "--learning-rate", "0.1,1e20", "--budget", "9 runs"]
    assert find(*words, "--json", out=tmp_path) == 0
    assert "no result" in json.loads(capsys.readouterr().out)["states"].values()


@pytest.mark.parametrize(
    "words",
    [
        ["--budget", "10"],
        ["--budget", "1 run"],
        ["--budget", "0.01s"],
        ["--p", "0"],
        ["--within", "0"],
        ["--within", "0.05"],
        ["--candidates", "ensemble"],
        ["--candidates", "boosting:3"],
        ["--candidates", "nets:5"],
        ["--metric", "rmse"],
        ["--seeds", "3"],
    ],
)
def test_wrong_input_ends_in_one_line_before_anything_is_trained(words, tmp_path, capsys):
    budget = [] if "--budget" in words else ["--budget", "20 runs"]
    assert find(*budget, *words, out=tmp_path / "none") == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert not (tmp_path / "none" / "runs.csv").exists()


@pytest.mark.parametrize("height", [12, 40])
def test_the_race_is_shown_above_the_bars_as_far_as_there_is_room(monkeypatch, height):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, height=height, width=100)
    monkeypatch.setattr(progress, "err", console)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    display = progress.LiveProgress()
    settings = [({"p_drop": p / 100}, [2 + p / 100, 2.1 + p / 100, 1.9 + p / 100]) for p in range(0, 60, 3)]
    display.looked(find_of(settings), 0)
    console.print(display.bars.get_renderable())
    lines = file.getvalue().rstrip().splitlines()
    assert 4 < len(lines) < height
    assert any("p_drop 0.0" in line or "p_drop 0 " in line for line in lines)
