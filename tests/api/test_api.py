"""The calls of ``import dropbench``, as a notebook makes them."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from engine.made import made
from experiments.quiet import Quiet

import dropbench as db
from dropbench.api.keywords import values_of
from dropbench.api.sweep import sweep_agenda
from dropbench.cli.main import run as run_command
from dropbench.datasets import cache
from dropbench.errors import DropbenchError, TimeLimitError
from dropbench.report.folder import load_report
from dropbench.report.page.build import render

SMALL = {"model": "mlp", "layers": (8,), "epochs": 2, "batch_size": 32, "runner": "serial", "threads": 1}
FLAGS = ["--model", "mlp", "--layers", "8", "--epochs", "2", "--batch-size", "32", "--threads", "1"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory, with_kernels_of_all):
    """A sweep of two p on two seeds, and the folder of it."""
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("swept")
        patch.setenv("DROPBENCH_CACHE_DIR", with_kernels_of_all(base / "cache"))
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (120, 8, 8), dtype=np.uint8)
        data = db.data(images[:90], np.arange(90) % 3, images[90:], np.arange(30) % 3)
        yield db.sweep(data, p=[0.2, 0.5], seeds=2, out=base / "results", **SMALL)


def test_a_run_has_its_metrics_and_its_curves_and_leaves_nothing(blobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = db.train(blobs, dropout=0.5, **SMALL)
    assert run.result.config.dropout.p_drop == 0.5
    assert run.test.error == run.result.metrics["test_error_percent"]
    assert run.validation.nll == run.result.metrics["val_nll"]
    assert run.curves["epoch"].tolist() == [1, 2]
    assert run.curves["val_error_percent"].iloc[-1] == run.validation.error
    assert list(tmp_path.iterdir()) == []
    assert f"{run.test.error:.4f}" in run._repr_html_()
    assert f"{run.test.error:.2f} %" in run.verdict
    (row,) = run.frame.to_dict("records")
    assert (row["run_id"], row["test_error_percent"]) == (run.result.config.run_id, run.test.error)


def test_a_run_is_recorded_where_that_is_wanted_and_done_anew_each_time(blobs, tmp_path):
    first, second = (db.train(blobs, p=0.3, seed=4, out=tmp_path, **SMALL) for _ in range(2))
    assert first.result.metrics == second.result.metrics
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 1 + 2
    (row,) = second.frame.to_dict("records")
    assert (row["p_drop"], row["seed"], row["status"]) == (0.3, 4, "ok")


def test_a_regression_has_metrics_and_words_of_its_own():
    """Its root mean squared error is in the unit of the target, which may be of any size."""
    run = db.train(cache.save(made()), p=0.3, layers=(8,), epochs=2)
    metrics = run.result.metrics
    assert run.result.config.task == "regress"
    assert (run.test.rmse, run.test.nll) == (metrics["test_rmse"], metrics["test_nll"])
    assert run.validation.coverage_error == metrics["val_coverage_error"]
    assert np.isnan(run.test.error)
    assert f"test RMSE {run.test.rmse:.4g}" in repr(run)
    assert f"Test RMSE {run.test.rmse:.4g}," in run.verdict
    shown = [row["metric"] for table in run.report.subjects[0].tables for row in table.rows]
    assert shown == ["rmse", "nll", "coverage_error"]


def test_a_panel_is_measured_and_shown(blobs):
    run = db.train(blobs, p=0.5, panel=True, **SMALL)
    assert [subject.kind for subject in run.report.subjects] == ["run", "panel"]
    assert {record.measure for record in run.result.panel} >= {"effective_rank", "train_error_percent"}


def test_a_sweep_is_a_frame_a_table_words_and_the_best_setting(swept):
    frame = swept.frame
    assert sorted(zip(frame["p_drop"], frame["seed"], strict=True)) == [
        (p, seed) for p in (0.0, 0.2, 0.5) for seed in (0, 1)
    ]
    assert [row["p_drop"] for row in swept.table.rows] == [0.0, 0.2, 0.5]
    assert swept.verdict == " ".join(swept.table.verdict)
    by_p = frame.groupby("p_drop")["val_error_percent"].mean()
    assert by_p[swept.best["p_drop"]] == by_p.min()
    assert set(swept.best) == {"p_drop"}
    assert frame["widened"].dtype == "boolean"
    assert frame["seed"].dtype == "Int64"


def test_what_is_long_shows_itself_short(swept, blobs):
    for shown in (swept, swept.table, blobs, db.train(blobs, **SMALL)):
        assert len(repr(shown)) < 200
    assert swept.table._repr_html_().count("<tr>") == 1 + len(swept.table.rows)


def test_printed_are_all_cells_as_they_are(swept):
    shown = str(swept)
    assert all(cell in shown for row in swept.table.texts() for cell in row)
    assert all(name in shown for name in ("p_drop", "p_keep", *swept.verdict.split()))


def test_a_probability_is_told_under_any_of_its_names(blobs, tmp_path):
    agendas = [
        sweep_agenda(blobs, out=tmp_path, **told, **SMALL)
        for told in ({"p": [0.2, 0.5]}, {"p_drop": "0.2,0.5"}, {"p": np.array([0.2, 0.5])})
    ]
    assert {frozenset(run.dropout.p_drop for run in each.todo) for each in agendas} == {
        frozenset({0.0, 0.2, 0.5})
    }


def test_text_in_a_list_is_read_as_text_alone_is(swept, blobs):
    assert values_of("p_drop", ["0.1", "0.3..0.5", 0.2]) == (0.1, 0.3, 0.4, 0.5, 0.2)
    assert values_of("train_size", ["100", "all"]) == (100, None)
    assert values_of("layers", "8,4/2") == ((8, 4), (2,)) == values_of("layers", [(8, 4), [2]])


def test_a_sweep_is_drawn_in_any_metric(swept):
    axes = swept.plot(metric="nll")
    means = swept.frame.groupby("p_drop")["test_nll"].mean().tolist()
    drawn = [np.asarray(line.get_ydata()).tolist() for line in axes.get_lines()]
    assert pytest.approx(means) in drawn
    assert "NLL" in axes.get_ylabel()
    assert swept.plot(axes=axes) is axes
    with pytest.raises(ValueError, match="Known: error"):
        swept.plot(metric="nlls")


def test_a_sweep_goes_on_where_it_was(blobs, tmp_path):
    first, again, more = Quiet(), Quiet(), Quiet()
    db.sweep(blobs, p="0.2,0.5", seeds=1, out=tmp_path, watcher=first, **SMALL)
    db.sweep(blobs, p=[0.2, 0.5], seeds=1, out=tmp_path, watcher=again, **SMALL)
    done = db.sweep(blobs, p=(0.5,), seeds=2, out=tmp_path, watcher=more, **SMALL)
    assert (first.runs, again.runs, more.runs) == (3, 0, 2)
    assert len(done.frame) == 4
    forced = Quiet()
    db.sweep(blobs, p=0.5, seeds=1, baseline=False, out=tmp_path, watcher=forced, force=True, **SMALL)
    assert forced.runs == 1


def test_any_setting_may_be_a_list(blobs, tmp_path):
    settings = {**SMALL, "layers": [(8,), (4, 4)]}
    done = db.sweep(
        blobs, p=0.5, learning_rate=[0.1, 0.01], seeds=1, out=tmp_path, baseline=False, **settings
    )
    assert sorted(zip(done.frame["layers"], done.frame["learning_rate"], strict=True)) == [
        ("4,4", 0.01), ("4,4", 0.1), ("8", 0.01), ("8", 0.1),
    ]  # fmt: skip
    (row, other) = done.table.rows
    assert {row["layers"], other["layers"]} == {"8", "4,4"}, "each net at its own learning rate"
    assert set(done.best) == {"p_drop", "learning_rate", "layers"}
    assert db.train(blobs, **{**SMALL, **done.best}).result.config.run_id in set(done.frame["run_id"])


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, with_kernels_of_all):
    """A sweep of a grid of rates and bounds, with panels, and its progress."""
    with pytest.MonkeyPatch.context() as patch:
        base = tmp_path_factory.mktemp("tuned")
        patch.setenv("DROPBENCH_CACHE_DIR", with_kernels_of_all(base / "cache"))
        generator = np.random.default_rng(1)
        images = generator.integers(0, 256, (120, 8, 8), dtype=np.uint8)
        data = db.data(images[:90], np.arange(90) % 3, images[90:], np.arange(30) % 3)
        trials = {"learning_rate": [0.02, 0.2], "max_norm": "none,1.5"}
        yield data, db.sweep(data, p=0.5, seeds=2, panel=True, out=base / "results", **trials, **SMALL)


def test_every_setting_and_the_reference_have_the_same_trials_and_their_own_best(tuned):
    _, done = tuned
    frame = done.frame.assign(max_norm=done.frame["max_norm"].fillna(np.inf))
    by_p = frame.groupby("p_drop")[["learning_rate", "max_norm", "seed"]].apply(
        lambda rows: sorted(map(tuple, rows.to_numpy()))
    )
    assert len(done.frame) == 16
    assert by_p[0.0] == by_p[0.5]
    val = frame.groupby(["p_drop", "learning_rate", "max_norm"])["val_error_percent"].mean()
    for row in done.table.rows:
        own = (row["learning_rate"], np.inf if np.isnan(row["max_norm"]) else row["max_norm"])
        assert val[row["p_drop"], *own] == val[row["p_drop"]].min()
        assert row["trials"] == 4


def test_a_tuned_sweep_says_the_same_from_its_files_alone(tuned):
    _, done = tuned
    loaded = db.load(done.out)
    assert loaded.verdict == done.verdict
    assert loaded.table.texts() == done.table.texts()
    assert loaded.table.notes == done.table.notes
    assert "own max-norm and learning rate" in loaded.table.title
    panel = next(subject for subject in done.report.subjects if subject.kind == "panel")
    assert [row["learning_rate"] for row in panel.tables[1].rows] == [
        row["learning_rate"] for row in done.table.rows
    ]


def test_the_best_of_a_tuned_sweep_can_be_trained_again(tuned):
    data, done = tuned
    assert set(done.best) == {"p_drop", "learning_rate", "max_norm"}
    assert db.train(data, **SMALL, **done.best).result.config.run_id in set(done.frame["run_id"])


def test_a_tuned_sweep_is_drawn_at_the_best_in_the_metric_drawn(tuned):
    _, done = tuned
    (line, *_) = done.plot(metric="nll").get_lines()
    means = done.frame.fillna({"max_norm": np.inf}).groupby(["p_drop", "learning_rate", "max_norm"])
    own = means["val_nll"].mean().groupby("p_drop").idxmin()
    expected = [means["test_nll"].mean()[own[p]] for p in (0.0, 0.5)]
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx(expected)


def test_the_curves_of_a_tuned_sweep_are_those_of_the_chosen_runs(tuned):
    _, done = tuned
    (subject,) = [each for each in done.report.subjects if each.kind == "sweep"]
    figure = next(each for each in subject.figures if each.name == "error-against-epoch")
    ends = {series.name: series.y[-1] for series in figure.subplots[0].series}
    for row in done.table.rows:
        assert ends[f"p_drop = {row['p_drop']:g}"] == pytest.approx(row["val_error_percent"])


def test_the_best_of_several_axes_can_be_trained_again(blobs, tmp_path):
    done = db.sweep(blobs, p=0.5, dropout="bernoulli,gaussian", seeds=1, out=tmp_path, **SMALL)
    assert set(done.best) == {"p_drop", "dropout"}
    assert db.train(blobs, **done.best, **SMALL).result.config.run_id in set(done.frame["run_id"])


def test_commands_are_the_same_runs(swept, blobs, tmp_path, capsys):
    told = ["sweep", "--p", "0.2,0.5", "--seeds", "2", "--out", str(tmp_path), "--dry-run", *FLAGS]
    assert run_command([*told, "--data", "mnist5k", "--train-size", "300"]) == 0
    ids = {line.split()[2] for line in capsys.readouterr().out.splitlines()}
    agenda = sweep_agenda(
        "mnist5k", p="0.2,0.5", seeds=2, train_size=300, out=tmp_path, **{**SMALL, "runner": "auto"}
    )
    assert ids == {run.run_id for run in agenda.todo}


def test_a_comparison_is_words_and_tables(blobs, tmp_path):
    done = db.compare(
        blobs, arms=["bagging"], members=2, seeds=1, mc_samples=2, ood="none", out=tmp_path, **SMALL
    )
    assert [row["arm"] for row in done.table.rows] == ["dropout", "bagging"]
    assert done.verdict.startswith("Bagging of 2 ")
    assert len(done.frame) == 3
    with pytest.raises(ValueError, match="Did you mean 'bagging'"):
        db.compare(blobs, arms="baging")


def test_features_of_autoencoders_are_kept(blobs, tmp_path):
    done = db.features(blobs, p=[0, 0.5], units=4, epochs=1, out=tmp_path, runner="serial", threads=1)
    assert done.frame["model"].tolist() == ["autoencoder"] * 2
    assert {figure.name for subject in done.report.subjects for figure in subject.figures} >= {"features"}


def test_an_experiment_of_the_paper_has_its_own_settings():
    with pytest.raises(ValueError, match="own `epochs`"):
        db.paper("table9", epochs=3)
    with pytest.raises(ValueError, match="Known: lecture"):
        db.paper("table99")


def test_a_folder_is_loaded_and_becomes_the_page_of_the_report(swept, tmp_path):
    results = db.load(swept.out)
    page = results.to_html(tmp_path / "page.html")
    assert page.read_text() == render(load_report(swept.out))
    assert results.frame.equals(swept.frame)
    assert results.verdict == swept.verdict
    assert db.load(swept.out, metric="nll").table.rows[1]["test_nll"] > 0
    with pytest.raises(DropbenchError, match="no folder"):
        db.load(tmp_path / "absent")


def test_a_notebook_shows_tables_and_pictures_and_obeys_no_markup(swept, blobs, tmp_path):
    shown = swept._repr_html_()
    assert shown.count("<table>") == 1
    assert shown.count('src="data:image/png') == 1
    assert "<script" not in shown
    names = replace(blobs, name="<b>blobs</b>")
    assert "&lt;b&gt;blobs" in db.sweep(names, p=0.5, seeds=1, out=tmp_path, **SMALL)._repr_html_()


def test_runs_are_logged_and_not_printed(blobs, tmp_path, capsys, told):
    db.sweep(blobs, p=0.5, seeds=1, out=tmp_path, **SMALL)
    assert capsys.readouterr() == ("", "")
    assert sum("test error" in sentence for sentence in told) == 2


def test_a_call_with_a_time_limit_says_how_far_it_came_and_goes_on(blobs, tmp_path):
    few = {**SMALL, "seeds": 1, "out": tmp_path, "p": 0.5}
    db.sweep(blobs, baseline=False, **few)
    with pytest.raises(TimeLimitError, match="1 of 3 runs has ended, 2 to go"):
        db.sweep(blobs, time_limit="0.001s", **{**few, "p": (0.3, 0.5)})
    assert len(db.sweep(blobs, time_limit="1h", **{**few, "p": (0.3, 0.5)}).frame) == 3


def test_failed_runs_are_warned_of(blobs, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="dropbench"):
        logging.getLogger("dropbench").propagate = True
        run = db.train(blobs, p=0.5, learning_rate=1e30, **SMALL)
    assert run.result.status == "diverged"
    assert np.isnan(run.test.error)
    assert "diverged" in run.verdict


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: db.train("mnist5k", p=1.5), "`p_drop` is 1.5"),
        (lambda: db.train("mnist5k", p="0.1..0.3"), "`p_drop` has 3 values"),
        (lambda: db.train("mnist5k", learning_rate=[0.1, 0.2]), "`learning_rate` has 2 values"),
        (lambda: db.compare("mnist5k", weight_decay="0,0.1"), "`weight_decay` has 2 values"),
        (lambda: db.features("mnist5k", max_norm=[None, 2]), "`max_norm` has 2 values"),
        (lambda: db.sweep("mnist5k", learning_rate="0.1,abc"), "'abc' is no number"),
        (lambda: db.sweep("mnist5k", learning_rate=[0.1, 0]), "`learning_rate` is 0"),
        (lambda: db.sweep("mnist5k", max_norm=["none", "three"]), "'three' is no number"),
        (lambda: db.train("mnist5k", epoch=3), "Did you mean 'epochs'"),
        (lambda: db.train("mnist5k", model="mlp", p_conv=0.1), "Leave out `p_drop_conv`"),
        (lambda: db.sweep("mnist5k", seeds=0), "`seeds` is 0"),
        (lambda: db.sweep("mnist5k", runner="rey"), "Did you mean 'ray'"),
        (lambda: db.sweep("mnist5k", jobs=0), "`jobs` is 0"),
        (lambda: db.compare("mnist5k", members=0), "members=0` is too small"),
        (lambda: db.train("mnist5k", epochs="two"), "`epochs` is 'two'"),
        (lambda: db.train("mnist5k", p=0.2, dropout=0.5), "told twice"),
        (lambda: db.train("mnist5k", jobs=2), "`jobs` is for several runs"),
        (lambda: db.train("mnist5k", runner="process"), "`runner` is for several runs"),
        (lambda: db.train("mnist5k", model="resnet18"), "Unknown model"),
        (lambda: db.sweep("mnist5k", seeds=[0, 1]), "`seeds` is .0, 1."),
        (lambda: db.sweep("mnist5k", seed=3), "`seed` is for one run"),
        (lambda: db.sweep("mnist5k", model="autoencoder"), "does not classify"),
        (lambda: db.data("mnist5"), "Did you mean 'mnist5k'"),
        (lambda: db.data(np.zeros((4, 8, 8))), "Four arrays"),
        (lambda: db.data(np.ma.masked_less(np.eye(4), 1), [0, 1, 0, 1]), "x_train has masked values"),
        (lambda: db.data("mnist5k", [0]), "by itself"),
        (lambda: db.data(np.zeros((4, 8, 8)), [0, 1], np.zeros((2, 8, 8)), [0, 1]), "x_train has 4"),
    ],
)
def test_what_cannot_be_is_a_value_error_that_names_the_setting(call, named):
    with pytest.raises(ValueError, match=named):
        call()


@pytest.mark.parametrize("channels", ["none", "first", "last"])
def test_arrays_are_taken_as_they_lie(channels):
    generator = np.random.default_rng(3)
    grey = generator.integers(0, 256, (20, 6, 5), dtype=np.uint8)
    given = {"none": grey, "first": grey[:, None], "last": grey[..., None]}[channels]
    data = db.data(given, list("ab" * 10), given[:4], list("abab"))
    assert np.array_equal(data.train_inputs, grey[:, None])
    assert data.classes == ("a", "b")
    assert data.train_targets.tolist() == [0, 1] * 10
    assert data.key == db.data(given / 255, list("ab" * 10), given[:4] / 255.0, list("abab")).key


@pytest.mark.parametrize(
    ("images", "named"),
    [
        (np.zeros((4, 8, 8)) - 1, "nothing but -1"),
        (np.full((4, 8, 8), np.nan), "256 NaN"),
        (np.arange(4), "shape"),
        (np.zeros((4, 2, 8, 8, 8)), "shape"),
        (np.full((4, 8, 8), "x"), "holds text"),
        ([[[1, 2]], [[3]], [[4]], [[5]]], "none that numpy takes"),
    ],
)
def test_arrays_that_are_no_inputs_are_refused(images, named):
    with pytest.raises(ValueError, match=named):
        db.data(images, [0, 1, 0, 1], images, [0, 1, 0, 1])


def test_names_that_are_not_there_are_no_attributes():
    with pytest.raises(AttributeError, match="sweeps"):
        _ = db.sweeps
    assert {"sweep", "train", "load"} <= set(dir(db))


def test_the_best_of_several_optimizers_trains_again_at_its_own_rate(blobs, tmp_path):
    names = ["sgd", "adamw"]
    done = db.sweep(blobs, model="mlp", layers=(8,), epochs=1, p=0.2, seeds=1, optimizer=names, out=tmp_path)
    assert set(done.best) == {"p_drop", "optimizer"}
    again = db.train(blobs, model="mlp", layers=(8,), epochs=1, out=tmp_path, **done.best)
    assert again.result.config.run_id in set(done.frame["run_id"])


def test_options_of_an_optimizer_may_be_a_mapping(blobs, tmp_path):
    told = {"optimizer": "adamw", "optimizer_options": {"betas": (0.5, 0.9)}}
    done = db.train(blobs, model="mlp", layers=(8,), epochs=1, out=tmp_path, **told)
    assert done.result.config.optimizer.options == "betas=(0.5,0.9)"
