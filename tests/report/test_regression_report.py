"""Reports of regressions: units change nothing, an NLL of densities has no ratios, a task has its metrics."""

import csv
import io
import json
import math
import shlex
from functools import partial

import numpy as np
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure as Canvas

from dropbench.api.keywords import sort_out
from dropbench.api.load import load
from dropbench.api.sweep import SweepDone
from dropbench.cli.main import app
from dropbench.errors import UsageError
from dropbench.experiments.sweep import expand
from dropbench.experiments.workbench import Outcome
from dropbench.report.diff import diff_tables
from dropbench.report.figure import Series, cut, span_below
from dropbench.report.folder import Choice, load_report, sweep_report
from dropbench.report.metrics import METRICS, OF_TASK, RMSE, find_metric
from dropbench.report.render.chart import chart
from dropbench.report.render.export import export
from dropbench.report.render.picture import draw
from dropbench.report.render.terminal import draw_in_letters
from dropbench.report.scale import LOG_DENSITY
from dropbench.report.significance import compare
from dropbench.report.style import REFERENCE
from dropbench.report.sweep.command import sweep_commands
from dropbench.report.sweep.diagnosis import NO_GAP, NOT_LEARNT, OVERFITS, UNDERFITS, Fit, diagnosis
from dropbench.report.sweep.figures import error_figure
from dropbench.report.sweep.find import find_sweeps
from dropbench.report.sweep.sweep import sweep_title
from dropbench.report.sweep.table import sweep_table
from dropbench.results.csv_file import append_rows
from dropbench.results.read import read_table
from dropbench.results.rows import epoch_rows, panel_rows, run_row
from dropbench.results.schema import EPOCHS, PANEL, RUNS
from dropbench.run.blocks.data import CLASSIFICATION, REGRESSION
from dropbench.run.config import RunConfig
from dropbench.run.result import SHARES, EpochRecord, PanelRecord, RunResult
from dropbench.run.telling import data_name

TABLE = {"inputs": "table", "task": REGRESSION, "data": "csv:/home/me/my data/houses.csv", "target": "price"}
# RMSE on test by p and seed; those of validation and training are in a fixed ratio to them.
RMSES = {
    0.0: (54.0, 55.1, 53.2),
    0.2: (50.0, 51.2, 49.5),
    0.5: (53.0, 55.9, 52.8),
    0.8: (130.0, 133.0, 128.1),
}
TRAINING = {0.0: 0.2, 0.2: 0.5, 0.5: 0.8, 0.8: 0.98}


def figures(p, rmse, unit=1.0, start=0.0):
    """The metrics of a run whose NLL is that of calibrated Gaussians, worse by overfitting."""
    found = {}
    for split, times in (("train", TRAINING[p]), ("val", 1.02), ("test", 1.0)):
        value = unit * times * rmse
        found |= {
            f"{split}_rmse": value,
            f"{split}_nll": math.log(value) + 1.42 - start + 0.3 * (1 - p),
            f"{split}_coverage_error": 0.05 + 0.1 * (1 - p) * rmse / 54,
        }
    return found


def write(folder, unit=1.0, start=0.0, panel=False, rmses=RMSES, **more):
    """Runs of a regression whose target is told in a unit, with an NLL that is ``start`` lower beside."""
    folder.mkdir(exist_ok=True)
    for p, by_seed in rmses.items():
        for seed, rmse in enumerate(by_seed):
            cost = {"test_images": 89, "validation_images": 35, "distinct_train_images": 318}
            records = [
                PanelRecord("units", "1", 0.0, 128.0),
                PanelRecord("effective_rank", "1", 0.0, 9.0 + seed),
            ]
            records += [PanelRecord("train_rmse", "", 0.0, unit * rmse * TRAINING[p])]
            records += [PanelRecord("test_rmse", "", share, unit * rmse * (1 + share)) for share in SHARES]
            epochs = [EpochRecord(e, -1.0 / e, math.nan, -0.5 / e, math.nan, 0.1) for e in (1, 2, 3)]
            config = RunConfig(**{**TABLE, "p_drop": p, "seed": seed, **more})
            result = RunResult(
                config,
                "ok",
                metrics=figures(p, rmse, unit, start),
                cost=cost,
                epochs=tuple(epochs),
                panel=tuple(records) if panel else (),
            )
            append_rows(folder, RUNS, [run_row(result, "")])
            append_rows(folder, EPOCHS, epoch_rows(result))
            if panel:
                append_rows(folder, PANEL, panel_rows(result))
    return folder


def classifiers(folder):
    for p in (0.0, 0.5):
        metrics = {
            f"{split}_{name}": 5.0 + p for split in ("val", "test") for name in ("error_percent", "nll")
        }
        append_rows(folder, RUNS, [run_row(RunResult(RunConfig(p_drop=p), "ok", metrics=metrics), "")])


def rows(folder, metric=""):
    (table,) = load_report(folder, Choice(only=("sweep",), metric=metric)).tables
    return table.rows


def sweep_of(folder, metric=""):
    (sweep,) = find_sweeps(read_table(folder, RUNS), metric)
    return sweep


def test_metrics_belong_to_tasks_and_the_first_is_the_default():
    assert find_metric("", CLASSIFICATION).name == "error"
    assert find_metric("", REGRESSION) == RMSE
    assert find_metric("ece", REGRESSION) is None
    assert {metric.name for task in OF_TASK.values() for metric in task} == set(METRICS)
    with pytest.raises(UsageError, match="rmse"):
        find_metric("rsme", REGRESSION)


@given(st.integers(2, 5), st.integers(0, 2**32 - 1), st.floats(-20, 20))
@settings(max_examples=60, deadline=None)
def test_another_unit_of_the_target_moves_every_nll_and_changes_no_comparison(names, seed, shift):
    # From a continuous distribution: where most figures are equal, rounding has a say in spreads.
    values = np.random.default_rng(seed).normal(0, 2, (names, 4))
    series = {name: dict(enumerate(np.round(by_seed, 3))) for name, by_seed in enumerate(values)}
    moved = {name: {seed: v + shift for seed, v in by_seed.items()} for name, by_seed in series.items()}
    pairs = [(name, 0) for name in series if name]
    for one, other in zip(
        compare(series, pairs, LOG_DENSITY), compare(moved, pairs, LOG_DENSITY), strict=True
    ):
        assert [one.difference.mean, one.difference.low, one.difference.high] == pytest.approx(
            [other.difference.mean, other.difference.low, other.difference.high], abs=1e-9, nan_ok=True
        )
        assert [one.p, one.p_holm, one.smallest_effect] == pytest.approx(
            [other.p, other.p_holm, other.smallest_effect], abs=1e-6, nan_ok=True
        )
        assert math.isnan(one.ratio.mean)
        assert math.isnan(other.ratio.mean)


def test_a_density_of_half_the_size_is_far_whatever_the_sign_of_the_nll():
    for start in (-2.0, 0.0, 1e-3, 5.0):
        reference = {seed: start + seed / 100 for seed in range(6)}
        for more, far in ((0.6, False), (0.8, True), (-0.8, True)):
            ours = {seed: value + more + seed % 2 / 100 for seed, value in reference.items()}
            (tested,) = compare({"ours": ours, "theirs": reference}, [("ours", "theirs")], LOG_DENSITY)
            assert tested.far == far
            assert tested.sees_doubling
            assert tested.significant


@pytest.mark.parametrize("unit", [1e-12, 1e-3, 1e6])
def test_the_unit_of_the_target_changes_neither_ratios_nor_tests_nor_verdicts_of_rmse(tmp_path, unit):
    ours, theirs = (rows(write(tmp_path / name, size)) for name, size in (("a", 1.0), ("b", unit)))
    for one, other in zip(ours, theirs, strict=True):
        for name in ("ratio_to_reference", "ratio_to_reference_low", "p_value", "p_value_holm", "p_better"):
            assert one[name] == pytest.approx(other[name], rel=1e-9, nan_ok=True)
        for name in ("best", "as_good_as_best", "diagnosis"):
            assert one[name] == other[name]
        assert other["test_rmse"] == pytest.approx(unit * one["test_rmse"])
        assert other["test_rmse_low"] == pytest.approx(unit * one["test_rmse_low"])


def test_the_verdict_on_a_negative_nll_is_that_on_a_positive_one(tmp_path):
    folders = [write(tmp_path / name, start=start) for name, start in (("a", 0.0), ("b", 20.0))]
    tables = [load_report(folder, Choice(only=("sweep",), metric="nll")).tables[0] for folder in folders]
    assert all(row["test_nll"] < -10 for row in tables[1].rows)
    assert [row["best"] for row in tables[0].rows] == [row["best"] for row in tables[1].rows]
    for one, other in zip(tables[0].verdict[1:], tables[1].verdict[1:], strict=True):
        assert one == other, "what follows the best setting's own figure says differences alone"
    assert tables[0].verdict[0].partition(" nats")[2] == tables[1].verdict[0].partition(" nats")[2]
    assert not any("times" in sentence or "twice" in sentence for sentence in tables[1].verdict)
    assert all(math.isnan(row["ratio_to_reference"]) for row in tables[1].rows)


def test_the_curve_of_an_nll_is_never_on_a_logarithmic_scale_and_that_of_rmse_may_be(tmp_path):
    far = {**RMSES, 0.8: tuple(100 * value for value in RMSES[0.8])}
    folder = write(tmp_path / "far", rmses=far)
    low = write(tmp_path / "low", start=6.2)
    for metric, where, log in (("rmse", folder, True), ("nll", folder, False), ("nll", low, False)):
        sweep = sweep_of(where, metric)
        (subplot,) = error_figure(sweep).subplots
        assert subplot.y.log == log
        draw(subplot, Canvas().subplots())
        assert "p_drop" in draw_in_letters(subplot, 90)
    assert min(subplot.ys) < 0 < max(subplot.ys)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=9), st.floats(-50, 50))
@settings(max_examples=50, deadline=None)
def test_the_axis_of_an_nll_ends_below_values_that_would_flatten_all_others(values, start):
    near = [start + value for value in values]
    far = max(near) + 300
    highest = cut([*near, far], math.log(2))
    if len(near) > 1:
        assert max(near) <= highest < far
    drawn = Series("", tuple(map(float, range(len(near) + 1))), (*near, far), REFERENCE)
    low, high = span_below([drawn], max(near))
    assert low <= min(near) <= max(near) <= high < far
    assert span_below([drawn], math.inf) is None


def test_a_setting_above_the_frame_is_named_at_the_axis(tmp_path):
    overfits = {**RMSES, 0.0: tuple(1e90 * value for value in RMSES[0.0])}
    sweep = sweep_of(write(tmp_path, rmses=overfits), "nll")
    (subplot,) = error_figure(sweep).subplots
    assert "213 at p_drop = 0" in subplot.y.label
    low, high = subplot.y.span
    assert low < high < 10
    assert draw(subplot, Canvas().subplots()).get_ylim() == (low, high)
    assert chart(subplot)["layout"]["yaxis"]["range"] == [low, high]
    assert "213" in draw_in_letters(subplot, 100).splitlines()[0]


def test_the_curves_of_training_are_those_of_the_loss_alone(tmp_path):
    (subject,) = load_report(write(tmp_path), Choice(only=("sweep",))).subjects
    assert [figure.name for figure in subject.figures] == ["rmse-against-p", "loss-against-epoch"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(54.321, "54.32"), (45_678.9, "45679"), (0.00123456, "0.001235"), (1e-30, "0.000000000000")],
)
def test_rmse_has_four_digits_whatever_the_unit(value, text):
    assert RMSE.fitted([value, math.nan, 100 * value]).value(value) == text
    assert OF_TASK[CLASSIFICATION][0].fitted([value]).digits == 2


@pytest.mark.parametrize(
    ("fit", "expected"),
    [
        (Fit(0.31, 1.0, metric=RMSE), OVERFITS),  # a tenth of the squared error
        (Fit(0.33, 1.0, metric=RMSE), ""),
        (Fit(0.95, 1.0, metric=RMSE), NO_GAP),
        (Fit(1.3, 1.4, metric=RMSE), UNDERFITS),
        (Fit(90.0, 300.0, metric=RMSE), OVERFITS),
    ],
)
def test_a_regression_is_judged_by_its_squared_errors(fit, expected):
    assert diagnosis(fit, Fit(0.3, 1.0, metric=RMSE)) == expected
    assert diagnosis(Fit(fit.train, fit.test, metric=RMSE), None) != NOT_LEARNT


def test_exports_have_the_columns_of_the_task_and_no_others(tmp_path):
    folder = write(tmp_path / "runs", panel=True)
    report = load_report(folder)
    sweep, _, errors = report.tables
    assert {"val_rmse", "test_rmse", "train_rmse", "test_nll", "test_coverage_error"} <= sweep.rows[0].keys()
    assert not any("percent" in name or "brier" in name for table in report.tables for name in table.rows[0])
    assert errors.rows[0]["test_rmse_0.5"] == pytest.approx(1.5 * np.mean(RMSES[0.0]))
    assert errors.rows[0]["gap"] == pytest.approx(0.8 * np.mean(RMSES[0.0]))
    for ending in ("csv", "json", "md", "tex"):
        export(report.tables, tmp_path / f"table.{ending}", None)
    found = json.loads((tmp_path / "table.json").read_text())["tables"]
    assert found[0]["rows"][1]["test_rmse"] == pytest.approx(np.mean(RMSES[0.2]))
    (header, *_) = csv.reader(io.StringIO((tmp_path / "table.csv").read_text()))
    assert {"test_rmse", "train_rmse_low", "test_rmse_0.9"} <= set(header)
    assert "RMSE" in (tmp_path / "table.md").read_text()
    assert "RMSE" in (tmp_path / "table.tex").read_text()


def test_a_metric_that_no_sweep_has_is_one_line_and_one_that_some_lack_is_told(tmp_path, told):
    folder = write(tmp_path / "runs", panel=True)
    for call in (
        lambda: load(folder, metric="error"),
        lambda: sweep_report(folder, ids(folder), metric="ece"),
    ):
        with pytest.raises(UsageError, match="rmse, nll and coverage"):
            call()
    with pytest.raises(UsageError, match="no metric brier"):
        diff_tables(folder, folder, Choice(metric="brier"))
    classifiers(folder)
    by_default = [table.title.partition(" ")[0] for table in load(folder, only="sweep").tables]
    assert sorted(by_default) == ["Error", "RMSE"]
    assert not told
    found = load(folder, metric="error")
    assert [table.kind for table in found.tables] == ["sweep", "panel-units", "panel-errors"]
    assert len(told) == 1
    assert "houses.csv" in told[0]
    assert len(load(folder, only="sweep", metric="nll").tables) == 2


def ids(folder):
    return set(read_table(folder, RUNS)["run_id"])


def test_a_sweep_in_python_has_its_best_and_its_plot_by_the_rmse(tmp_path):
    folder = write(tmp_path)
    report = partial(sweep_report, folder, ids(folder))
    done = SweepDone(folder, frozenset(ids(folder)), Outcome(), report, ("p_drop",))
    assert done.best == {"p_drop": 0.2}
    assert "RMSE" in done.plot(axes=Canvas().subplots()).get_ylabel()
    assert "NLL" in done.plot("nll", Canvas().subplots()).get_ylabel()
    with pytest.raises(UsageError, match="has no metric error"):
        done.plot("error")
    assert "0.2" in done.verdict
    assert "val_rmse" in done.frame


def test_diff_has_a_table_for_each_task(tmp_path):
    old, new = write(tmp_path / "old"), write(tmp_path / "new", rmses={**RMSES, 0.2: (60.0, 61.4, 59.0)})
    classifiers(old)
    classifiers(new)
    tables, worse = diff_tables(old, new, Choice())
    assert [table.title.partition(":")[0] for table in tables] == ["Test error, %", "Test RMSE"]
    assert worse
    assert [row["p_drop"] for row in tables[1].rows if row["worse"]] == [0.2]
    (only,), _ = diff_tables(old, new, Choice(metric="coverage"))
    assert not any("one of the folders only" in note for note in only.notes)
    assert "old_low" in only.rows[0]


def test_diff_tells_of_a_task_that_one_folder_has_alone(tmp_path):
    old, new = write(tmp_path / "old"), write(tmp_path / "new")
    classifiers(new)
    (table,), worse = diff_tables(old, new, Choice())
    assert not worse
    assert "2 settings are in one of the folders only." in table.notes


def test_trials_are_chosen_by_the_validation_rmse(tmp_path):
    for rate, times in ((0.01, 1.0), (0.1, 0.9)):
        worse = {p: tuple(times * value for value in by_seed) for p, by_seed in RMSES.items()}
        write(tmp_path, rmses=worse, learning_rate=rate)
    sweep = sweep_of(tmp_path)
    assert {setting.tuning.values["learning_rate"] for setting in sweep.settings} == {0.1}
    assert any("mean RMSE" in note for note in sweep_table(sweep).notes)


def test_a_title_names_the_file_and_the_target_and_no_folder():
    names = {
        "csv:/a/b/houses.csv": "csv:houses.csv",
        "npz:../x/set.npz": "npz:set.npz",
        "folder:./photos": "folder:photos",
        "hf:/sets/mine": "hf:mine",
        "sklearn:diabetes": "sklearn:diabetes",
        "mnist5k": "mnist5k",
    }
    assert {data: data_name(data) for data in names} == names


def test_two_files_of_one_name_are_told_apart_in_titles(tmp_path):
    for folder, key in (("a", "1" * 16), ("b", "2" * 16)):
        write(tmp_path, data=f"csv:{folder}/houses.csv", data_key=key)
    titles = [subject.title for subject in load_report(tmp_path, Choice(only=("sweep",))).subjects]
    assert len(set(titles)) == 2
    assert all("csv:houses.csv" in title and "target price" in title for title in titles)
    assert "regression" in titles[0]
    assert "table" not in titles[0]


SOURCES = [
    {"test_file": "/home/me/it's here/test rows.csv", "target": "price in $ (2020)"},
    {"test_share": 0.35, "target": "--p"},
    {"target": "y", "p_drop_input": 0.1, "learning_rate": 0.2, "epochs": 7},
    {"inputs": "images", "data": "folder:my photos", "target": "", "image_size": "64x96", "fit": "pad",
     "skip_unreadable": True, "augment": "flip,crop", "model": "lecture-cnn"},
    {"task": CLASSIFICATION, "target": "kind of house", "test_share": 0.1},
]  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_the_command_of_a_sweep_makes_the_same_runs(tmp_path, source):
    fixed = {**TABLE, **source}
    runs = expand(fixed, {"p_drop": (0.2, 0.5)}, seeds=2)
    append_rows(tmp_path, RUNS, [run_row(RunResult(run, "ok", metrics={}), "") for run in runs])
    sweep = sweep_of(tmp_path)
    (command,) = sweep_commands(sweep)
    told = parsed(command)
    keywords = sort_out({name: told[name] for name in told.keys() - {"seeds", "data", "baseline"}})
    ours, lists = keywords.on({"data": told["data"], "inputs": fixed["inputs"]}).swept()
    again = expand(ours, lists, told["seeds"], told["baseline"])
    assert {run.run_id for run in again} == {run.run_id for run in runs}
    assert sweep_title(sweep)


def parsed(command):
    """The settings of a command as its own parser reads them."""
    group = typer.main.get_command(app)
    _, name, *words = shlex.split(command)
    left_out = {"data_dir", "panel", "dry_run", "folder", "as_json", "config"}
    with group.commands[name].make_context(name, words) as context:
        return {
            name: value
            for name, value in context.params.items()
            if value is not None and value is not False and name not in left_out
        }
