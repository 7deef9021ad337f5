"""What sweep and compare-bagging plan, and that their runs are ordinary, resumable runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dropbench.config import RunConfig
from dropbench.errors import UsageError
from dropbench.experiments.bagging import compare, mean_log_probability, plan, runs_of
from dropbench.experiments.sweep import Grid, expand
from dropbench.experiments.workbench import Workbench, carry_out
from dropbench.results.read import read_table
from dropbench.results.schema import COMPARISONS, RUNS
from dropbench.results.store import Store
from dropbench.runners.base import RunnerOptions
from dropbench.runners.choose import cores

MLP = RunConfig(model="mlp", layers=(16,), epochs=2, batch_size=32)


class Quiet:
    """A watcher that only counts."""

    def __init__(self):
        self.runs = 0

    def planned(self, todo, done, jobs):
        pass

    def progress(self, worker, config, record):
        pass

    def finished(self, result):
        self.runs += 1

    def wants_to_stop(self):
        return False


@pytest.fixture
def bench(blobs):
    return Workbench(blobs, torch.device("cpu"), "fp32", RunnerOptions(jobs=1, threads=1))


def test_grid_has_every_setting_on_every_seed_and_one_reference_each():
    grid = Grid(p_drop=(0.2, 0.5), p_drop_input=(0.0, 0.1), train_size=(50, None), seeds=3)
    configs = expand(MLP, grid)
    assert len(configs) == 3 * 2 * (1 + 4) == len({config.run_id for config in configs})
    references = [config for config in configs if config.is_reference]
    assert {(config.train_size, config.seed) for config in references} == {
        (n, s) for n in (50, None) for s in range(3)
    }
    assert [config.seed for config in configs] == sorted(config.seed for config in configs)


def test_variants_are_compared_on_the_same_seeds_and_share_their_reference():
    configs = expand(MLP, Grid(p_drop=(0.2, 0.5), dropout=("bernoulli", "gaussian"), seeds=3))
    assert len(configs) == 3 * (1 + 2 * 2) == len({config.run_id for config in configs})
    assert sum(config.is_reference for config in configs) == 3


def test_reference_is_left_out_on_request_and_never_doubled():
    assert len(expand(MLP, Grid(p_drop=(0.5,), baseline=False))) == 1
    assert len(expand(MLP, Grid(p_drop=(0.0, 0.5)))) == 2


def test_runs_done_before_are_skipped_and_the_rest_is_done(bench, tmp_path):
    store, first, second = Store(tmp_path), Quiet(), Quiet()
    configs = bench.bind(expand(MLP, Grid(p_drop=(0.2, 0.5), seeds=2)))
    carry_out(configs[:3], bench, store, first)
    outcome = carry_out(configs, bench, store, second)
    assert (first.runs, second.runs, len(outcome.skipped)) == (3, 3, 3)
    assert sorted(read_table(tmp_path, RUNS)["run_id"]) == sorted(config.run_id for config in configs)


def test_the_last_run_of_a_resumed_command_has_the_threads_of_the_first(blobs, tmp_path):
    """With other threads a sum is rounded otherwise: the sweep would not be the undisturbed one."""
    bench = Workbench(blobs, torch.device("cpu"), "fp32")
    configs = bench.bind([replace(MLP, seed=seed) for seed in range(max(2, cores()))])
    whole = carry_out(configs, bench, Store(tmp_path / "whole"), Quiet())
    store = Store(tmp_path / "resumed")
    for result in whole.ok[:-1]:
        store.append(result)
    (last,) = carry_out(configs, bench, store, Quiet()).ok
    before = next(result for result in whole.ok if result.config == last.config)
    assert last.where["threads"] == before.where["threads"]
    assert last.metrics == before.metrics


def test_config_that_does_not_fit_is_refused_before_anything_is_written(bench):
    with pytest.raises(UsageError, match="10,000"):
        bench.bind([MLP, replace(MLP, train_size=10_000)])
    tiny = replace(bench.data, train_images=bench.data.train_images[:, :, :7])
    with pytest.raises(UsageError, match="8×8"):
        replace(bench, data=tiny).bind([RunConfig()])


def test_comparison_shares_members_and_an_ensemble_of_one_is_the_single_net(bench, tmp_path):
    arms = plan(bench.bind([replace(MLP, p_drop=0.5, mc_samples=4)])[0], members=1, seeds=2)
    store, watcher = Store(tmp_path), Quiet()
    compare(arms, bench, store, watcher)
    assert watcher.runs == 2 * 3, "single and ensemble share a run, the dropout arms share another"
    table = read_table(tmp_path, COMPARISONS).set_index(["arm", "seed"])
    figures = ["test_error_percent", "test_nll", "test_brier", "test_ece", "train_seconds", "parameters"]
    for seed in (0, 1):
        assert table.loc[("single", seed), figures].equals(table.loc[("ensemble", seed), figures])
    runs = read_table(tmp_path, RUNS).set_index("run_id")
    for arm in arms:
        if arm.prediction == "test" and len(arm.runs) == 1:
            recorded = runs.loc[arm.runs[0].run_id]
            row = table.loc[(arm.name, arm.setting.seed)]
            assert row["test_nll"] == pytest.approx(recorded["test_nll"], rel=1e-6)
    again = Quiet()
    compare(arms, bench, store, again)
    assert again.runs == 0
    assert len((tmp_path / "comparisons.csv").read_text().splitlines()) == 1 + 10, "each arm once"


def test_arms_cost_what_they_say():
    arms = {arm.name: arm for arm in plan(replace(MLP, p_drop=0.5, mc_samples=7), members=3, seeds=1)}
    assert {name: arm.passes_per_prediction for name, arm in arms.items()} == {
        "single": 1, "dropout": 1, "dropout-mc": 7, "bagging": 3, "ensemble": 3,
    }  # fmt: skip
    assert len(runs_of(list(arms.values()))) == 1 + 3 + 3
    assert all(run.bootstrap and run.is_reference for run in arms["bagging"].runs)
    assert arms["dropout"].runs[0].convention == "weight-scaling"


def test_members_that_did_not_end_ok_take_their_arm_out_of_the_table(bench, tmp_path):
    arms = plan(
        bench.bind([replace(MLP, p_drop=0.5, mc_samples=1, learning_rate=1e30)])[0], members=2, seeds=1
    )
    outcome = compare(arms, bench, Store(tmp_path), Quiet())
    table = read_table(tmp_path, COMPARISONS)
    assert len(outcome.diverged) == 5
    assert table["test_error_percent"].isna().all()
    assert set(table["message"]) == {"1 of 1 runs did not end ok", "2 of 2 runs did not end ok"}


def test_averaging_is_that_of_probabilities():
    generator = np.random.default_rng(0)
    members = generator.dirichlet(np.ones(4), size=(3, 10))
    averaged = mean_log_probability([torch.log(torch.from_numpy(m)) for m in members])
    np.testing.assert_allclose(np.exp(averaged.numpy()), members.mean(0), rtol=1e-12)
    one = torch.randn(5, 4)
    assert mean_log_probability([one]) is one


def test_nothing_to_compare_is_refused():
    with pytest.raises(UsageError):
        plan(replace(MLP, mc_samples=1), members=5, seeds=1)
    with pytest.raises(UsageError):
        plan(replace(MLP, p_drop=0.5, mc_samples=1), members=0, seeds=1)
