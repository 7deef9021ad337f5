"""Statistics against closed forms, tables and exports against the rows they are made of."""

import csv
import io
import json
import math

import pandas as pd
import pytest

from dropbench.errors import DropbenchError, UsageError
from dropbench.report.folder import Choice, load_report
from dropbench.report.pictures import save_pictures
from dropbench.report.render.export import EXPORTERS, export
from dropbench.report.sweep.find import find_sweeps
from dropbench.report.sweep.table import sweep_table
from dropbench.results.csv_file import append_rows
from dropbench.results.read import read_table
from dropbench.results.rows import run_row
from dropbench.results.schema import RUNS
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult


def runs(folder, errors, **fields):
    """Write ok runs: errors maps p to the test errors of seeds 0, 1, …; validation errors are 1 higher."""
    rows = []
    for p, by_seed in errors.items():
        for seed, error in enumerate(by_seed):
            config = RunConfig(p_drop=p, seed=seed, **fields)
            status = "ok" if error is not None else "diverged"
            value = error if error is not None else float("nan")
            metrics = {"test_error_percent": value, "val_error_percent": value + 1, "test_nll": 0.1}
            row = run_row(RunResult(config, status, metrics=metrics if status == "ok" else {}), "")
            rows.append(row)
    append_rows(folder, RUNS, rows)


def sweeps(folder):
    return find_sweeps(read_table(folder, RUNS))


def test_table_has_means_differences_and_the_best_on_validation(tmp_path):
    runs(tmp_path, {0.0: [4, 5, 6], 0.5: [2, 3, 5], 0.8: [9, 9, None]})
    (sweep,) = sweeps(tmp_path)
    table = sweep_table(sweep)
    by_p = {row["p_drop"]: row for row in table.rows}
    assert by_p[0.5]["test_error_percent"] == pytest.approx(10 / 3)
    assert by_p[0.5]["difference_to_reference"] == pytest.approx(-5 / 3)
    assert by_p[0.5]["p_keep"] == 0.5
    assert [row["best"] for row in table.rows] == [False, True, False]
    assert by_p[0.8]["seeds"] == 2
    assert by_p[0.8]["difference_to_reference"] == pytest.approx(4.5), "paired with seeds 0 and 1 alone"
    assert any(note.startswith("1 run diverged and is") for note in table.notes)


def test_different_settings_never_share_a_table_and_sizes_have_their_own_reference(tmp_path):
    runs(tmp_path, {0.0: [4], 0.5: [3]}, train_size=100)
    runs(tmp_path, {0.0: [2], 0.5: [2.5]})
    runs(tmp_path, {0.0: [8], 0.5: [7]}, epochs=99)
    first, second = sweeps(tmp_path)
    assert len(first.settings) == 4
    assert len(second.settings) == 2
    differences = {
        row["train_size"]: row["difference_to_reference"] for row in sweep_table(first).rows if row["p_drop"]
    }
    assert differences[100.0] == -1
    assert [d for size, d in differences.items() if math.isnan(size)] == [0.5]


def test_weight_scaling_finds_the_reference_recorded_as_inverted(tmp_path):
    runs(tmp_path, {0.0: [4, 4]}, convention="inverted")
    runs(tmp_path, {0.5: [3, 3]}, convention="weight-scaling")
    (sweep,) = sweeps(tmp_path)
    assert sweep_table(sweep).rows[-1]["difference_to_reference"] == -1


def test_a_net_without_dropout_is_named_without_a_variant_of_it(tmp_path):
    runs(tmp_path, {0.0: [2, 3], 0.5: [4, 5]})
    runs(tmp_path, {0.5: [4, 6]}, dropout="gaussian", dropout_schedule="early", cutoff_epoch=2)
    (sweep,) = sweeps(tmp_path)
    assert [sweep.label(setting) for setting in sorted(sweep.settings, key=lambda s: s.axes["dropout"])] == [
        "p_drop = 0",
        "p_drop = 0.5, dropout = bernoulli, dropout_schedule = constant",
        "p_drop = 0.5, dropout = gaussian, dropout_schedule = early, cutoff_epoch = 2",
    ]


def verdict(tmp_path):
    (sweep,) = sweeps(tmp_path)
    return " ".join(sweep_table(sweep).verdict)


def test_settings_of_the_same_figures_are_as_good_as_the_best(tmp_path):
    runs(tmp_path, {0.0: [2, 3, 4], 0.3: [2, 3, 4], 0.5: [3, 4, 5]})
    (sweep,) = sweeps(tmp_path)
    table = sweep_table(sweep)
    assert [row["as_good_as_best"] for row in table.rows] == [True, True, False]
    said = " ".join(table.verdict)
    assert "would not have been seen" not in said, "no difference varies"
    assert "same error as p = 0 on every seed: p_drop = 0.3" in said
    assert "same difference to p = 0 on every seed" in said


@pytest.mark.parametrize("value", [0, 3])
def test_where_all_are_equal_nothing_is_told_apart_and_nothing_has_an_interval(tmp_path, value):
    runs(tmp_path, {p: [value] * 3 for p in (0.0, 0.3, 0.5)})
    (sweep,) = sweeps(tmp_path)
    table = sweep_table(sweep)
    assert all(math.isnan(row["test_error_percent_low"]) for row in table.rows)
    assert all(row["as_good_as_best"] for row in table.rows)
    assert "on every seed: p_drop = 0.3, 0.5" in " ".join(table.verdict)


U = {0.0: [3.0, 3.3, 3.1], 0.2: [2.0, 2.2, 2.1], 0.4: [3.1, 3.2, 3.2], 0.8: [55.0, 60.0, 64.0]}


def test_the_verdict_names_better_worse_and_untold_settings_and_never_joins_far_ones(tmp_path):
    runs(tmp_path, U)
    (sweep,) = sweeps(tmp_path)
    by_p = {row["p_drop"]: row for row in sweep_table(sweep).rows}
    assert by_p[0.2]["best"]
    assert not by_p[0.8]["as_good_as_best"]
    said = verdict(tmp_path)
    assert "significantly better" in said
    assert "0.67 [" in said
    assert "Not told apart from p = 0: p_drop = 0.4; differences under" in said
    assert "p_drop = 0.8" in said.partition("Not told apart")[0]


def test_a_setting_with_half_the_seeds_is_not_the_best_and_is_told(tmp_path):
    runs(tmp_path, {0.0: [5.0, 9.0], 0.4: [5.5]})
    (sweep,) = sweeps(tmp_path)
    assert [row["best"] for row in sweep_table(sweep).rows] == [True, False]
    assert "Too few seeds to be the best" in verdict(tmp_path)


def test_the_best_is_chosen_on_the_seeds_that_all_have(tmp_path):
    runs(tmp_path, {0.0: [5.0, 6.0, 9.0], 0.4: [5.5, 6.5, None]})
    (sweep,) = sweeps(tmp_path)
    assert [row["best"] for row in sweep_table(sweep).rows] == [True, False]
    assert "seeds that all of these settings have: 0, 1." in verdict(tmp_path)


def test_the_images_are_those_recorded_or_else_inferred(tmp_path):
    runs(tmp_path, {0.0: [2.3, 4.0], 0.5: [3.0, 3.1]})
    frame = read_table(tmp_path, RUNS)
    assert {s.examples["test"] for s in find_sweeps(frame)[0].settings} == {1000}
    told = frame.assign(test_images=5000.0, validation_images=float("nan"))
    (sweep,) = find_sweeps(told)
    assert {s.examples["test"] for s in sweep.settings} == {5000}
    assert {s.examples["val"] for s in sweep.settings} == {1000}


def test_nets_that_differ_in_momentum_or_batches_alone_have_titles_of_their_own(tmp_path):
    for fields in ({}, {"momentum": 0.5}, {"batch_size": 50}):
        runs(tmp_path, {0.5: [2, 3]}, **fields)
    assert len({sweep_table(sweep).title for sweep in sweeps(tmp_path)}) == 3


def test_what_titles_do_not_say_tells_sweeps_of_one_title_apart(tmp_path):
    for path, key in (("v1/images", "aaaaaaaaaaaa"), ("v2/images", "bbbbbbbbbbbb")):
        runs(tmp_path, {0.0: [4], 0.5: [3]}, data=f"folder:{path}", data_key=key)
    runs(tmp_path, {0.0: [4], 0.5: [3]}, model="mlp")
    for key in ("cccccccccccc", "dddddddddddd"):
        runs(tmp_path, {0.0: [4], 0.5: [3]}, model="nets:mine", model_key=key)
    subjects = load_report(tmp_path, Choice(only=("sweep",))).subjects
    titles = [subject.title for subject in subjects]
    assert len(set(titles)) == 5
    assert [name in title for name, title in zip(("aaaaaa", "bbbbbb"), titles, strict=False)] == [True] * 2
    assert ["source" in title for title in titles] == [False] * 3 + [True] * 2
    assert len({figure.title for subject in subjects for figure in subject.figures}) == 5
    assert all("v1/" not in title for title in titles)
    commands = [" ".join(subject.commands) for subject in subjects[:2]]
    assert ["folder:v1/images" in commands[0], "folder:v2/images" in commands[1]] == [True, True]


def test_one_folder_told_by_two_paths_is_one_sweep(tmp_path):
    runs(tmp_path, {0.0: [4]}, data="folder:images", data_key="aaaaaaaaaaaa")
    runs(tmp_path, {0.5: [3]}, data="folder:/home/me/images", data_key="aaaaaaaaaaaa")
    (subject,) = load_report(tmp_path, Choice(only=("sweep",))).subjects
    assert "folder:/home/me/images" in subject.commands[0]
    assert "aaaaaa" not in subject.title


def test_runs_of_a_model_that_another_dropbench_had_are_shown(tmp_path):
    runs(tmp_path, {0.0: [2, 3], 0.5: [4, 5]})
    path = tmp_path / RUNS.file_name
    path.write_text(path.read_text().replace(",lecture-cnn,", ",newer-net,"))
    (table,) = load_report(tmp_path).tables
    assert "newer-net on" in table.title


def test_truth_is_truth_in_json(tmp_path):
    runs(tmp_path, {0.0: [2, 3], 0.5: [4, 5]})
    tables = [sweep_table(sweep) for sweep in sweeps(tmp_path)]
    (exported,) = json.loads(EXPORTERS[".json"](tables))["tables"]
    assert all(row["tied"] is False for row in exported["rows"])


def test_what_all_with_dropout_share_is_in_no_label(tmp_path):
    runs(tmp_path, {0.0: [2, 3]})
    runs(tmp_path, {0.2: [2, 3], 0.5: [4, 6]}, convention="weight-scaling")
    (sweep,) = sweeps(tmp_path)
    assert [sweep.label(setting) for setting in sweep.settings] == [
        "p_drop = 0",
        "p_drop = 0.2",
        "p_drop = 0.5",
    ]
    assert "convention" in [column.title for column in sweep_table(sweep).columns]


def test_ensemble_members_stay_out_of_the_sweep(tmp_path):
    runs(tmp_path, {0.0: [4], 0.5: [3]})
    runs(tmp_path, {0.0: [40]}, member=1)
    runs(tmp_path, {0.0: [50]}, bootstrap=True)
    (sweep,) = sweeps(tmp_path)
    assert [row["test_error_percent"] for row in sweep_table(sweep).rows] == [4, 3]


@pytest.mark.parametrize("fields", [{}, {"train_size": 100}, {"p_drop_input": 0.2}])
def test_pictures_are_drawn_for_every_kind_of_sweep(tmp_path, fields):
    runs(tmp_path, {0.0: [4, 5], 0.5: [3, 3]})
    runs(tmp_path, {0.3: [3, 4], 0.5: [3, 4]}, **fields)
    paths = save_pictures(load_report(tmp_path), tmp_path)
    assert [path.read_bytes()[:4] for path in paths] == [b"\x89PNG"]


def test_exports_hold_the_same_numbers_and_escape_text(tmp_path):
    runs(tmp_path, {0.0: [4, 5], 0.5: [3, 3]}, data="folder:a_b|<script>&%")
    tables = load_report(tmp_path).tables
    for ending in EXPORTERS:
        export(tables, tmp_path / f"t{ending}")
    from_json = json.loads((tmp_path / "t.json").read_text())["tables"][0]["rows"]
    from_csv = list(csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text())))
    for a, b, row in zip(from_json, from_csv, tables[0].rows, strict=True):
        assert a["test_error_percent"] == float(b["test_error_percent"]) == row["test_error_percent"]
    assert from_json[0]["difference_to_reference"] is None
    assert from_csv[0]["difference_to_reference"] == ""
    markdown, latex = (tmp_path / "t.md").read_text(), (tmp_path / "t.tex").read_text()
    assert "<script>" not in markdown.replace("\\<script>", "")
    assert r"a\_b\textbar{}\textless{}script\textgreater{}\&\%" in latex
    assert all(line.count(" & ") == 7 for line in latex.splitlines() if line.endswith(r" \\"))
    with pytest.raises(UsageError):
        export(tables, tmp_path / "t.xlsx")


def test_empty_folders_say_what_to_run(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(DropbenchError, match="dropbench sweep"):
            load_report(folder)


def test_a_file_in_place_of_its_folder_is_told_as_one(tmp_path):
    runs(tmp_path, {0.0: [4]})
    with pytest.raises(DropbenchError, match="is a file"):
        load_report(tmp_path / "runs.csv")


def test_ten_thousand_runs_are_all_there(tmp_path):
    runs(tmp_path, {k / 1000: [1.0] * 100 for k in range(100)})
    assert isinstance(read_table(tmp_path, RUNS), pd.DataFrame)
    (sweep,) = sweeps(tmp_path)
    assert sum(len(sweep.test(setting)) for setting in sweep.settings) == 10_000
