"""The panel's tables and the features' pictures, from made rows with known differences."""

import numpy as np
import pytest

from dropbench.report.figure import Images, Subplot
from dropbench.report.folder import load_report
from dropbench.report.pictures import save_pictures
from dropbench.report.render import as_markdown
from dropbench.report.render.picture import draw
from dropbench.results import predictions
from dropbench.results.csv_file import append_rows
from dropbench.results.rows import panel_rows, run_row
from dropbench.results.schema import PANEL, RUNS
from dropbench.run.config import RunConfig
from dropbench.run.result import (
    HISTOGRAM_BINS,
    RUNNING_VARIANCE,
    SHARES,
    TEST_VARIANCE,
    TRAINING_VARIANCE,
    PanelRecord,
    RunResult,
)

MEASURES = ("units", "dead_units", "mean_activation", "zero_share", "sparseness")
NOISE = (0.0, 0.01, -0.01, 0.02, -0.02, 0.005)


def record(folder, p, seed, correlation, rank, without, layers_measured=1, **fields):
    """One run: without maps a share of removed units to the test error."""
    config = RunConfig(p_drop=p, seed=seed, **fields)
    records = []
    for number in range(1, layers_measured + 1):
        records += [PanelRecord(measure, str(number), 0.0, 7.0) for measure in MEASURES]
        records += [
            PanelRecord("mean_abs_correlation", str(number), 0.0, correlation),
            PanelRecord("effective_rank", str(number), 0.0, rank),
        ]
    records += [
        PanelRecord("train_error_percent", "", 0.0, 1.0),
        *(PanelRecord("test_error_percent", "", share, error) for share, error in without.items()),
    ]
    metrics = {"test_error_percent": without[0.0], "val_error_percent": 3.0, "test_nll": 0.1}
    result = RunResult(config, "ok", metrics=metrics, panel=tuple(records))
    append_rows(folder, RUNS, [run_row(result, "")])
    append_rows(folder, PANEL, panel_rows(result))


def shares(at_0: float, at_half: float) -> dict[float, float]:
    return {k / 10: at_0 + (at_half - at_0) * k / 5 for k in range(len(SHARES))}


@pytest.fixture
def folder(tmp_path):
    for seed, noise in enumerate(NOISE):
        record(tmp_path, 0.0, seed, 0.2 + noise, 30 + noise, shares(4, 20 + noise))
        record(tmp_path, 0.5, seed, 0.1 + 2 * noise, 30 - noise, shares(3, 5 + 3 * noise))
    return tmp_path


def tables(folder):
    return {table.kind: table for table in load_report(folder).tables}


def test_differences_are_paired_and_say_what_holds(folder):
    found = tables(folder)
    rows = {row["p_drop"]: row for row in found["panel-units"].rows}
    assert rows[0.5]["mean_abs_correlation"] == pytest.approx(0.1 + 2 * np.mean(NOISE))
    assert rows[0.5]["mean_abs_correlation_difference"] == pytest.approx(-0.1 + np.mean(NOISE))
    notes = " ".join(found["panel-units"].notes)
    assert "hidden layer 1, mean |r|: lower at 0.5" in notes
    assert "hidden layer 1, effective rank: not told apart at 0.5" in notes


def test_every_line_of_a_markdown_table_has_as_many_cells(folder):
    lines = as_markdown.render([tables(folder)["panel-units"]]).splitlines()
    cells = {line.replace("\\|", "").count("|") for line in lines if line.startswith("|")}
    assert len(cells) == 1


def test_gap_and_error_without_units(folder):
    found = tables(folder)["panel-errors"]
    rows = {row["p_drop"]: row for row in found.rows}
    assert rows[0.0]["gap"] == pytest.approx(3)
    assert rows[0.5]["gap"] == pytest.approx(2)
    assert rows[0.0]["test_error_percent_0.5"] == pytest.approx(20 + np.mean(NOISE))
    assert "lower at 0.5" in found.notes[-1]


def test_each_net_has_its_own_layers(folder):
    """Of two sweeps in one folder, and of nets of one and of two layers in one sweep."""
    for seed in range(2):
        for layers in ((7,), (7, 7)):
            for p in (0.0, 0.5):
                record(folder, p, seed, 0.1, 9.0, shares(1, 2), len(layers), model="mlp", layers=layers)
    cnn, mlp = (t for t in load_report(folder).tables if t.kind == "panel-units")
    assert [(row["p_drop"], row["layer"]) for row in cnn.rows] == [(0.0, "1"), (0.5, "1")]
    assert sorted((row["layers"], row["layer"]) for row in mlp.rows) == [
        *[("7", "1")] * 2, *[("7,7", "1")] * 2, *[("7,7", "2")] * 2
    ]  # fmt: skip
    assert not any("hidden layer 2" in note for note in cnn.notes)
    assert all("nan" not in cell for row in mlp.texts() for cell in row)


def record_variances(folder, p, seed, variances, running=None):
    """The variances of a run's layers: of each by name, in training and at test; ``running`` for all."""
    config = RunConfig(p_drop=p, seed=seed)
    records = []
    for layer, (training, test) in variances.items():
        records += [PanelRecord(TRAINING_VARIANCE, layer, 0.0, training)]
        records += [PanelRecord(TEST_VARIANCE, layer, 0.0, test)]
        records += [PanelRecord(RUNNING_VARIANCE, layer, 0.0, running)] if running else []
    append_rows(folder, PANEL, panel_rows(RunResult(config, "ok", panel=tuple(records))))


def test_variances_are_ratios_and_those_of_li_et_al_the_larger_by_the_smaller(folder):
    assert "panel-variances" not in tables(folder), "recorded panels have none"
    for seed in range(len(NOISE)):
        record_variances(folder, 0.0, seed, {"norm": (2, 2), "dead": (0, 0)}, running=4)
        record_variances(folder, 0.5, seed, {"norm": (6 + seed, 2), "dead": (0, 0)}, running=1)
    found = tables(folder)["panel-variances"]
    rows = {row["p_drop"]: row for row in found.rows}
    assert len(found.rows) == 2, "a layer without variance at test has no ratio"
    assert rows[0.0]["variance_ratio"] == 1
    assert rows[0.5]["variance_ratio"] == pytest.approx((6 + 2.5) / 2)
    assert rows[0.0]["shift_ratio"] == rows[0.5]["shift_ratio"] == 2
    (subject,) = (s for s in load_report(folder).subjects if s.kind == "panel")
    variance, shift = subject.figures[0].subplots[-2:]
    assert [series.y[0] for series in variance.series] == [1, pytest.approx(4.25)]
    assert [series.y[0] for series in shift.series] == [2, 2]


def test_of_a_deep_net_some_layers_are_in_the_table_and_all_in_the_picture(folder):
    names = [f"layer{number}" for number in range(20)]
    for p in (0.0, 0.5):
        record_variances(folder, p, 0, dict.fromkeys(names, (3, 3)))
    found = tables(folder)["panel-variances"]
    shown = [row["layer"] for row in found.rows if row["p_drop"] == 0.5]
    assert len(shown) == 8
    assert (shown[0], shown[-1]) == (names[0], names[-1])
    assert "nothing is dropped before any" in found.notes[-1]
    (subject,) = (s for s in load_report(folder).subjects if s.kind == "panel")
    assert {series.x for series in subject.figures[0].subplots[-1].series} == {tuple(range(1, 21))}


def test_a_sweep_without_panel_has_none(tmp_path):
    config = RunConfig(p_drop=0.5)
    metrics = {"test_error_percent": 1.0, "val_error_percent": 1.0}
    append_rows(tmp_path, RUNS, [run_row(RunResult(config, "ok", metrics=metrics), "")])
    assert set(tables(tmp_path)) == {"sweep"}


@pytest.fixture
def autoencoders(tmp_path):
    """Two autoencoders; the arrays of the first are as they are kept, those of the other were deleted."""
    for p, error in ((0.0, 2.0), (0.5, 3.5)):
        config = RunConfig(model="autoencoder", layers=(9,), p_drop=p)
        records = [PanelRecord(measure, "1", 0.0, 7.0) for measure in MEASURES]
        for measure in ("activation_histogram", "mean_activation_histogram"):
            records += [PanelRecord(f"{measure}_{edge}", "1", 0.0, 0.5) for edge in ("low", "width")]
            records += [PanelRecord(measure, "1", bin_, 1 / HISTOGRAM_BINS) for bin_ in range(HISTOGRAM_BINS)]
        metrics = {"test_reconstruction_error": error, "val_reconstruction_error": error}
        result = RunResult(config, "ok", metrics=metrics, panel=tuple(records))
        append_rows(tmp_path, RUNS, [run_row(result, "")])
        append_rows(tmp_path, PANEL, panel_rows(result))
    rng = np.random.default_rng(0)
    arrays = {
        "features": rng.normal(size=(9, 1, 8, 8)),
        "originals": rng.random((3, 1, 8, 8)),
        "reconstructions": rng.random((3, 1, 8, 8)),
    }
    predictions.save(tmp_path, config.run_id, arrays)
    return tmp_path


def test_features_have_a_table_of_their_own_and_are_in_no_sweep(autoencoders):
    found = tables(autoencoders)
    assert set(found) == {"features"}
    row = found["features"].rows[1]
    assert row["test_reconstruction_error"] == 3.5
    assert row["difference_to_reference"] == 1.5


def test_a_histogram_begins_and_ends_at_nothing_and_has_the_area_of_one(autoencoders):
    (subject,) = load_report(autoencoders).subjects
    names = [figure.name for figure in subject.figures]
    assert names == ["features", "activations"]
    for subplot in subject.figures[1].subplots:
        for series in subplot.series:
            assert series.steps
            assert series.y[0] == series.y[-1] == 0
            areas = [
                y * (right - left) for left, right, y in zip(series.x, series.x[1:], series.y, strict=False)
            ]
            assert sum(areas) == pytest.approx(1)


def test_pictures_of_everything_a_folder_holds(folder, autoencoders):
    figures = folder / "new" / "figures"
    names = {
        path.name.rpartition("-")[0] + path.suffix
        for path in save_pictures(load_report(folder), figures, ("png", "svg"))
    }
    assert names == {
        f"{kind}.{ending}"
        for kind in (
            "error-against-p-mnist5k-lecture-cnn",
            "panel-mnist5k-lecture-cnn",
            "features-mnist5k-autoencoder",
            "activations-mnist5k-autoencoder",
        )
        for ending in ("png", "svg")
    }
    assert all(path.stat().st_size > 5000 for path in figures.iterdir())


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_stands_in_its_place(channels):
    from matplotlib.figure import Figure

    images = np.stack([np.full((channels, 2, 3), k / 5) for k in range(5)])
    grid = Subplot(images=Images(images, columns=3))
    shown = draw(grid, Figure().subplots()).get_images()[0].get_array()
    assert shown.shape[:2] == (5, 11)
    pixels = shown if channels == 1 else shown[..., 0]
    assert [pixels[3 * (k // 3), 4 * (k % 3)] for k in range(5)] == pytest.approx([k / 5 for k in range(5)])
    assert (pixels[3:, 8:] == 1).all()  # no sixth image
