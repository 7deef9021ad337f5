"""The CSV files: what is written is read back, and what is damaged costs only itself."""

import contextlib
import csv
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dropbench.errors import DropbenchError
from dropbench.results import predictions
from dropbench.results.csv_file import append_rows, mend, read_rows
from dropbench.results.read import finished_runs, latest, read_table
from dropbench.results.rows import run_row
from dropbench.results.schema import COMPARISONS, EPOCHS, PAPER, RUNS, SCHEMA_VERSION
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.result import METRIC_NAMES, EpochRecord, RunResult


def result(seed: int = 0, status: str = "ok", message: str = "", **fields: object) -> RunResult:
    config = RunConfig(seed=seed, p_drop=0.3, **fields)
    measured = {
        f"{split}_{name}": 1.0 + seed if name == "error_percent" else 0.25
        for split in ("val", "test")
        for name in METRIC_NAMES
    }
    cost = {
        "images_per_second": 1.5,
        "seconds": 2.0,
        "train_seconds": 1.0,
        "peak_memory_bytes": 7,
        "parameters": 3,
    }
    where = {"device": "cpu", "device_name": 'A "quoted", name', "threads": 1, "torch_version": "2",
             "dropbench_version": "0", "started_at": "now"}  # fmt: skip
    epochs = (EpochRecord(1, 0.5, 50.0, 0.25, 25.0, 1.0),)
    return RunResult(config, status, message, measured if status == "ok" else {}, cost, where, epochs)


def test_rows_come_back_as_they_were_written(tmp_path):
    store = Store(tmp_path)
    for seed in range(3):
        store.append(result(seed))
    runs = read_table(tmp_path, RUNS)
    assert list(runs["seed"]) == [0, 1, 2]
    assert list(runs["p_drop"]) == [0.3] * 3
    assert list(runs["p_keep"]) == [0.7] * 3
    assert list(runs["test_error_percent"]) == [1, 2, 3]
    assert set(runs["device_name"]) == {'A "quoted", name'}
    assert read_table(tmp_path, EPOCHS)["val_loss"].tolist() == [0.25] * 3
    assert set(store.finished()) == {RunConfig(seed=s, p_drop=0.3).run_id for s in range(3)}


def test_header_names_what_the_readme_promises(tmp_path):
    Store(tmp_path).append(result())
    header = next(csv.reader((tmp_path / "runs.csv").read_text().splitlines()))
    assert header[:3] == ["run_id", "schema_version", "status"]
    wanted = {"seed", "p_drop", "p_keep", "images_per_second", "seconds", "peak_memory_bytes", "device",
              "threads", "torch_version", "git_commit",
              *(f"{split}_{name}" for split in ("val", "test") for name in METRIC_NAMES)}  # fmt: skip
    assert wanted <= set(header)


def test_only_ok_runs_are_finished_and_a_later_failure_does_not_displace_them(tmp_path):
    store = Store(tmp_path)
    store.append(result(0, "failed", "line one\nline two"))
    assert store.finished() == {}
    store.append(result(0))
    store.append(result(0, "diverged"), again=True)
    assert len(store.finished()) == 1
    runs = read_table(tmp_path, RUNS)
    assert len(runs) == 1
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 4, (
        "one line a row, whatever a message holds"
    )


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_a_run_recorded_twice_the_later_training_counts_wherever_its_row_stands(tmp_path, order):
    errors = (74.65, 50.0)
    hours = ("2026-01-02T10:30:00+02:00", "2026-01-02T09:00:00+00:00")  # as text, the first would be later
    assert hours[0] > hours[1]
    rows = [
        {**run_row(result(), ""), "started_at": hour, "test_error_percent": error}
        for hour, error in zip(hours, errors, strict=True)
    ]
    append_rows(tmp_path, RUNS, [rows[number] for number in order])
    assert read_table(tmp_path, RUNS)["test_error_percent"].tolist() == [50.0]
    assert [row["test_error_percent"] for row in finished_runs(tmp_path).values()] == [50.0]


@pytest.mark.parametrize("hours", [("", "2026-01-02T09:00:00+00:00"), ("2/1/26 9:00", "1/1/26 8:00")])
def test_where_the_times_say_nothing_the_last_row_counts(tmp_path, hours):
    rows = [
        {**run_row(result(), ""), "started_at": hour, "test_error_percent": error}
        for error, hour in enumerate(hours)
    ]
    append_rows(tmp_path, RUNS, rows)
    assert read_table(tmp_path, RUNS)["test_error_percent"].tolist() == [1.0]


def test_of_an_average_written_twice_the_one_of_later_members_counts():
    row = {"comparison_id": "a", "member_started_at": "2026-01-02T10:00:00+00:00 2026-01-02T11:00:00+00:00"}
    older = {**row, "member_started_at": "2026-01-02T10:30:00+00:00 2026-01-02T10:00:00+00:00"}
    assert latest([row, older], COMPARISONS) == latest([older, row], COMPARISONS) == [row]


def test_of_a_point_written_twice_the_later_choice_counts_though_its_trial_was_started_earlier():
    before = {"row_id": "a", "trial": "learning_rate=0.1", "run_started_at": "2026-01-02T11:00:00+00:00"}
    now = {"row_id": "a", "trial": "learning_rate=0.02", "run_started_at": "2026-01-02T10:00:00+00:00"}
    assert latest([before, now], PAPER) == [now]


def test_a_row_and_the_predictions_beside_it_are_of_one_training(tmp_path):
    """Several commands into one folder train the same run, each rounding otherwise; some keep predictions."""
    first, second, third = (
        replace(
            result(), metrics={**result().metrics, "test_nll": nll}, predictions={"test": np.array([nll])}
        )
        for nll in (1.25, 1.5, 1.75)
    )
    Store(tmp_path).append(first)
    Store(tmp_path).append(second, keep_predictions=True)
    Store(tmp_path).append(third, keep_predictions=True)
    Store(tmp_path).append(third)
    (nll,) = read_table(tmp_path, RUNS)["test_nll"]
    assert nll == predictions.load(tmp_path, first.config.run_id)["test"] == 1.5
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 3


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 2000))
def test_a_file_cut_anywhere_keeps_every_whole_row_and_takes_new_ones(tmp_path, cut, told):
    folder = tmp_path / str(cut)
    folder.mkdir(exist_ok=True)
    path = folder / "runs.csv"
    path.unlink(missing_ok=True)
    append_rows(folder, RUNS, [run_row(result(seed), "") for seed in range(4)])
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    complete_before = max(0, path.read_bytes().count(b"\n") - 1)
    mend(folder, RUNS)
    kept = read_rows(folder, RUNS)
    assert complete_before <= len(kept) <= complete_before + 1
    assert [row["seed"] for row in kept] == list(range(len(kept)))
    append_rows(folder, RUNS, [run_row(result(9), "")])
    assert [row["seed"] for row in read_rows(folder, RUNS)] == [*range(len(kept)), 9]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    victim=st.integers(1, 5),
    at=st.integers(0, 400),
    length=st.integers(0, 60),
    rubbish=st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"")),
)
def test_a_damaged_line_costs_at_most_itself_and_is_never_silent(tmp_path, victim, at, length, rubbish, told):
    """Whatever stands in it: quotes, half a UTF-8 letter, zero bytes, commas."""
    path = tmp_path / "runs.csv"
    path.unlink(missing_ok=True)
    append_rows(tmp_path, RUNS, [run_row(result(seed), "") for seed in range(5)])
    lines = path.read_bytes().split(b"\n")
    lines[victim] = lines[victim][:at] + rubbish + lines[victim][at + length :]
    path.write_bytes(b"\n".join(lines))
    told.clear()
    kept = read_rows(tmp_path, RUNS)
    others = [run_row(result(seed), "")["run_id"] for seed in range(5) if seed + 1 != victim]
    found = [row["run_id"] for row in kept]
    assert [run_id for run_id in found if run_id in others] == others
    # Emptied, a line holds no row to be missed.
    assert len(kept) == 5 or told or not lines[victim].strip()
    Store(tmp_path).append(result(7))
    assert read_rows(tmp_path, RUNS)[-1]["seed"] == 7


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_a_file_of_anything_is_read_or_refused_in_a_sentence(tmp_path, content):
    for table in (RUNS, EPOCHS):
        (tmp_path / table.file_name).write_bytes(content)
        with contextlib.suppress(DropbenchError):
            read_rows(tmp_path, table)
        with contextlib.suppress(DropbenchError):
            Store(tmp_path)


def test_torn_last_line_is_mended_and_told(tmp_path, told):
    Store(tmp_path).append(result(0))
    with (tmp_path / "runs.csv").open("a") as file:
        file.write("abc,1,ok,mn")
    store = Store(tmp_path)
    assert len(told) == 1
    assert "cut off" in told[0]
    assert len(store.finished()) == 1


def test_report_reads_past_a_torn_line_without_touching_the_file(tmp_path, told):
    Store(tmp_path).append(result(0))
    path = tmp_path / "runs.csv"
    path.write_text(path.read_text() + "abc,1,ok")
    before = path.read_bytes()
    told.clear()
    assert len(finished_runs(tmp_path)) == 1
    assert "cut off" in told[0]
    assert path.read_bytes() == before


def test_other_schema_versions_are_said_and_left_out(tmp_path, told):
    Store(tmp_path).append(result(0))
    path = tmp_path / "runs.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[1].replace(f",{SCHEMA_VERSION},", ",99,", 1)]) + "\n")
    assert len(read_rows(tmp_path, RUNS)) == 1
    assert "schema version 99" in told[0]


def test_file_of_other_columns_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DropbenchError, match=r"has the column .a."):
        Store(tmp_path)
    with pytest.raises(DropbenchError, match="no column"):
        read_rows(tmp_path, RUNS)


def test_file_of_an_older_dropbench_is_read_and_gets_the_columns_it_lacks(tmp_path, told):
    Store(tmp_path).append(result(0))
    path = tmp_path / "runs.csv"
    with path.open(newline="") as file:
        table = list(csv.reader(file))
    gap = table[0].index("compile_seconds")
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(row[:gap] + row[gap + 1 :] for row in table)
    (old,) = read_rows(tmp_path, RUNS)
    assert math.isnan(old["compile_seconds"])
    Store(tmp_path).append(result(1))
    both = read_rows(tmp_path, RUNS)
    assert [row["run_id"] for row in both] == [result(0).config.run_id, result(1).config.run_id]
    assert path.read_text().splitlines()[0] == ",".join(RUNS.columns)
    assert repr(both[0]) == repr(old)  # as text, since NaN is unlike itself
    assert told == []


def test_rows_with_text_for_numbers_or_missing_cells_are_left_out_and_told(tmp_path, told):
    Store(tmp_path).append(result(0))
    path = tmp_path / "runs.csv"
    good = path.read_text().splitlines()[1]
    path.write_text(
        path.read_text() + good.replace(",0.3,0.7,", ",zero,0.7,") + "\nshort,1\n\n" + good + "\n"
    )
    assert len(read_rows(tmp_path, RUNS)) == 2
    assert len(told) == 2


def test_a_row_of_an_unknown_status_is_left_out_and_told(tmp_path, told):
    for seed in range(2):
        Store(tmp_path).append(result(seed))
    path = tmp_path / "runs.csv"
    path.write_text(path.read_text().replace(",ok,", ",okay,", 1))
    assert len(read_table(tmp_path, RUNS)) == 1
    assert told == [f"{path}: left out: row 2, its status is 'okay'."]


def test_a_file_with_other_line_ends_is_read_and_taken_up(tmp_path, told):
    for seed in range(2):
        Store(tmp_path).append(result(seed))
    path = tmp_path / "runs.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    Store(tmp_path).append(result(2))
    assert [row["seed"] for row in read_rows(tmp_path, RUNS)] == [0, 1, 2]
    assert told == []


def test_a_cell_beyond_all_bounds_is_said_not_traced(tmp_path):
    (tmp_path / "runs.csv").write_text("run_id\n" + "x" * 200_000 + "\n")
    with pytest.raises(DropbenchError, match="no column"):
        read_rows(tmp_path, RUNS)


def test_the_column_that_a_file_should_not_have_is_named(tmp_path):
    Store(tmp_path).append(result(0))
    path = tmp_path / "runs.csv"
    header, row = path.read_text().splitlines()
    path.write_text(f"{header},my_note\n{row},x\n")
    with pytest.raises(DropbenchError, match="'my_note'"):
        Store(tmp_path)


def test_a_lock_that_may_not_be_written_is_named_with_its_owner(tmp_path, monkeypatch):
    lock = tmp_path / ".dropbench.lock"
    lock.touch()

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(lock))

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with pytest.raises(DropbenchError, match=rf"{re.escape(lock.name)} belongs to {lock.owner()}"):
        Store(tmp_path)


def test_folder_that_cannot_be_one_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DropbenchError, match="Cannot write into"):
        Store(tmp_path / "file" / "results")


def test_the_run_that_ended_last_counts_whatever_the_clocks_say(tmp_path, told):
    """Another machine's clock is an hour ahead; --force does its run again here."""
    ahead, now = "2026-01-02T11:00:00+01:00", "2026-01-02T09:00:00+00:00"
    for nll, hour in ((0.5, ahead), (0.75, now)):
        made = result()
        metrics, where = {**made.metrics, "test_nll": nll}, {**made.where, "started_at": hour}
        Store(tmp_path).append(replace(made, metrics=metrics, where=where), again=True)
    assert read_table(tmp_path, RUNS)["test_nll"].tolist() == [0.75]
    assert "one of the two is wrong" in told[-1]
    path = tmp_path / "runs.csv"
    header, *lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([header, *reversed(lines)]))
    assert read_table(tmp_path, RUNS)["test_nll"].tolist() == [0.75]


def test_rows_are_not_written_under_the_columns_of_another_version(tmp_path):
    store = Store(tmp_path)
    store.append(result(0))
    path = tmp_path / "runs.csv"
    header, row = path.read_text().splitlines()
    path.write_text(f"{header},of_tomorrow\n{row},1\n")
    before = path.read_bytes()
    with pytest.raises(DropbenchError, match="another version"):
        store.append(result(1))
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
@pytest.mark.parametrize("name", ["runs.csv", "panel.csv", ".dropbench.lock"])
def test_a_link_out_of_the_folder_is_refused_and_its_target_untouched(tmp_path, name):
    (tmp_path / "theirs").write_text("mine\n")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / name).symlink_to(tmp_path / "theirs")
    with pytest.raises(DropbenchError, match="is a link"):
        Store(folder)
    assert (tmp_path / "theirs").read_text() == "mine\n"


def test_a_message_of_200000_letters_is_shortened_and_its_row_is_read(tmp_path, told):
    Store(tmp_path).append(result(0, "failed", 'ValueError: x"y,\n' * 20_000))
    (row,) = read_rows(tmp_path, RUNS)
    assert row["status"] == "failed"
    assert len(row["message"]) < 3_000
    assert told == []
