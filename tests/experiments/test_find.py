"""Finds: what is trained, what is written, when they end, and what they refuse."""

import math
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import dropbench as db
from dropbench.errors import UsageError
from dropbench.experiments.find.budget import Budget
from dropbench.experiments.find.candidates import Averaged, candidates_of, parse_averaged
from dropbench.experiments.find.carry_out import FindRun
from dropbench.experiments.find.figures import FindPlan
from dropbench.experiments.watching import LogWatcher
from dropbench.experiments.workbench import Workbench
from dropbench.report.find.standing import FIRST_LOOK, Within
from dropbench.report.metrics import ERROR
from dropbench.results.predictions import load
from dropbench.results.read import read_table
from dropbench.results.schema import FINDS, RUNS
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine

SMALL = {"model": "mlp", "layers": (6,), "epochs": 1, "batch_size": 16, "jobs": 1, "device": "cpu"}
P = (0.0, 0.3, 0.9)


@pytest.fixture
def small(blobs):
    return {"data": blobs, "p": P, "within": 8, **SMALL}


def rows(folder):
    return read_table(folder, FINDS)


def test_a_row_has_the_figures_of_its_run_and_the_runs_are_a_sweeps(small, tmp_path):
    done = db.find(**small, budget="12 runs", out=tmp_path)
    runs = read_table(tmp_path, RUNS).set_index("run_id")
    found = rows(tmp_path)
    assert set(found["member_run_ids"]) <= set(runs.index)
    assert (found["val_figure"].to_numpy() == runs.loc[found["member_run_ids"], "val_error_percent"]).all()
    tested = found[found["test_figure"].notna()]
    assert (
        tested["test_figure"].to_numpy() == runs.loc[tested["member_run_ids"], "test_error_percent"]
    ).all()
    assert set(tested["place"]) == {float(each.place) for each in done.found.final}
    before = len(runs)
    small.pop("within")
    swept = db.sweep(**small, seeds=FIRST_LOOK, out=tmp_path)
    assert len(swept.outcome.skipped) == 3 * FIRST_LOOK
    assert len(read_table(tmp_path, RUNS)) == before


def test_it_goes_on_as_if_it_had_never_stopped(small, tmp_path):
    """Whatever the budgets are cut into, the same runs are done and the same rows are written."""
    whole = db.find(**small, budget=60, out=tmp_path / "whole")
    assert whole.decided
    pieces = db.find(**small, budget=4, out=tmp_path / "pieces")
    assert not pieces.decided
    for _ in range(60):
        if pieces.decided:
            break
        pieces = db.find(**small, budget=1, out=tmp_path / "pieces")
    assert pieces.answer["states"] == whole.answer["states"]
    assert pieces.best == whole.best
    told = ["place", "seed", "val_figure", "test_figure", "member_run_ids", "find_id"]
    both = [rows(tmp_path / name)[told].sort_values(["place", "seed"]) for name in ("whole", "pieces")]
    assert both[0].reset_index(drop=True).equals(both[1].reset_index(drop=True))
    again = db.find(**small, budget=1, out=tmp_path / "whole")
    assert again.decided
    assert not again.outcome.ok  # it costs nothing to ask again


def test_what_is_left_out_or_settled_is_trained_no_more(small, tmp_path):
    done = db.find(**small, budget=60, out=tmp_path)
    seeds = rows(tmp_path).groupby("place")["seed"].max() + 1
    best = done.found.best
    for each in done.found.entrants:
        if each is not best:
            assert seeds[each.place] == done.found.race.last_look(each.place).seeds


def plan_of(data, candidates="", within=8.0, p=P, **settings):
    settings = {
        name: value for name, value in {**SMALL, **settings}.items() if name not in ("jobs", "device")
    }
    bench = Workbench.set_up(data, Machine(device="cpu", jobs=1))
    configs = bench.bind([RunConfig(p_drop=each, **settings) for each in p])
    made = candidates_of(configs, parse_averaged(candidates))
    return FindPlan(tuple(made), ERROR, Within(within)), bench


def test_no_run_begins_that_would_end_after_the_budget(blobs, tmp_path):
    plan, bench = plan_of(blobs)
    told = []
    run = FindRun(
        plan,
        bench,
        Store(tmp_path),
        LogWatcher(),
        Budget(seconds=60),
        on_look=lambda find, before: told.append(find),
    )
    run.ends, run.expected = time.monotonic() + 60, 61.0
    assert run.carry_out() is None
    assert not run.outcome.ended
    assert not told
    run.expected = 1.0
    assert run.carry_out() is not None
    assert run.outcome.ok


def test_time_is_spent_on_whole_waves_and_runs_to_the_last(blobs, tmp_path):
    """A wave that is paid in time fills every worker; runs that are counted are never begun on a guess."""
    plan, bench = plan_of(blobs)
    bench = Workbench.set_up(blobs, Machine(device="cpu", jobs=2))
    counted = FindRun(plan, bench, Store(tmp_path), LogWatcher(), Budget(runs=5))
    assert len(counted._wave(None)) == 5
    timed = FindRun(plan, bench, Store(tmp_path), LogWatcher(), Budget(seconds=60), expected=100.0)
    assert len(timed._wave(None)) == 3 * FIRST_LOOK + 1
    short = FindRun(plan, bench, Store(tmp_path), LogWatcher(), Budget(seconds=60), expected=0.01)
    assert len(short._wave(None)) == 3 * FIRST_LOOK + 3  # half as many seeds again, at most


def test_an_ensemble_is_the_mean_of_its_members_at_their_true_cost(blobs, tmp_path):
    done = db.find(
        blobs,
        p=(0.5,),
        candidates="ensemble:3,bagging:2,dropout-mc:5",
        within=9,
        budget=30,
        out=tmp_path,
        **SMALL,
    )
    found = rows(tmp_path).set_index(["arm", "seed"])
    runs = read_table(tmp_path, RUNS).set_index("run_id")
    ids = found.loc[("ensemble", 0.0), "member_run_ids"].split()
    assert len(ids) == 3
    assert list(runs.loc[ids, "p_drop"]) == [0.0] * 3
    assert sorted(runs.loc[ids, "member"]) == [0, 1, 2]
    kept = [load(tmp_path, run_id) for run_id in ids]
    mean = np.mean([np.exp(each["val"].astype(np.float64)) for each in kept], axis=0)
    wrong = 100 * np.mean(mean.argmax(1) != kept[0]["val_labels"])
    assert found.loc[("ensemble", 0.0), "val_figure"] == pytest.approx(wrong)
    # The first member of an ensemble is the net without dropout itself, and passes come after training.
    assert ids[0] in rows(tmp_path).query("arm == '' and p_drop == 0 and seed == 0")["member_run_ids"].item()
    assert (
        found.loc[("dropout-mc", 0.0), "member_run_ids"]
        == rows(tmp_path).query("arm == '' and p_drop == 0.5 and seed == 0")["member_run_ids"].item()
    )
    of_bagging = found.loc[("bagging", 0.0), "member_run_ids"].split()
    assert set(runs.loc[of_bagging, "bootstrap"]) == {"True"}
    by_arm = {each.arm: each for each in done.found.entrants if each.arm or not each.settings["p_drop"]}
    assert by_arm["ensemble"].training == 3 * by_arm[""].training
    assert by_arm["ensemble"].prediction == 3 * by_arm[""].prediction
    assert by_arm["dropout-mc"].passes == 5


def test_a_setting_whose_runs_diverge_is_left_out_and_told(blobs, tmp_path):
    done = db.find(blobs, p=(0.0,), learning_rate=(0.05, 1e30), within=9, budget=20, out=tmp_path, **SMALL)
    states = {each.settings["learning_rate"]: done.found.state(each) for each in done.found.entrants}
    assert states == {0.05: "best", 1e30: "no result"}
    assert done.decided
    assert "diverged" in next(each.message for each in done.found.entrants if each.message)


@pytest.mark.parametrize(
    ("text", "seconds", "runs"),
    [
        ("10m", 600, math.inf),
        (" 2 h ", 7200, math.inf),
        ("30 runs", math.inf, 30),
        ("1run", math.inf, 1),
        (7, math.inf, 7),
    ],
)
def test_budgets_are_times_or_runs(text, seconds, runs):
    assert (Budget.parse(text).seconds, Budget.parse(text).runs) == (seconds, runs)


@pytest.mark.parametrize(
    "text", ["", "10", "0 runs", "0m", "-5m", "runs", "ten minutes", "1.5 runs", True, None]
)
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(UsageError, match="budget"):
        Budget.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "ensemble",
        "ensemble:1",
        "ensemble:0",
        "bagging:x",
        "ensemble:",
        "boosting:3",
        "single",
        "dropout",
        "n:5",
    ],
)
def test_what_is_no_candidate_is_refused(text):
    with pytest.raises(UsageError):
        Averaged.parse(text)


def test_every_arm_of_several_is_a_candidate(blobs):
    arms = (
        "ensemble:2,bagging:2,dropout-ensemble:2,bagged-dropout:2,untied:2,snapshot:2,boosting,dropout-mc:3"
    )
    plan, bench = plan_of(blobs, arms, epochs=2)
    dropping = 2 * 5 + 2 * 1  # five kinds of nets with dropout for each p, and the passes
    assert len(plan.candidates) == 3 + 3 + dropping - 2
    bench.bind([run for each in plan.candidates for run in each.runs(0)])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"p": (0.0,)}, "candidate"),
        ({"p": (0.0,), "candidates": "dropout-mc:5"}, "p above 0"),
        ({"p": (0.5,), "baseline": False, "candidates": "ensemble:5"}, "without dropout"),
        ({"budget": "2 runs"}, "budget=3 runs"),
        ({"within": 0}, "within"),
        ({"within": "x"}, "within"),
        ({"within": "100%"}, "within"),
        ({"within": 0.01}, "test images"),
        ({"metric": "rmse"}, "rmse"),
        ({"seed": 3}, "seed"),
        ({"model": "autoencoder"}, "does not classify"),
    ],
)
def test_what_cannot_be_found_is_refused_before_anything_is_written(small, tmp_path, told, said):
    with pytest.raises(UsageError, match=said):
        db.find(**{**small, "budget": "20 runs", **told}, out=tmp_path / "none")
    assert not (tmp_path / "none" / "runs.csv").exists()


def test_the_least_budget_that_is_told_does(small, tmp_path):
    with pytest.raises(UsageError) as refused:
        db.find(**small, budget="1 run", out=tmp_path)
    (least,) = re.findall(r"budget=(\d+ runs)", refused.value.hint)
    assert db.find(**small, budget=least, out=tmp_path).found is not None
    with pytest.raises(UsageError, match="too small"):
        db.find(**small, budget="0.001s", out=tmp_path / "other")


def test_a_difference_that_no_test_tells_is_told_before(blobs, tmp_path, told):
    small = {"data": blobs, "p": P, **SMALL}
    db.find(**small, budget=3, out=tmp_path)
    one = 100 / len(blobs.test_targets)
    assert rows(tmp_path)["within"].iloc[0] == pytest.approx(one)
    assert any("test images" in message for message in told)


def test_a_regression_is_raced_by_its_rmse(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 4)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5, 0.0], np.float32) + generator.normal(size=300).astype(np.float32)
    data = db.data(x[:240], y[:240], x[240:], y[240:], task="regression")
    done = db.find(
        data, p=(0.0, 0.9), model="mlp", layers=(8,), epochs=3, budget=20, jobs=1, device="cpu", out=tmp_path
    )
    assert done.found.metric.name == "rmse"
    runs = read_table(tmp_path, RUNS).set_index("run_id")
    found = rows(tmp_path)
    assert (found["val_figure"].to_numpy() == runs.loc[found["member_run_ids"], "val_rmse"]).all()
    assert found["within_share"].iloc[0] == 0.02


def test_torch_keeps_its_threads(small, tmp_path):
    before = torch.get_num_threads()
    db.find(**small, budget="60s", out=tmp_path)
    assert torch.get_num_threads() == before


def test_the_folder_may_be_a_text(small, tmp_path):
    done = db.find(**small, budget=9, out=str(tmp_path))
    assert done.out == Path(tmp_path)
    assert "find" in {subject.kind for subject in done.report.subjects}


def test_seeds_that_the_race_did_not_come_to_have_no_say(small, tmp_path):
    before = db.find(**small, budget=60, out=tmp_path)
    swept = {name: value for name, value in small.items() if name != "within"}
    db.sweep(**swept, seeds=before.found.race.seeds + 2, out=tmp_path)
    after = db.find(**small, budget=60, out=tmp_path)
    assert not after.outcome.ok
    assert {**after.answer, "runs": 0, "seconds": 0} == {**before.answer, "runs": 0, "seconds": 0}
