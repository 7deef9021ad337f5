"""Equal tuning: which trial a setting is shown at, which settings share a table, and what is said of it."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report.test_report import sweeps

from dropbench.report.diff import diff_tables
from dropbench.report.folder import Choice, load_report
from dropbench.report.page.build import render
from dropbench.report.pictures import save_pictures
from dropbench.report.render.export import EXPORTERS
from dropbench.report.sweep.command import sweep_commands
from dropbench.report.sweep.find import find_sweeps
from dropbench.report.sweep.table import sweep_table
from dropbench.report.sweep.tuning import Budget, choose, read, written
from dropbench.results.csv_file import append_rows
from dropbench.results.read import read_table
from dropbench.results.rows import run_row
from dropbench.results.schema import RUNS
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult

RATES = (0.005, 0.02, 0.08)
# The best rate on validation is another one for each p; on the test images it is always the last.
VALIDATION = {0.0: (4, 3, 5), 0.5: (6, 5, 2), 0.8: (7, 8, 9)}


def write(folder, p, value, seed=0, status="ok", test=None, **fields):
    """One run: ``value`` on validation, and 1 more on test unless told."""
    found = {"val_error_percent": value, "test_error_percent": value + 1 if test is None else test}
    found |= {"val_nll": -value, "test_nll": 1.0}
    config = RunConfig(p_drop=p, seed=seed, **fields)
    append_rows(
        folder,
        RUNS,
        [run_row(RunResult(config, status, metrics=found if status == "ok" else {}), "")],
    )
    return config.run_id


def tuned(folder, seeds=2, test=None, validation=VALIDATION, rates=RATES, **fields):
    """A sweep of each p at each rate on each seed."""
    for seed in range(seeds):
        for p, values in validation.items():
            for rate, value in zip(rates, values, strict=True):
                write(folder, p, value + seed * (1 + p) / 8, seed, test=test, learning_rate=rate, **fields)


def rates(sweep):
    return {setting.axes["p_drop"]: setting.tuning.values.get("learning_rate") for setting in sweep.settings}


@pytest.mark.parametrize("test", [None, 50.0, 0.0])
def test_each_setting_the_reference_too_is_at_its_own_best_on_validation_whatever_the_test(tmp_path, test):
    tuned(tmp_path, test=test)
    (sweep,) = sweeps(tmp_path)
    assert rates(sweep) == {0.0: 0.02, 0.5: 0.08, 0.8: 0.005}
    assert {setting.tuning.budget.trials for setting in sweep.settings} == {sweep.budget.trials}
    assert sweep.budget.values("learning_rate") == list(RATES)
    assert len(sweep.run_ids) == 18
    assert all(len(setting.run_ids) == 2 for setting in sweep.settings), "of the chosen trial alone"
    table = sweep_table(sweep)
    assert [row["learning_rate"] for row in table.rows] == [0.02, 0.08, 0.005]
    assert {row["trials"] for row in table.rows} == {3}
    assert [row["val_error_percent"] for row in table.rows] == pytest.approx([3.0625, 2.09375, 7.1125])
    assert "own learning rate" in table.title
    assert "0.02" not in table.title


def test_one_rate_for_all_is_as_ever(tmp_path):
    tuned(tmp_path, rates=(0.02,), validation={0.0: (3,), 0.5: (2,)})
    (sweep,) = sweeps(tmp_path)
    assert sweep.budget is None
    assert sweep.fields["learning_rate"] == 0.02
    assert all(setting.tuning is None for setting in sweep.settings)
    table = sweep_table(sweep)
    assert "learning rate 0.02" in table.title
    assert not {"trials", "learning_rate"} & table.rows[0].keys()


def test_what_was_tried_alone_has_its_table_beside_that_of_what_was_tuned(tmp_path):
    tuned(tmp_path)
    for p in (0.2, 0.4):
        write(tmp_path, p, 3.0, learning_rate=0.02)
    found = sweeps(tmp_path)
    assert [(len(each.settings), each.budget is None) for each in found] == [(3, False), (5, True)]
    assert found[1].fields["learning_rate"] == 0.02


def test_settings_are_compared_on_the_trials_that_all_of_them_had(tmp_path):
    """As where a sweep is interrupted: the last rate was begun for the first p alone."""
    for p, values in VALIDATION.items():
        for rate, value in zip(RATES[: 3 if p == 0 else 2], values, strict=False):
            write(tmp_path, p, value, learning_rate=rate)
    first, second = sweeps(tmp_path)
    assert rates(first) == {0.0: 0.02, 0.5: 0.02, 0.8: 0.005}
    assert len(first.budget) == 2
    assert rates(second) == {0.0: 0.02}
    assert len(second.budget) == 3
    assert len(first.run_ids | second.run_ids) == 7, "no run is lost"
    assert any("p_drop = 0" in note and "besides" in note for note in sweep_table(first).notes)


def test_an_interrupted_sweep_is_chosen_on_the_seeds_that_all_trials_have(tmp_path):
    tuned(tmp_path, seeds=1)
    write(tmp_path, 0.0, 0.0, seed=1, learning_rate=0.005)  # one lucky seed that no other rate had
    (sweep,) = sweeps(tmp_path)
    assert rates(sweep)[0.0] == 0.02
    assert {setting.tuning.seeds for setting in sweep.settings} == {1}
    write(tmp_path, 0.5, 0.0, seed=1, learning_rate=0.08)
    (sweep,) = sweeps(tmp_path)
    assert any("fewer seeds" in note and "1 here" in note for note in sweep_table(sweep).notes)


def test_a_rate_that_diverges_is_never_chosen_beside_one_that_does_not(tmp_path):
    tuned(tmp_path)
    for seed in (0, 1):
        write(tmp_path, 0.0, 0.0, seed, "diverged" if seed else "ok", learning_rate=0.5)
        write(tmp_path, 0.5, 0.0, seed, "diverged", learning_rate=0.5)
        write(tmp_path, 0.8, 0.0, seed, "failed", learning_rate=0.5)
    (sweep,) = sweeps(tmp_path)
    assert rates(sweep) == {0.0: 0.02, 0.5: 0.08, 0.8: 0.005}
    notes = sweep_table(sweep).notes
    assert any(note.startswith("3 runs") and "diverged" in note for note in notes)
    assert any("p_drop = 0.8 has no result of 1 of its 4" in note for note in notes)


def test_trials_without_any_seed_in_common_are_not_chosen_among(tmp_path):
    for seed, rate in enumerate(RATES):
        write(tmp_path, 0.5, 3.0, seed, learning_rate=rate)
    assert [sweep.budget for sweep in sweeps(tmp_path)] == [None] * 3


def test_a_grid_of_two_settings_has_the_best_of_all_combinations(tmp_path):
    for p, best in ((0.0, (0.02, 1e-4)), (0.5, (0.08, 0.0))):
        for rate in RATES:
            for decay in (0.0, 1e-4):
                value = 2.0 if (rate, decay) == best else 5.0
                write(tmp_path, p, value, learning_rate=rate, weight_decay=decay)
    (sweep,) = sweeps(tmp_path)
    assert [setting.tuning.values for setting in sweep.settings] == [
        {"weight_decay": 1e-4, "learning_rate": 0.02},
        {"weight_decay": 0.0, "learning_rate": 0.08},
    ]
    table = sweep_table(sweep)
    assert any("6 trials" in note for note in table.notes)
    assert {"weight decay", "learning rate"} <= {column.heading for column in table.columns}
    (command,) = sweep_commands(sweep)
    assert "--weight-decay 0,0.0001 --learning-rate 0.005,0.02,0.08" in command


def test_no_bound_is_a_trial_of_max_norm(tmp_path):
    for p, best in ((0.0, None), (0.5, 2.0)):
        for bound in (None, 2.0, 3.0):
            write(tmp_path, p, 1.0 if bound == best else 4.0, max_norm=bound)
    (sweep,) = sweeps(tmp_path)
    assert [setting.tuning.values["max_norm"] for setting in sweep.settings] == [None, 2.0]
    table = sweep_table(sweep)
    assert [cells[2] for cells in table.texts()] == ["none", "2"]
    assert "--max-norm 2,3,none" in sweep_commands(sweep)[0]
    assert [sentence for sentence in table.verdict if "tried" in sentence] == [
        "p_drop = 0.5: 2 is the smallest max-norm tried."
    ]


def edges(folder):
    (sweep,) = sweeps(folder)
    return [sentence for sentence in sweep_table(sweep).verdict if "tried" in sentence]


def test_a_choice_at_the_end_of_its_list_is_said(tmp_path):
    tuned(tmp_path)
    assert edges(tmp_path) == [
        "p_drop = 0.5: 0.08 is the largest learning rate tried.",
        "p_drop = 0.8: 0.005 is the smallest learning rate tried.",
    ]


def test_of_two_values_each_is_an_end(tmp_path):
    tuned(tmp_path, rates=(0.01, 0.02), validation={0.0: (3, 4), 0.5: (4, 3), 0.8: (9, 8)})
    assert edges(tmp_path) == [
        "p_drop = 0: 0.01 is the smallest learning rate tried.",
        "p_drop = 0.5, 0.8: 0.02 is the largest learning rate tried.",
    ]


def test_there_is_nothing_below_no_decay(tmp_path):
    for decay, value in ((0.0, 3.0), (1e-4, 4.0)):
        for p in (0.0, 0.5):
            write(tmp_path, p, value, weight_decay=decay)
    assert edges(tmp_path) == []


def test_another_metric_chooses_by_itself_on_validation(tmp_path):
    tuned(tmp_path)  # the likelihoods are the errors' opposite
    runs = read_table(tmp_path, RUNS)
    (by_nll,) = find_sweeps(runs, "nll")
    assert rates(by_nll) == {0.0: 0.08, 0.5: 0.005, 0.8: 0.08}
    (table,) = load_report(tmp_path, Choice(metric="nll")).tables
    assert [row["learning_rate"] for row in table.rows] == [0.08, 0.005, 0.08]


def test_a_report_has_it_in_every_form(tmp_path):
    tuned(tmp_path)
    report = load_report(tmp_path)
    (subject,) = report.subjects
    exported = json.loads(EXPORTERS[".json"](report.tables))["tables"][0]["rows"]
    assert [row["learning_rate"] for row in exported] == [0.02, 0.08, 0.005]
    assert [row["trials"] for row in exported] == [3, 3, 3]
    assert all("own learning rate" in figure.title for figure in subject.figures)
    (picture,) = save_pictures(report, tmp_path / "pictures")
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert "--learning-rate 0.005,0.02,0.08" in render(report)


def test_tables_of_other_trials_have_pictures_of_other_names(tmp_path):
    tuned(tmp_path)
    tuned(tmp_path, seeds=1, rates=RATES[:2], validation={0.2: (3, 4), 0.3: (3, 4)})
    names = [subject.file_name for subject in load_report(tmp_path).subjects]
    assert len(set(names)) == len(names) == 2


def test_folders_are_compared_at_the_own_trial_of_each(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    tuned(old)
    tuned(new, validation={**VALIDATION, 0.5: (2, 5, 6)})
    (table,), _ = diff_tables(old, new, Choice())
    assert {row["p_drop"]: row["difference"] for row in table.rows} == pytest.approx(
        dict.fromkeys(VALIDATION, 0)
    )
    assert "learning rate 0.005 (old: learning rate 0.08)" in next(
        row["setting"] for row in table.rows if row["p_drop"] == 0.5
    )


def test_a_folder_of_one_rate_is_compared_with_that_rate_of_a_tuned_one(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    tuned(old)
    tuned(new, rates=(0.08,), validation={p: values[2:] for p, values in VALIDATION.items()})
    (table,), _ = diff_tables(old, new, Choice())
    assert [row["old"] for row in table.rows] == pytest.approx([6.0625, 3.09375, 10.1125])
    assert [row["difference"] for row in table.rows] == [0, 0, 0]


figures = st.dictionaries(st.integers(0, 4), st.floats(0, 100), min_size=1)


@given(st.lists(figures, min_size=2, max_size=4))
def test_the_choice_has_the_lowest_mean_on_the_common_seeds(validation):
    choice = choose(validation, [()] * len(validation))
    common = set.intersection(*map(set, validation))
    if not common:
        assert choice is None
        return
    means = [math.fsum(values[seed] for seed in common) for values in validation]
    assert means[choice.number] == min(means)
    assert choice.seeds == common


@given(
    st.lists(figures, min_size=2, max_size=4), st.lists(st.sets(st.integers(0, 4)), min_size=4, max_size=4)
)
def test_no_trial_that_diverged_less_often_on_the_common_seeds_is_passed_over(validation, lost):
    diverged = [seeds - values.keys() for seeds, values in zip(lost, validation, strict=False)]
    choice = choose(validation, diverged)
    if choice is not None:
        counts = [len(choice.seeds & seeds) for seeds in diverged]
        assert counts[choice.number] == min(counts)


def test_lists_are_read_as_they_were_written():
    lists = {"max_norm": [2.0, None], "learning_rate": [0.01, 0.02]}
    assert read(written(lists)) == lists
    assert len(Budget.grid(lists)) == 4
    assert Budget.grid(lists).names == ("max_norm", "learning_rate")
