"""What the training error says beside the test error, and which starts share a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.test_report import sweeps

from dropbench.report.render.terminal import draw_in_letters
from dropbench.report.run import RunSubject
from dropbench.report.sweep.command import sweep_commands
from dropbench.report.sweep.diagnosis import NO_GAP, NOT_LEARNT, OVERFITS, UNDERFITS, Fit, diagnosis
from dropbench.report.sweep.figures import error_figure
from dropbench.report.sweep.sweep import sweep_title
from dropbench.report.sweep.table import sweep_table
from dropbench.results.csv_file import append_rows
from dropbench.results.rows import run_row
from dropbench.results.schema import RUNS
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult

ERRORS = st.floats(0, 100)


def write(folder, fits, seeds=2, **fields):
    """Runs of each p whose training and test errors in percent are those of ``fits``."""
    for p, (train, test) in fits.items():
        for seed in range(seeds):
            metrics = {"train_error_percent": train, "test_error_percent": test + seed / 10}
            metrics |= {"val_error_percent": test}
            cost = {"test_images": 1000, "validation_images": 1000, "distinct_train_images": 900}
            result = RunResult(RunConfig(p_drop=p, seed=seed, **fields), "ok", metrics=metrics, cost=cost)
            append_rows(folder, RUNS, [run_row(result, "")])


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        (Fit(0.0, 29.4), OVERFITS),  # the lecture's net on CIFAR-10 without dropout
        (Fit(31.0, 33.0), UNDERFITS),  # and at p = 0.8
        (Fit(10.0, 28.0), ""),
        (Fit(2.1, 3.0), ""),  # far better than the reference
        (Fit(28.0, 29.0), NO_GAP),
        (Fit(0.0, 0.0), NO_GAP),
        (Fit(0.0, 0.03), NO_GAP),  # three images
        (Fit(88.0, 89.0), UNDERFITS),
    ],
)
def test_a_setting_is_judged_by_its_errors_beside_the_reference(fit, expected):
    reference = Fit(0.0, 29.4)
    assert diagnosis(fit, reference) == expected


def test_dropout_is_not_blamed_where_the_net_without_it_has_not_learnt_either():
    assert diagnosis(Fit(88.0, 89.0), Fit(87.0, 88.0)) == NOT_LEARNT
    assert diagnosis(Fit(87.0, 88.0), Fit(87.0, 88.0)) == NOT_LEARNT
    assert diagnosis(Fit(36.0, 37.0), Fit(15.0, 20.0)) == NO_GAP


@given(ERRORS, ERRORS, ERRORS, ERRORS)
def test_a_net_that_beats_the_reference_never_underfits_and_none_has_two_faults(train, test, other, best):
    fit, reference = Fit(train, test), Fit(other, best)
    found = diagnosis(fit, reference)
    if found == UNDERFITS:
        assert test > best
        assert train > other
    if found == OVERFITS:
        assert fit.gap > 0
    if found == NO_GAP:
        assert train < 50


def test_the_table_has_the_training_error_the_gap_and_the_diagnosis(tmp_path):
    write(tmp_path, {0.0: (0.0, 20.0), 0.5: (5.0, 18.0), 0.8: (24.0, 26.0)})
    (sweep,) = sweeps(tmp_path)
    rows = {row["p_drop"]: row for row in sweep_table(sweep).rows}
    assert {p: row["diagnosis"] for p, row in rows.items()} == {0.0: OVERFITS, 0.5: "", 0.8: UNDERFITS}
    assert rows[0.5]["gap"] == pytest.approx(13.05)
    assert rows[0.8]["train_error_percent"] == 24
    verdict = " ".join(sweep_table(sweep).verdict)
    assert "overfits" in verdict
    assert "--widen" in verdict


def test_runs_without_a_training_error_have_no_such_columns(tmp_path):
    for p in (0.0, 0.5):
        result = RunResult(RunConfig(p_drop=p), "ok", metrics={"test_error_percent": 5.0})
        append_rows(tmp_path, RUNS, [run_row(result, "")])
    (sweep,) = sweeps(tmp_path)
    assert "fit" not in [column.title for column in sweep_table(sweep).columns]
    assert len(error_figure(sweep).subplots[0].series) == 1


def test_the_figure_draws_training_and_test_error_as_figure_9_of_the_paper(tmp_path):
    write(tmp_path, {0.0: (0.0, 20.0), 0.5: (5.0, 18.0), 0.8: (24.0, 26.0)})
    (sweep,) = sweeps(tmp_path)
    (subplot,) = error_figure(sweep).subplots
    test, train = subplot.series
    assert train.y == (0.0, 5.0, 24.0)
    assert not subplot.y.log, "a training error of 0 has no place on a logarithmic scale"
    assert test.band
    assert train.hollow
    drawn = draw_in_letters(subplot, 100).splitlines()
    assert "● test" in drawn[0]
    assert sum(line.count("○") for line in drawn[1:]) == 3, "no legend hides a point"


def test_two_starts_share_a_table_that_tells_them_apart_and_the_net_without_dropout(tmp_path):
    write(tmp_path, {0.0: (0.0, 20.0), 0.5: (5.0, 18.0)})
    write(tmp_path, {0.0: (0.0, 20.0), 0.5: (50.0, 58.0)}, init="he")
    (sweep,) = sweeps(tmp_path)
    assert len(sweep.settings) == 3, "without dropout nothing is corrected"
    titles = [column.title for column in sweep_table(sweep).columns]
    assert "init" in titles
    differences = {
        row["init"]: row["difference_to_reference"] for row in sweep_table(sweep).rows if row["p_drop"]
    }
    assert differences == pytest.approx({"corrected": -2.0, "he": 38.0})
    (command,) = sweep_commands(sweep)
    assert "--init corrected,he" in command or "--init he,corrected" in command


def test_one_start_is_in_the_title_unless_it_is_the_usual(tmp_path):
    (tmp_path / "he").mkdir()
    write(tmp_path / "he", {0.0: (0.0, 20.0), 0.5: (5.0, 18.0)}, init="he")
    (he,) = sweeps(tmp_path / "he")
    assert "he initialisation" in sweep_title(he)
    (tmp_path / "usual").mkdir()
    write(tmp_path / "usual", {0.0: (0.0, 20.0), 0.5: (5.0, 18.0)})
    (usual,) = sweeps(tmp_path / "usual")
    assert "initialisation" not in sweep_title(usual)
    assert "--init" not in sweep_commands(usual)[0]


def test_torchs_start_has_its_own_net_without_dropout(tmp_path):
    write(tmp_path, {0.0: (0.0, 20.0), 0.5: (5.0, 18.0)})
    write(tmp_path, {0.0: (0.0, 30.0), 0.5: (5.0, 29.0)}, init="torch")
    (sweep,) = sweeps(tmp_path)
    differences = [row["difference_to_reference"] for row in sweep_table(sweep).rows if row["p_drop"]]
    assert sorted(differences) == pytest.approx([-2.0, -1.0])


@pytest.mark.parametrize(("last", "tested"), [(7, 5), (30, 30)])
def test_a_run_tells_when_its_patience_ended_it(last, tested):
    metrics = {f"{split}_error_percent": 1.0 for split in ("train", "val", "test")}
    cost = dict.fromkeys(("parameters", "train_seconds", "images_per_second", "seconds"), 1.0)
    cost |= {"peak_memory_bytes": None, "last_epoch": last, "tested_epoch": tested}
    result = RunResult(RunConfig(epochs=30, patience=2), "ok", metrics=metrics, cost=cost)
    (table,) = RunSubject(result).tables
    told, *_ = table.notes
    assert f"epoch {tested}" in told
    assert str(last) in told


@pytest.mark.parametrize(
    ("overflowed", "steps", "many"),
    [(None, 5000, False), (0, 5000, False), (16, 400, False), (50, 5000, False), (51, 5000, True)],
)
def test_a_run_and_a_sweep_tell_of_many_steps_that_overflowed(overflowed, steps, many, tmp_path):
    metrics = {f"{split}_error_percent": 1.0 for split in ("train", "val", "test")}
    cost = dict.fromkeys(("parameters", "train_seconds", "images_per_second", "seconds"), 1.0)
    cost |= {"peak_memory_bytes": None, "last_epoch": 10, "tested_epoch": 10}
    cost |= {"steps": steps, "overflowed_steps": overflowed}
    cost |= {"test_images": 1000, "validation_images": 1000, "distinct_train_images": 900}
    result = RunResult(RunConfig(precision="fp16"), "ok", metrics=metrics, cost=cost)
    (table,) = RunSubject(result).tables
    skipped = [note for note in table.notes if f"of {steps:,} steps" in note]
    assert len(skipped) == bool(overflowed)
    assert any("fp32" in note for note in skipped) is many
    append_rows(tmp_path, RUNS, [run_row(result, "")])
    (sweep,) = sweeps(tmp_path)
    assert any("overflowed_steps" in note for note in sweep_table(sweep).notes) is many
