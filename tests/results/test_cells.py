"""A cell that is not what it should be costs its own row, which is named, and no other."""

import csv
import re
import shutil
from pathlib import Path

import pytest

from dropbench.results.cells import checks_of, fault_of
from dropbench.results.csv_file import read_rows
from dropbench.results.csv_table import CsvTable
from dropbench.results.schema import COMPARISONS, EPOCHS, PANEL, RUNS, TABLES

RECORDED = Path(__file__).parents[2] / "results"
IN = {
    "runs.csv": "panel",
    "epochs.csv": "panel",
    "panel.csv": "panel",
    "comparisons.csv": "mnist5k-bagging",
    "differences.csv": "mnist5k-bagging",
    "reliability.csv": "mnist5k-bagging",
    "finds.csv": "cifar10-jpeg-find",
    "speed.csv": "speed",
    "checks.csv": "verify",
    "paper.csv": "paper",
}
"""A recorded folder that has the file."""


def recorded(table: CsvTable) -> list[dict[str, str]]:
    with (RECORDED / IN[table.file_name] / table.file_name).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.file_name)
def test_no_recorded_row_has_a_fault(table):
    for file in RECORDED.rglob(table.file_name):
        with file.open(newline="") as stream:
            assert {fault_of(row, table) for row in csv.DictReader(stream)} <= {""}, file


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.file_name)
def test_every_number_is_one(table):
    row = recorded(table)[0]
    for name in set(table.number_columns) & checks_of(table).keys() & row.keys():
        for bad in ("x", "1,5,2", "1;", "--1", "0x10"):
            assert name in fault_of({**row, name: bad}, table), (name, bad)


@pytest.mark.parametrize(
    ("table", "name", "bad"),
    [
        *((RUNS, "seed", bad) for bad in ("", "-1", "1.5", "inf", "nan")),
        *((RUNS, "p_drop", bad) for bad in ("", "1", "1.2", "-0.1", "nan")),
        *((RUNS, "test_error_percent", bad) for bad in ("", "100.5", "-1", "inf", "nan")),
        *((RUNS, "run_id", bad) for bad in ("", "../../etc/passwd", "a/b", "..", "=cmd()", "x" * 65)),
        *((RUNS, "layers", bad) for bad in ("8,", "-8", "8.5", "a")),
        (RUNS, "bootstrap", "maybe"),
        (RUNS, "convention", ""),
        (RUNS, "precision", "fp33"),
        (RUNS, "learning_rate", "0"),
        (RUNS, "model", ""),
        (RUNS, "status", "okay"),
        (RUNS, "test_images", "-3"),
        (RUNS, "threads", "2.5"),
        *((EPOCHS, "epoch", bad) for bad in ("", "0", "1.5")),
        *((COMPARISONS, name, "") for name in ("arm", "seed", "members")),
        (COMPARISONS, "member_run_ids", "abc ../../x"),
        (COMPARISONS, "foreign_auroc", "1.01"),
        *((PANEL, "layer", bad) for bad in ("x", "-1", "1.5")),
    ],
)
def test_what_is_blank_of_another_kind_or_out_of_range_is_named(table, name, bad):
    row = next(row for row in recorded(table) if row.get("measure", "units") == "units")
    assert fault_of(row, table) == ""
    assert fault_of({**row, name: bad}, table).startswith(f"its {name} ")


def test_what_an_older_version_did_not_write_is_no_fault():
    row = recorded(RUNS)[0]
    for name in ("pieces", "l1", "random_numbers", "init", "tested_epoch", "message"):
        assert fault_of({**row, name: ""}, RUNS) == ""
        assert fault_of({key: cell for key, cell in row.items() if key != name}, RUNS) == ""


def test_the_others_stay_and_the_row_is_told(tmp_path, told):
    shutil.copy(RECORDED / "panel" / "runs.csv", tmp_path)
    path = tmp_path / "runs.csv"
    before = read_rows(tmp_path, RUNS)
    lines = path.read_text().splitlines()
    place = lines[0].split(",").index("run_id")
    cells = lines[3].split(",")
    cells[place] = "../outside"
    path.write_text("\n".join([*lines[:3], ",".join(cells), *lines[4:]]) + "\n")
    assert [row["run_id"] for row in read_rows(tmp_path, RUNS)] == [
        row["run_id"] for number, row in enumerate(before) if number != 2
    ]
    assert re.fullmatch(r".*runs\.csv: left out: row 4, its run_id is '\.\./outside'\.", told[-1])


def test_a_cell_of_megabytes_is_told_shortened(tmp_path, told):
    shutil.copy(RECORDED / "panel" / "runs.csv", tmp_path)
    path = tmp_path / "runs.csv"
    count = len(read_rows(tmp_path, RUNS))
    with path.open("a") as file:
        file.write("x" * 5_000_000 + "\n")
    assert len(read_rows(tmp_path, RUNS)) == count
    assert len(told[-1]) < 300
