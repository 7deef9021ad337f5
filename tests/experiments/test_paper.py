"""The experiments of the lecture and the paper: the declarations in their files, and the rows they record."""

import hashlib
import math
from dataclasses import replace

import pandas as pd
import pytest
import torch
from experiments.quiet import Quiet

from dropbench.cli.main import run
from dropbench.dropout.control import dropout_layers
from dropbench.errors import UsageError
from dropbench.experiments import estimate as module
from dropbench.experiments.estimate import SETS, Bench, estimate
from dropbench.experiments.paper.definition import PASSES, SCALES, repeats
from dropbench.experiments.paper.files import FILES, find, names, parse
from dropbench.experiments.paper.run import PaperExperiment, carry_out_paper
from dropbench.experiments.speed.work import training_flops
from dropbench.experiments.workbench import Workbench
from dropbench.models.build import make_module
from dropbench.report.folder import load_report, paper_report
from dropbench.results.read import read_table
from dropbench.results.schema import COMPARISONS, PANEL, PAPER, RUNS
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine, Policy
from dropbench.run.result import mc_ladder
from dropbench.run.telling import duration

CPU = torch.device("cpu")


@pytest.fixture
def bench(digits):
    return Workbench(digits, CPU, "fp32", Machine(jobs=1, threads=1))


def carry(name, bench, folder, seeds=2):
    experiment = PaperExperiment.plan(find(name), "smoke", bench, seeds)
    watcher = Quiet()
    carry_out_paper(experiment, bench, Store(folder), watcher, Policy())
    return experiment, watcher.runs


def test_all_experiments_of_the_issue_are_there_in_the_order_of_the_lecture_and_the_paper():
    assert names()[:1] == ["lecture"]
    assert {"table2", "table9", "table10", "fig4", "fig7", "fig8", "fig9a", "fig9b", "fig10", "fig11",
            "cifar10", "cifar100", "svhn"} < set(names())  # fmt: skip
    assert names().index("table9") < names().index("table10")


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", names())
def test_every_file_declares_nets_that_can_be_built_and_points_to_compare(name, scale):
    chosen = find(name)
    points = chosen.points(scale)
    keys = {point.key for point in points}
    assert len(keys) == len(points) > 1
    for point in points:
        assert point.against is None or point.against in keys
        assert point.against != point.key
        images = SETS[chosen.data]
        with torch.device("meta"):
            make_module(images.shape, images.classes, point.config)
    assert any(point.against for point in points)


@pytest.mark.parametrize("scale", ["medium", "small"])
@pytest.mark.parametrize("name", names())
def test_scales_differ_in_the_amount_of_work_only(name, scale):
    small, full = ({p.key: p for p in find(name).points(each)} for each in (scale, "full"))
    for key in small.keys() & full.keys():
        spared = {
            field: small[key].config.settings()[field]
            for field in ("epochs", "width", "train_size", "mc_samples")
        }
        assert full[key].config.replace(**spared) == small[key].config
        assert small[key].paper == full[key].paper


def test_figures_that_could_not_be_checked_are_marked():
    unsure = {
        (point.paper, point.unverified) for point in find("table2-wide").points("full") if point.unverified
    }
    assert unsure == {(1.04, "from memory"), (1.01, "single copy")}


def test_the_papers_keep_is_our_complement():
    """Figure 9b has ten times as many units at p_keep 0.1, of which 256, 256 and 512 are kept."""
    points = {p.key: p for p in find("fig9b").points("full")}
    for (arm, p_drop), point in points.items():
        if arm == "dropout, p_keep · n fixed":
            with torch.device("meta"):
                model = make_module((1, 28, 28), 10, point.config)
            kept = [layer.out_features * (1 - p_drop) for layer in model.hidden]
            assert kept == pytest.approx([256, 256, 512], abs=0.5)
    assert points["dropout, p_keep · n fixed", 0.9].paper == 1.7


def test_cifar10_keeps_as_the_paper_does():
    (everywhere,) = [p for p in find("cifar10").points("full") if p.arm == "dropout, all layers"]
    with torch.device("meta"):
        model = make_module((3, 32, 32), 10, everywhere.config)
    keeps = [1 - layer.p_drop for layer in dropout_layers(model)]
    assert keeps == pytest.approx([0.9, 0.75, 0.75, 0.5, 0.5, 0.5])


def test_every_figure_is_that_of_the_run_behind_it(bench, tmp_path):
    experiment, runs = carry("fig10", bench, tmp_path)
    rows, of_runs = read_table(tmp_path, PAPER), read_table(tmp_path, RUNS).set_index("run_id")
    assert runs == len(of_runs) == len(rows) == 2 * len(experiment.points)
    assert list(rows["value"]) == list(of_runs.loc[rows["run_id"], "test_error_percent"])
    none, dropout = (of_runs.loc[rows[rows["arm"] == arm]["run_id"]] for arm in ("no dropout", "dropout"))
    assert set(none["p_drop"]) == {0}
    assert set(dropout["p_drop"]) == {0.5}
    assert set(dropout["max_norm"]) == {2}
    (subject,) = paper_report(tmp_path, experiment.experiment_id).subjects
    training = of_runs.groupby(["p_drop", "train_size"])["train_error_percent"].mean()
    for row in subject.tables[0].rows:
        assert row["train_error"] == pytest.approx(training[row["p_drop"], row["x"]])
    assert subject.result.seconds == pytest.approx(of_runs["seconds"].sum())


def test_the_direction_is_that_of_the_papers_figures():
    for name in ("table2", "table2-wide", "table9", "cifar10", "cifar100", "svhn"):
        papers = {point.key: point.paper for point in find(name).points("full")}
        for point in find(name).points("full"):
            assert point.against is None or point.paper < papers[point.against]


@pytest.mark.parametrize("name", ["table2", "table2-wide", "table9"])
def test_every_arm_of_a_tuned_table_has_as_many_trials(name):
    assert len({len(point.trials) for point in find(name).points("full")}) == 1


def test_the_same_command_again_does_nothing_and_a_run_done_again_gives_new_rows(bench, tmp_path):
    carry("table10", bench, tmp_path, seeds=1)
    assert carry("table10", bench, tmp_path, seeds=1)[1] == 0
    first = (tmp_path / PAPER.file_name).read_text()
    assert carry("table10", bench, tmp_path, seeds=2)[1] == 2, "two further seeds"
    assert (tmp_path / PAPER.file_name).read_text().startswith(first)
    runs = pd.read_csv(tmp_path / RUNS.file_name, dtype=str, keep_default_na=False)
    runs["started_at"] = "2099-02-03T04:05:06+00:00"
    runs.to_csv(tmp_path / RUNS.file_name, index=False)
    carry("table10", bench, tmp_path, seeds=2)
    assert set(read_table(tmp_path, PAPER)["run_started_at"]) == {"2099-02-03T04:05:06+00:00"}


def test_activations_are_those_of_the_panel(bench, tmp_path):
    carry("fig8", bench, tmp_path, seeds=1)
    panel = read_table(tmp_path, PANEL)
    panel = panel[panel["measure"] == "mean_activation"].set_index("run_id")["value"]
    rows = read_table(tmp_path, PAPER)
    assert list(rows["value"]) == list(panel.loc[rows["run_id"]])
    runs = carry("fig7", bench, tmp_path, seeds=1)[1]
    assert runs == 0, "Figure 7 looks at the same nets"


def test_passes_are_those_of_compare_bagging(bench, tmp_path):
    experiment, _ = carry("fig11", bench, tmp_path, seeds=1)
    assert experiment.paper.axis == PASSES
    rows, compared = read_table(tmp_path, PAPER), read_table(tmp_path, COMPARISONS)
    compared = compared[(compared["arm"] == "dropout-mc") & (compared["averaging"] == "arithmetic")]
    by_k = dict(zip(compared["passes_per_prediction"], compared["test_error_percent"], strict=True))
    ours = rows[rows["x"].notna()]
    assert dict(zip(ours["x"], ours["value"], strict=True)) == by_k
    assert tuple(ours["x"]) == mc_ladder(5)
    assert len(rows[rows["x"].isna()]) == 1


def test_training_sizes_stop_at_what_the_scale_allows_and_are_compared_at_the_same_size(bench, tmp_path):
    carry("fig10", bench, tmp_path, seeds=1)
    rows = read_table(tmp_path, PAPER)
    assert set(rows["x"]) == {100, 500}
    compared = rows[rows["against"] != ""]
    assert list(compared["against_x"]) == list(compared["x"])


def counted(paper, seeds):
    return repeats(paper.points("smoke"), seeds, paper.scale("smoke").tried_seeds(seeds))


def test_an_estimate_is_work_over_rate(monkeypatch):
    """One real measurement; then the work, added up by hand, at a given rate."""
    table10, images = find("table10"), SETS["mnist"]
    one = Bench(CPU, "fp32", jobs=1, threads=1)
    timed = estimate(counted(table10, 1), images, one)
    assert timed.runs == 2
    assert 0 < timed.seconds < math.inf
    monkeypatch.setattr(module, "_rate", lambda *arguments: 1000.0)
    # 300 images and the forward pass, a third of a step, of 6,000 validation images; two nets of one size
    assert estimate(counted(table10, 1), images, one).seconds == pytest.approx(2 * (300 + 6000 / 3) / 1000)
    assert estimate(counted(table10, 6), images, replace(one, jobs=2)).seconds == pytest.approx(6 * 2.3)
    per_image = training_flops(table10.points("smoke")[0].config, images.shape, images.classes)
    assert timed.operations == pytest.approx(2 * (300 + 6000 / 3) * per_image)
    passes = counted(find("fig11"), 1)
    sampled = 5 * (6000 + 10_000) / 3
    assert estimate(passes, images, one).seconds == pytest.approx((300 + 6000 / 3 + sampled) / 1000)


@pytest.mark.parametrize("changes", [{"learning_rate": 1e20}, {"thinned": True}])
def test_what_diverges_and_what_is_thinned_has_an_estimate(changes):
    net = RunConfig(model="mlp", layers=(8,), p_drop=0.2, **changes)
    one = Bench(CPU, "fp32", jobs=1, threads=1)
    assert 0 < estimate({net: 1}, SETS["mnist"], one).seconds < math.inf


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (59, "59 s"), (600, "10 min"), (9000, "2.5 h"), (864000, "10.0 days")]
)
def test_durations_are_written_as_people_say_them(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("text", ["", "arms = 3", "[[arms]]\nname = 'a'", "nonsense"])
def test_a_damaged_file_is_reported(text):
    with pytest.raises(UsageError, match="own are damaged"):
        parse("own", text)


def test_a_scale_that_a_file_lacks_is_named():
    with pytest.raises(UsageError, match="scale 'medium'"):
        parse("own", OWN.replace("medium = { epochs = 1, seeds = 1 }", ""))


@pytest.mark.parametrize(
    ("line", "wrong"),
    [('dropout = "gaussian"', 'droput = "gaussian"'), ('against = "Bernoulli"', 'against = "Bernuolli"'),
     ("paper = 0.95", 'expect = "lwoer"'), ('name = "Gaussian"', 'name = "Bernoulli"'),
     ("paper = 0.95", 'unverified = "so I heard"'), ('model = "mlp"', 'axis = "p_drop"\nmodel = "mlp"')],
)  # fmt: skip
def test_a_mistyped_file_is_refused(line, wrong):
    text = FILES.joinpath("table10.toml").read_text(encoding="utf-8")
    assert line in text
    with pytest.raises(UsageError, match="table10 are damaged"):
        parse("table10", text.replace(line, wrong))


def test_nothing_is_compared_across_values_of_the_axis():
    """Figure 9b has its other arm at one value of the axis only."""
    points = find("fig9b").points("full")
    compared = {point.key: point.against for point in points if point.against}
    assert compared == {("dropout, p_keep · n fixed", 0.9): ("dropout, n fixed", 0.9)}


def test_figures_within_their_own_spread_are_no_difference(bench, tmp_path):
    """12.6 ± 0.1 and 12.5 ± 0.1 count as the same; 1.08 ± 0.04 and 0.95 ± 0.04 differ."""
    for name, direction in (("table10", "lower"), ("table10-cifar10", "same")):
        carry(name, bench, tmp_path, seeds=1)
        rows = read_table(tmp_path, PAPER)
        rows = rows[(rows["paper"] == name) & (rows["arm"] == "Gaussian")]
        assert set(rows["paper_direction"]) == {direction}
        assert all(("mnist5k in place of" in text) for text in rows["differs"])


def test_a_scale_takes_no_more_images_than_there_are(bench):
    points = PaperExperiment.plan(find("lecture"), "small", bench).points
    assert {point.config.data.train_size for point in points} == {None}
    sizes = {point.x for point in PaperExperiment.plan(find("fig10"), "small", bench).points}
    assert sizes == {100, 500, 1000}


def test_an_arm_whose_runs_failed_has_rows_without_a_figure(bench, tmp_path):
    carry("table10", bench, tmp_path, seeds=2)
    runs = pd.read_csv(tmp_path / RUNS.file_name, dtype=str, keep_default_na=False)
    runs.loc[runs["dropout"] == "gaussian", "status"] = "diverged"
    runs.to_csv(tmp_path / RUNS.file_name, index=False)
    (tmp_path / PAPER.file_name).unlink()
    carry("table10", bench, tmp_path, seeds=2)
    rows = read_table(tmp_path, PAPER)
    assert rows.groupby("arm")["value"].count().to_dict() == {"Bernoulli": 2, "Gaussian": 0}


def test_an_interrupted_experiment_has_a_table_of_what_was_done(bench, tmp_path):
    class Impatient(Quiet):
        def wants_to_stop(self):
            return self.runs == 3

    experiment = PaperExperiment.plan(find("fig4"), "smoke", bench, 1)
    with pytest.raises(KeyboardInterrupt):
        carry_out_paper(experiment, bench, Store(tmp_path), Impatient(), Policy())
    assert len(read_table(tmp_path, PAPER)) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["table99"], "table9"), (["fig4", "--scale", "tiny"], "full"), (["fig4", "--epochs", "3"], "--epochs"),
     (["fig4", "--seeds", "0"], "--seeds"), (["fig4", "--data", "minst5k"], "mnist5k")],
)  # fmt: skip
def test_wrong_use_is_refused_before_anything_is_written(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["paper", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


OWN = """
title = "Own"
shows = "It shows."
source = "nowhere"
data = "mnist"
differs = "Everything."
axis = "p_drop"

[scales]
full = { epochs = 1, seeds = 1 }
medium = { epochs = 1, seeds = 1 }
small = { epochs = 1, seeds = 1 }
smoke = { epochs = 1, seeds = 2, train_size = 300 }

[settings]
model = "mlp"
layers = [4]

[[arms]]
name = "no dropout"
p_drop = 0.0
tune = [0.1, 0.02]

[[arms]]
name = "dropout"
against = "no dropout"
p_drop = [0.2, 0.5]
tune = [0.02, 0.1]
expect = { "0.5" = "lower" }
"""
ONE_OF_THREE = OWN.replace("seeds = 2, train_size = 300", "seeds = 3, train_size = 300, tune_seeds = 1")
GRID = 'tune = { learning_rate = [0.02, 0.1], max_norm = ["none", 2] }'


def carry_own(text, bench, folder):
    experiment = PaperExperiment.plan(parse("own", text), "smoke", bench)
    watcher = Quiet()
    carry_out_paper(experiment, bench, Store(folder), watcher, Policy())
    (paper, *others) = paper_report(folder, experiment.experiment_id).subjects
    return experiment, watcher.runs, paper, others


def test_every_point_of_a_tuned_arm_is_recorded_at_its_best_on_validation(bench, tmp_path):
    experiment, runs, _, others = carry_own(OWN, bench, tmp_path)
    assert runs == len(read_table(tmp_path, RUNS)) == len(experiment.runs()) == 3 * 2 * 2
    of_runs = read_table(tmp_path, RUNS)
    val = of_runs.groupby(["p_drop", "learning_rate"])["val_error_percent"].mean()
    rows = read_table(tmp_path, PAPER)
    assert len(rows) == 3 * 2
    for row in rows.to_dict("records"):
        own = of_runs.set_index("run_id").loc[row["run_id"]]
        assert val[row["p_drop"], own["learning_rate"]] == val[row["p_drop"]].min()
        assert row["value"] == own["test_error_percent"]
        assert row["trials"] == 2
        assert row["trial"] == f"learning_rate={own['learning_rate']:g}"
        assert row["run_id"] in row["trial_run_ids"].split()
    (curve,) = (each for each in others if each.kind == "sweep")
    chosen = dict(zip(rows["p_drop"], rows["trial"], strict=True))
    assert {
        row["p_drop"]: f"learning_rate={row['learning_rate']:g}" for row in curve.tables[0].rows
    } == chosen
    assert [subject.kind for subject in load_report(tmp_path).subjects] == ["paper", "sweep"]


def test_the_table_names_the_rate_and_where_tuning_was_not_equal(bench, tmp_path):
    _, _, equal, _ = carry_own(OWN, bench, tmp_path / "equal")
    (table,) = equal.tables
    assert "learning rate" in [column.heading for column in table.columns]
    assert {row["trials"] for row in table.rows} == {2}
    assert {row["learning_rate"] for row in table.rows} <= {0.02, 0.1}
    assert not any("not equal" in note for note in table.notes)
    grid = OWN.replace("tune = [0.02, 0.1]", GRID)
    _, _, unequal, _ = carry_own(grid, bench, tmp_path / "unequal")
    (table,) = unequal.tables
    assert [row["trials"] for row in table.rows] == [2, 4, 4]
    assert any("4 trials against 2" in note for note in table.notes)


def test_an_arm_that_is_compared_with_one_that_was_not_tuned_says_so(bench, tmp_path):
    _, _, subject, _ = carry_own(OWN.replace("tune = [0.1, 0.02]", ""), bench, tmp_path)
    (table,) = subject.tables
    assert any("2 trials against 1 trial" in note for note in table.notes)
    assert [row["trials"] for row in table.rows] == [1, 2, 2]


def test_more_seeds_choose_anew_and_fewer_keep_the_choice(bench, tmp_path):
    for seeds in (1, 3, 2):
        experiment = PaperExperiment.plan(parse("own", OWN), "smoke", bench, seeds)
        carry_out_paper(experiment, bench, Store(tmp_path), Quiet(), Policy())
        rows = read_table(tmp_path, PAPER)
        assert all(len(set(group["trial"])) == 1 for _, group in rows.groupby("p_drop"))
    assert len(rows) == 3 * 3


def test_trials_on_the_first_seed_alone_leave_the_others_to_the_chosen_one(bench, tmp_path):
    experiment, runs, paper, _ = carry_own(ONE_OF_THREE, bench, tmp_path)
    of_runs, rows = read_table(tmp_path, RUNS), read_table(tmp_path, PAPER)
    assert runs == len(of_runs) == experiment.count == 3 * (2 + 2)
    first = of_runs[of_runs["seed"] == 0]
    best = first.loc[first.groupby("p_drop")["val_error_percent"].idxmin()]
    assert len(rows) == 3 * 3
    for p_drop, rate in zip(best["p_drop"], best["learning_rate"], strict=True):
        own = of_runs.set_index("run_id").loc[rows[rows["p_drop"] == p_drop]["run_id"]]
        assert set(own["learning_rate"]) == {rate}
        assert sorted(own["seed"]) == [0, 1, 2]
    assert {row["trials"] for row in paper.tables[0].rows} == {2}
    assert {row["seeds_of_choice"] for row in paper.tables[0].rows} == {1}
    assert carry_own(ONE_OF_THREE, bench, tmp_path)[1] == 0, "the same command does nothing"
    ran = set(of_runs["run_id"])
    for seeds in (1, 2):
        again = PaperExperiment.plan(parse("own", ONE_OF_THREE), "smoke", bench, seeds)
        carry_out_paper(again, bench, Store(tmp_path), Quiet(), Policy())
        rows = read_table(tmp_path, PAPER)
        assert set(" ".join(rows["trial_run_ids"]).split()) == ran, "no run that was never done"
        assert set(rows["seeds_of_choice"]) == {1}


def fail(folder, run_ids):
    runs = pd.read_csv(folder / RUNS.file_name, dtype=str, keep_default_na=False)
    runs.loc[runs["run_id"].isin(run_ids), "status"] = "failed"
    runs.to_csv(folder / RUNS.file_name, index=False)


@pytest.mark.parametrize(("fail_fast", "later"), [(True, 0), (False, 3 * 2)])
def test_one_that_shall_fail_fast_trains_no_chosen_trial_after_a_failed_one(
    fail_fast, later, bench, tmp_path
):
    experiment = PaperExperiment.plan(parse("own", ONE_OF_THREE), "smoke", bench)
    *others, last = experiment.points
    lost = replace(last, trials=(*last.trials[:-1], last.trials[-1].replace(data_key="0" * 16)))
    experiment, policy = replace(experiment, points=(*others, lost)), Policy(fail_fast=fail_fast)
    outcome = carry_out_paper(experiment, bench, Store(tmp_path), Quiet(), policy)
    assert (len(outcome.ok), len(outcome.failed)) == (3 * 2 - 1 + later, 1)


def test_a_choice_that_changes_leaves_no_other_trial_in_a_mean(bench, tmp_path):
    experiment, *_ = carry_own(ONE_OF_THREE, bench, tmp_path)
    rows = read_table(tmp_path, PAPER)
    fail(tmp_path, rows[rows["seed"] == 0]["run_id"])
    again = PaperExperiment.plan(parse("own", ONE_OF_THREE), "smoke", bench, 2)
    carry_out_paper(again, bench, Store(tmp_path), Quiet(), Policy())
    (paper, *_) = paper_report(tmp_path, experiment.experiment_id).subjects
    of_runs = read_table(tmp_path, RUNS)
    for row, place in zip(paper.tables[0].rows, paper.result.places, strict=True):
        assert row["seeds"] == 2, "the third seed has the trial that was chosen before"
        own = of_runs[of_runs["p_drop"] == row["p_drop"]]
        own = own[own["learning_rate"] == row["learning_rate"]].set_index("seed")["test_error_percent"]
        assert place.values == {seed: own[seed] for seed in (0, 1)}


def test_runs_of_an_interrupted_tuning_are_compared_on_common_seeds(bench, tmp_path):
    class Impatient(Quiet):
        def wants_to_stop(self):
            return self.runs == 7  # one of the second seed

    experiment = PaperExperiment.plan(parse("own", OWN), "smoke", bench)
    with pytest.raises(KeyboardInterrupt):
        carry_out_paper(experiment, bench, Store(tmp_path), Impatient(), Policy())
    of_runs, rows = read_table(tmp_path, RUNS), read_table(tmp_path, PAPER)
    first = of_runs[of_runs["seed"] == 0].groupby("p_drop")["val_error_percent"].min()
    for row in rows[rows["seed"] == 0].to_dict("records"):
        own = of_runs.set_index("run_id").loc[row["run_id"]]
        assert own["val_error_percent"] == first[row["p_drop"]]


def test_an_estimate_counts_every_trial(monkeypatch):
    monkeypatch.setattr(module, "_rate", lambda *arguments: 1000.0)
    one = Bench(CPU, "fp32", jobs=1, threads=1)
    assert estimate(counted(parse("own", OWN), 3), SETS["mnist"], one).runs == 3 * 3 * 2
    on_one = parse("own", OWN.replace("train_size = 300", "train_size = 300, tune_seeds = 1"))
    assert estimate(counted(on_one, 3), SETS["mnist"], one).runs == 3 * (2 + 1 + 1)


@pytest.mark.parametrize(
    "tune",
    ["tune = [0.02, 0.02]", "tune = []", "tune = 0.02", 'tune = [0.02, "fast"]', "tune = { epochs = [1, 2] }",
     "tune = [0.0, 0.1]", "tune = [0.02, 0.1]\nlearning_rate = 0.1"],
)  # fmt: skip
def test_trials_that_are_none_are_refused(tune):
    with pytest.raises(UsageError, match="own are damaged"):
        parse("own", OWN.replace("tune = [0.02, 0.1]", tune))


@pytest.mark.parametrize("seeds", ["0", "-1", "1.5", "true", '"one"', "[1]"])
def test_trials_are_run_on_a_number_of_seeds(seeds):
    with pytest.raises(UsageError, match="own are damaged"):
        parse("own", OWN.replace("train_size = 300", f"train_size = 300, tune_seeds = {seeds}"))


def test_an_experiment_that_is_not_tuned_has_the_id_that_it_had(bench):
    """It is recorded in people's paper.csv."""
    experiment = PaperExperiment.plan(find("table10"), "smoke", bench)
    ids = " ".join(["table10", "smoke", *(point.config.run_id for point in experiment.points)])
    assert experiment.experiment_id == hashlib.sha256(ids.encode()).hexdigest()[:12]
