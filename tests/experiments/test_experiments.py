"""The runs that a sweep plans, and how they are resumed."""

from dataclasses import replace

import pytest
import torch
from experiments.quiet import MLP, Quiet

from dropbench.engine.train import train
from dropbench.errors import UsageError
from dropbench.experiments.other_precisions import tell_other_precisions
from dropbench.experiments.sweep import expand
from dropbench.experiments.workbench import Workbench, carry_out
from dropbench.results.read import read_table
from dropbench.results.schema import RUNS
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.runners.choose import cores


@pytest.fixture
def bench(blobs):
    return Workbench(blobs, torch.device("cpu"), "fp32", Machine(jobs=1, threads=1))


def test_grid_has_every_setting_on_every_seed_and_one_reference_each():
    swept = {"p_drop": (0.2, 0.5), "p_drop_input": (0.0, 0.1), "train_size": (50, None)}
    configs = expand(MLP.told, swept, seeds=3)
    assert len(configs) == 3 * 2 * (1 + 4) == len({config.run_id for config in configs})
    references = [config for config in configs if config.without_dropout]
    assert {(config.data.train_size, config.repetition.seed) for config in references} == {
        (n, s) for n in (50, None) for s in range(3)
    }
    assert [config.repetition.seed for config in configs] == sorted(
        config.repetition.seed for config in configs
    )


def test_variants_are_compared_on_the_same_seeds_and_share_their_reference():
    configs = expand(MLP.told, {"p_drop": (0.2, 0.5), "dropout": ("bernoulli", "gaussian")}, seeds=3)
    assert len(configs) == 3 * (1 + 2 * 2) == len({config.run_id for config in configs})
    assert sum(config.without_dropout for config in configs) == 3


@pytest.mark.parametrize("dropout", ["bernoulli", "dropconnect"])
def test_values_of_p_that_give_the_same_masks_are_one_setting_and_told(blobs, told, dropout):
    """Both are 6,554/65,536, so that the nets of both would be the same to the last bit."""
    configs = expand({**MLP.told, "dropout": dropout}, {"p_drop": (0.1, 0.10001, 0.2)}, seeds=2)
    assert [config.dropout.p_drop for config in configs] == [0, 0.1, 0.2] * 2
    assert len(told) == 1
    assert "0.1 and 0.10001" in told[0]
    first, second = (train(MLP.replace(dropout=dropout, p_drop=p), blobs) for p in (0.1, 0.10001))
    assert first.metrics == second.metrics


def test_a_p_of_one_in_a_million_is_a_setting_of_its_own(told):
    swept = (1e-6, 2e-6, 0.5)
    assert [c.dropout.p_drop for c in expand(MLP.told, {"p_drop": swept})] == [0, *swept]
    assert not told


@pytest.mark.parametrize("dropout", ["gaussian", "uniform", "concrete"])
def test_values_of_p_of_continuous_noise_stay_apart_however_near(told, dropout):
    configs = expand({**MLP.told, "dropout": dropout}, {"p_drop": (0.1, 0.10001)})
    assert len(configs) == 3
    assert not told


def test_reference_is_left_out_on_request_and_never_doubled():
    assert len(expand(MLP.told, {"p_drop": (0.5,)}, baseline=False)) == 1
    assert len(expand(MLP.told, {"p_drop": (0.0, 0.5)})) == 2


def test_runs_done_before_are_skipped_and_the_rest_is_done(bench, tmp_path):
    store, first, second = Store(tmp_path), Quiet(), Quiet()
    configs = bench.bind(expand(MLP.told, {"p_drop": (0.2, 0.5)}, seeds=2))
    carry_out(configs[:3], bench, store, first)
    outcome = carry_out(configs, bench, store, second)
    assert (first.runs, second.runs, len(outcome.skipped)) == (3, 3, 3)
    assert sorted(read_table(tmp_path, RUNS)["run_id"]) == sorted(config.run_id for config in configs)


def test_the_last_run_of_a_resumed_command_has_the_threads_of_the_first(blobs, tmp_path):
    """Another number of threads rounds sums differently; a resumed sweep must give the same numbers."""
    bench = Workbench(blobs, torch.device("cpu"), "fp32")
    configs = bench.bind([MLP.replace(seed=seed) for seed in range(max(2, cores()))])
    whole = carry_out(configs, bench, Store(tmp_path / "whole"), Quiet())
    store = Store(tmp_path / "resumed")
    for result in whole.ok[:-1]:
        store.append(result)
    (last,) = carry_out(configs, bench, store, Quiet()).ok
    before = next(result for result in whole.ok if result.config == last.config)
    assert last.where["threads"] == before.where["threads"]
    assert last.metrics == before.metrics


class OtherSweepWrites(Store):
    """A store into whose folder another sweep writes a row right after each reading of the ended runs."""

    def __init__(self, folder, results):
        super().__init__(folder)
        self._other, self._results = Store(folder), iter(results)

    def ended(self):
        before = super().ended()
        if (result := next(self._results, None)) is not None:
            self._other.append(result)
        return before


@pytest.mark.parametrize("written_before", [0, 1, 2])
def test_a_run_that_another_sweep_writes_meanwhile_is_not_recorded_twice(bench, tmp_path, written_before):
    configs = bench.bind([MLP.replace(seed=seed) for seed in range(4)])
    theirs = carry_out(configs, bench, Store(tmp_path / "theirs"), Quiet()).ok
    store = OtherSweepWrites(tmp_path / "both", theirs[written_before:])
    for result in theirs[:written_before]:
        store.append(result)
    outcome = carry_out(configs, bench, store, Quiet())
    assert len(outcome.skipped) == written_before
    lines = (tmp_path / "both" / RUNS.file_name).read_text().splitlines()[1:]
    assert sorted(line.split(",")[0] for line in lines) == sorted(config.run_id for config in configs)


def test_config_that_does_not_fit_is_refused_before_anything_is_written(bench):
    with pytest.raises(UsageError, match="10,000"):
        bench.bind([MLP, MLP.replace(train_size=10_000)])
    tiny = replace(bench.data, train_inputs=bench.data.train_inputs[:, :, :7])
    with pytest.raises(UsageError, match="8×8"):
        replace(bench, data=tiny).bind([RunConfig()])


def test_runs_that_are_there_in_another_precision_are_told(told):
    todo = [RunConfig(seed=seed, precision="fp32") for seed in range(3)]
    ended = {
        todo[0].replace(precision="bf16").run_id: "ok",
        todo[1].replace(precision="bf16").run_id: "failed",
    }
    tell_other_precisions(todo, ended)
    assert told == ["1 run of those to do is here in bf16 already; `precision=bf16` goes on with it."]
    tell_other_precisions(todo, {todo[0].run_id: "ok"})
    assert len(told) == 1
