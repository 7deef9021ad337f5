"""Folders that a spreadsheet, an accident or an older dropbench has been at: an answer, never a traceback."""

import csv
import random

import matplotlib
import pytest
from report.test_report import runs

from dropbench.errors import DropbenchError, UsageError
from dropbench.report.folder import KINDS, Choice, load_report
from dropbench.report.page.build import render
from dropbench.report.render import as_csv, picture
from dropbench.report.table import Table
from dropbench.results.csv_file import append_rows, read_rows
from dropbench.results.schema import EPOCHS, RUNS
from dropbench.results.store import Store
from dropbench.run.result import EpochRecord

ERRORS = {0.0: [4.25, 5.5, 4.75], 0.5: [3.125, 3.5, 3.25]}


def means(folder, told) -> dict[float, float]:
    (table,) = load_report(folder, Choice(only=("sweep",))).tables
    return {row["p_drop"]: row["test_error_percent"] for row in table.rows}


def rewritten(folder, change) -> None:
    """Read runs.csv, let ``change`` have its rows of cells, and write what it gives back."""
    path = folder / "runs.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    path.write_bytes(change(rows))


def joined(rows, delimiter=",", end="\n") -> str:
    quoted = [[f'"{cell}"' if delimiter in cell else cell for cell in row] for row in rows]
    return end.join(delimiter.join(row) for row in quoted) + end


SAVED = {
    "with a mark of its encoding": lambda rows: joined(rows).encode("utf-8-sig"),
    "with other ends of lines": lambda rows: joined(rows, end="\r\n").encode(),
    "with semicolons": lambda rows: joined(rows, ";").encode(),
    "with tabs": lambda rows: joined(rows, "\t").encode(),
    "with decimal commas": lambda rows: joined(
        [rows[0], *([c.replace(".", ",") if n.endswith(("percent", "drop", "keep")) else c
                     for n, c in zip(rows[0], row, strict=True)] for row in rows[1:])], ";"
    ).encode("utf-8-sig"),
    "with TRUE and FALSE": lambda rows: joined(
        [[c.upper() if c in ("True", "False") else c for c in row] for row in rows]
    ).encode(),
    "with its columns in another order": lambda rows: joined(
        [[row[k] for k in random.Random(1).sample(range(len(row)), len(row))] for row in rows]
    ).encode(),
    "with a column of somebody's own": lambda rows: joined(
        [[*row, "note" if number == 0 else "mine"] for number, row in enumerate(rows)]
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("saved", SAVED)
def test_a_file_that_a_spreadsheet_saved_is_read_as_it_was(tmp_path, saved, told):
    runs(tmp_path, ERRORS)
    before = means(tmp_path, told)
    rewritten(tmp_path, SAVED[saved])
    assert means(tmp_path, told) == before
    assert told == []


@pytest.mark.parametrize("saved", [name for name in SAVED if "own" not in name])
def test_a_sweep_goes_on_in_a_file_that_a_spreadsheet_saved(tmp_path, saved, told):
    runs(tmp_path, ERRORS)
    before = means(tmp_path, told)
    rewritten(tmp_path, SAVED[saved])
    Store(tmp_path)
    runs(tmp_path, {0.8: [9.0]})
    assert means(tmp_path, told) == {**before, 0.8: 9.0}
    header = (tmp_path / "runs.csv").read_text(encoding="utf-8-sig").splitlines()[0]
    assert header.split(",") == list(RUNS.columns)


def test_one_seed_has_no_interval_and_is_told_why(tmp_path, told):
    runs(tmp_path, {0.0: [4.0], 0.5: [3.0]})
    (table,) = load_report(tmp_path).tables
    assert any("One seed gives no interval" in sentence for sentence in table.verdict)
    assert all("[" not in cells[4] for cells in table.texts())
    assert "without a test" in table.verdict[0]


def test_runs_that_did_not_end_well_are_counted_in_plain_sight(tmp_path, told):
    runs(tmp_path, {0.0: [None, None], 0.5: [None, None]})
    (table,) = load_report(tmp_path).tables
    assert "No run of it ended well" in table.verdict[0]
    assert any("4 runs diverged" in note for note in table.notes)
    assert "diverged" in render(load_report(tmp_path))
    runs(tmp_path, {0.2: [3.0, 4.0]})
    rows = {row["p_drop"]: row for row in load_report(tmp_path).tables[0].rows}
    assert (rows[0.5]["diverged_runs"], rows[0.2]["diverged_runs"], rows[0.2]["seeds"]) == (2, 0, 2)


def test_rows_of_another_schema_are_left_out_and_told(tmp_path, told):
    runs(tmp_path, ERRORS)
    place = RUNS.columns.index("schema_version")

    def aged(rows):
        for row in rows[1:3]:
            row[place] = "99"
        return joined(rows).encode()

    rewritten(tmp_path, aged)
    assert means(tmp_path, told)[0.5] == pytest.approx(sum(ERRORS[0.5]) / 3)
    assert "schema version 99" in " ".join(told)


def test_what_the_folder_lacks_is_said(tmp_path, told):
    runs(tmp_path, ERRORS)
    with pytest.raises(DropbenchError, match="nothing of comparison"):
        load_report(tmp_path, Choice(only=("comparison",)))
    for wrong in (
        lambda: Choice(only=("sweeps",)),
        lambda: Choice(sort="error"),
        lambda: Choice(metric="accuracy"),
    ):
        with pytest.raises(UsageError, match="Known"):
            wrong()


def test_a_part_an_order_and_a_reference_can_be_chosen(tmp_path, told):
    runs(tmp_path, {0.0: [5.0, 5.1], 0.2: [3.0, 3.3], 0.5: [4.0, 4.1]})

    def rows(**more):
        return load_report(tmp_path, Choice(**more)).tables[0].rows

    assert [row["p_drop"] for row in rows(sort="test")] == [0.2, 0.5, 0.0]
    assert [row["p_drop"] for row in rows(sort="difference")] == [0.2, 0.5, 0.0]
    by_p = {row["p_drop"]: row for row in rows(reference_p=0.5)}
    assert by_p[0.5]["reference"]
    assert by_p[0.2]["difference_to_reference"] == pytest.approx(-0.9)
    assert {row["test_nll"] for row in rows(metric="nll")} == {0.1}
    assert set(KINDS) >= {"sweep", "comparison"}


@pytest.mark.parametrize(
    "text", ["=cmd|' /C calc'!A0", "+1+cmd()", "-2+3", "@SUM(A1)", "\tx", "＝1+1", " =1"]
)
def test_text_that_a_spreadsheet_would_carry_out_is_text_in_the_export(text):
    row = {"label": text, "difference": -0.5, "p": "-0.5", "name": "a=b"}
    _, cells = csv.reader(as_csv.render([Table("k", "=title", (), (row,))]).splitlines())
    assert cells == ["'=title", f"'{text}", "-0.5", "-0.5", "a=b"]


@pytest.mark.parametrize("lost", ["all", "some"])
def test_runs_without_their_epochs_are_counted(tmp_path, lost, told):
    runs(tmp_path, ERRORS)
    ids = [row["run_id"] for row in read_rows(tmp_path, RUNS)]
    record = EpochRecord(1, 0.5, 50.0, 0.25, 25.0, 1.0)
    kept = [] if lost == "all" else ids[:4]
    append_rows(
        tmp_path, EPOCHS, [{"run_id": run_id, "schema_version": 1, **vars(record)} for run_id in kept]
    )
    (subject,) = load_report(tmp_path).subjects
    assert len(subject.figures) == (1 if lost == "all" else 3)
    (sentence,) = told
    assert f"nothing of {6 - len(kept)} of 6 runs" in sentence


def test_a_picture_is_the_same_whatever_matplotlib_is_set_to(tmp_path, monkeypatch):
    """As a notebook, a style or a matplotlibrc sets it."""
    monkeypatch.setattr(picture, "DOTS_PER_INCH", 30)  # which takes less time
    runs(tmp_path, {0.0: [4.0], 0.5: [3.0]})
    figure = load_report(tmp_path).subjects[0].figures[0]
    before = picture.render(figure, "png")
    theirs = {
        "savefig.bbox": "tight",
        "figure.dpi": 30,
        "font.size": 30,
        "axes.facecolor": "red",
        "axes.grid": True,
    }
    with matplotlib.rc_context(theirs):
        assert picture.render(figure, "png") == before
        assert matplotlib.rcParams["font.size"] == 30
