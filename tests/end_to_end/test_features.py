"""dropbench features and --panel through the console script."""

import json
import shutil

import pytest
from end_to_end.console import dropbench, rows

SMALL = ("--data", "mnist5k", "--epochs", "2", "--units", "16", "--train-size", "300")


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    return folder, dropbench("features", *SMALL, cwd=folder)


def test_pictures_tables_and_numbers(features):
    folder, done = features
    assert done.returncode == 0, done.stderr
    results = folder / "results"
    for kind in ("features", "activations"):
        for ending in ("png", "svg"):
            assert len(list(results.glob(f"{kind}-*.{ending}"))) == 1
    found = rows(results / "runs.csv")
    assert {row["p_drop"] for row in found} == {"0.0", "0.5"}
    assert all(float(row["test_reconstruction_error"]) > 0 for row in found)
    assert {row["layers"] for row in found} == {"16"}
    measures = {row["measure"] for row in rows(results / "panel.csv")}
    assert {"dead_units", "activation_histogram", "mean_activation_histogram"} <= measures
    assert "reconstruction" in done.stdout


def test_the_same_command_trains_nothing_again_and_report_shows_the_same(features):
    folder, done = features
    again = dropbench("features", *SMALL, cwd=folder)
    assert "0 runs to do" in again.stderr
    assert "done again" not in again.stderr
    assert again.stdout == done.stdout
    report = dropbench("report", "--pictures", "figures", "--picture-format", "png,svg", cwd=folder)
    assert report.stdout == done.stdout
    assert len(list((folder / "figures").iterdir())) == 4


def test_tied_weights_are_another_net_with_half_the_weights(features):
    folder, _ = features
    tied = dropbench("features", *SMALL, "--tied", "--p", "0", "--json", cwd=folder)
    assert tied.returncode == 0, tied.stderr
    assert len(json.loads(tied.stdout)["tables"][0]["rows"]) == 1
    untied_parameters, tied_parameters = (
        float(row["parameters"]) for row in rows(folder / "results" / "runs.csv") if row["p_drop"] == "0.0"
    )
    assert untied_parameters - tied_parameters == 16 * 784


def test_without_mnist_the_embedded_digits_are_taken_and_that_is_said(tmp_path):
    done = dropbench("features", "--epochs", "1", "--p", "0", "--train-size", "100", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "mnist is not on this machine" in done.stderr
    assert "mnist5k" in done.stdout


def test_an_experiment_of_the_paper_says_what_it_takes_whenever_it_trains(tmp_path):
    command = ["paper", "fig7", "--scale", "smoke", "--data", "mnist5k"]
    for change, trains in ((None, True), ("predictions", True), (None, False)):
        if change:
            shutil.rmtree(tmp_path / "results" / change)
        done = dropbench(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert ("2 runs, about" in done.stderr) == ("2 runs to do" in done.stderr) == trains


def test_done_again_the_newer_figures_count(features):
    folder, done = features
    again = dropbench("features", *SMALL, "--force", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout


def test_compare_bagging_shows_the_panel(tmp_path):
    command = ["compare-bagging", "--members", "1", "--seeds", "1", "--model", "mlp", "--layers", "8"]
    done = dropbench(*command, "--epochs", "1", "--mc-samples", "2", "--panel", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "effective" in done.stdout
    assert dropbench("report", cwd=tmp_path).stdout.count("effective") == done.stdout.count("effective")


def test_a_sweep_with_panel_measures_it_and_goes_on_with_it(tmp_path):
    command = ["sweep", "--p", "0.5", "--seeds", "2", "--model", "mlp", "--layers", "32,16", "--epochs", "2"]
    assert dropbench(*command, cwd=tmp_path).returncode == 0
    assert "4 runs to do, 0 done" in dropbench(*command, "--panel", "--dry-run", cwd=tmp_path).stderr
    done = dropbench(*command, "--panel", cwd=tmp_path)  # those without a panel are done again
    assert done.returncode == 0, done.stderr
    assert "4 runs to do" in done.stderr
    assert "4 runs are done again: not all was kept of them" in done.stderr
    assert "effective" in done.stdout
    assert "0 runs to do, 4 done" in dropbench(*command, "--panel", "--dry-run", cwd=tmp_path).stderr
    again = dropbench(*command, "--panel", cwd=tmp_path)
    assert "0 runs to do" in again.stderr
    assert again.stdout == done.stdout
    assert len(list((tmp_path / "results").glob("panel-*.png"))) == 1
    by_run: dict[str, int] = {}
    for row in rows(tmp_path / "results" / "panel.csv"):
        by_run[row["run_id"]] = by_run.get(row["run_id"], 0) + 1
    assert set(by_run.values()) == {7 * 2 + 2 * 3 + 1 + 10}
