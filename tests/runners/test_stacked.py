"""Runs that share a stack go through one; the others, and those of a stack that fails, go their own way."""

import pytest
import torch

import dropbench as db
from dropbench.cli.main import run as command
from dropbench.engine import stack
from dropbench.engine.run import Run
from dropbench.engine.stack import bytes_of_a_slot, train_stacked
from dropbench.engine.stacked_mlp import StackedMLP
from dropbench.errors import UsageError
from dropbench.results.csv_file import read_rows
from dropbench.results.read import latest
from dropbench.results.schema import RUNS
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.runners.base import NO_EXTRAS, Extras
from dropbench.runners.choose import choose_runner
from dropbench.runners.stacked import MOST_SLOTS, slots_that_fit, with_stacks

CPU = torch.device("cpu")
SMALL = {"model": "mlp", "layers": (4,), "epochs": 2, "batch_size": 64}
SERIAL = {"runner": "serial", "threads": 1}


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def config(data, **settings) -> RunConfig:
    return RunConfig(data=data.name, data_key=data.key, **{**SMALL, **settings})


def mixed(data) -> list[RunConfig]:
    """Two stacks with their runs in turns, a run that fits in neither, and one of another kind."""
    alone = [config(data, layers=(5,)), config(data, activation="logistic")]
    return [
        config(data, layers=layers, p_drop=p) for p in (0.1, 0.5, 0.7) for layers in ((4,), (4, 4))
    ] + alone


def runner_for(runs, data, machine=None, extras=NO_EXTRAS, device=CPU, every=None):
    machine = machine or Machine(stack=2, **SERIAL)
    rest = choose_runner(len(runs), CPU, machine, extras)
    return with_stacks(rest, runs, every or runs, data, device, machine, extras)


def by_id(results):
    return {result.config.run_id: result for result in results}


def silent(worker, config, record):
    pass


def test_each_run_goes_where_it_fits(blobs):
    runs, heard = mixed(blobs), []
    runner, order = runner_for(runs, blobs)
    assert runner.jobs == 2
    assert sorted(run.run_id for run in order) == sorted(run.run_id for run in runs)
    results = by_id(runner.run(order, lambda *of: heard.append((of[1].run_id, of[2]))))
    assert all(results[run.run_id].where["stacked"] == 1 for run in runs[6:])
    assert {results[run.run_id].where["stacked"] for run in runs[:6]} == {2, 1}, "the third has a slot alone"
    assert results[order[0].run_id].where["stacked"] == 2
    serial = by_id(choose_runner(8, CPU, Machine(**SERIAL)).run(runs, silent))
    for run_id, result in serial.items():
        assert results[run_id].status == result.status == "ok"
        assert results[run_id].metrics["val_nll"] == pytest.approx(result.metrics["val_nll"], rel=1e-3)
        epochs = [record.epoch for heard_of, record in heard if heard_of == run_id and record]
        assert epochs == [1, 2]
        assert heard.count((run_id, None)) == 1


def test_a_stack_that_fails_loses_no_run(blobs, monkeypatch, told):
    begun = stack._begun

    def fails_at_times(run, *more):
        if run.dropout.p_drop == 0.7:
            raise RuntimeError("It has no luck.")
        return begun(run, *more)

    monkeypatch.setattr(stack, "_begun", fails_at_times)
    runs = [config(blobs, p_drop=p) for p in (0.1, 0.5, 0.7, 0.3)]
    runner, order = runner_for(runs, blobs)
    results = list(runner.run(order, silent))
    assert [result.status for result in results] == ["ok"] * 4
    assert {result.config.run_id for result in results} == {run.run_id for run in runs}
    assert any("It has no luck." in sentence for sentence in told)


def test_nothing_is_begun_after_the_configs_stop(blobs):
    runs, given, results = mixed(blobs), [], []
    runner, order = runner_for(runs, blobs)

    def give():
        for run in order:
            if results:
                return
            given.append(run)
            yield run

    for result in runner.run(give(), silent):
        results.append(result)  # noqa: PERF402  # one at a time: giving looks at it
    assert len(results) == len(given) == 2


@pytest.mark.parametrize(
    ("machine", "extras"),
    [
        (Machine(**SERIAL), NO_EXTRAS),  # by rule there are none on the CPU
        (Machine(stack=1, **SERIAL), NO_EXTRAS),
        (Machine(**SERIAL), Extras(compiled=True)),
    ],
)
def test_where_nothing_is_stacked(blobs, machine, extras):
    runs = mixed(blobs)
    rest = choose_runner(len(runs), CPU, machine, extras)
    assert with_stacks(rest, runs, runs, blobs, CPU, machine, extras) == (rest, runs)


@pytest.mark.parametrize(
    ("gpus", "machine", "extras", "is_stacked"),
    [
        (1, Machine(), NO_EXTRAS, True),
        (2, Machine(), NO_EXTRAS, False),
        (1, Machine(stack=1), NO_EXTRAS, False),
        (1, Machine(jobs=1), NO_EXTRAS, False),
        (1, Machine(runner="process"), NO_EXTRAS, False),
        (1, Machine(runner="serial"), NO_EXTRAS, False),
        (1, Machine(), Extras(graph=False), False),
        (2, Machine(stack=3, jobs=2), NO_EXTRAS, True),
    ],
)
def test_on_one_gpu_runs_are_stacked_where_nothing_else_is_told(
    blobs, monkeypatch, gpus, machine, extras, is_stacked
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**9, 10**9))
    runs = mixed(blobs)
    rest = choose_runner(len(runs), CPU, Machine(**SERIAL))
    runner, _ = with_stacks(rest, runs, runs, blobs, torch.device("cuda"), machine, extras)
    assert (runner is not rest) == is_stacked


def test_a_gpu_whose_memory_holds_one_slot_has_no_stack(blobs, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**3, 10**9))
    runs = mixed(blobs)
    rest = choose_runner(len(runs), CPU, Machine(**SERIAL))
    assert with_stacks(rest, runs, runs, blobs, torch.device("cuda"), Machine(), NO_EXTRAS) == (rest, runs)


def test_what_is_left_of_a_command_is_stacked_as_it_was(blobs):
    """So a run has its bits, whatever was done before: one that is left is a stack of its own."""
    runs = [config(blobs, seed=seed) for seed in range(3)]
    runner, order = runner_for(runs[:1], blobs, every=runs)
    whole, order_of_all = runner_for(runs, blobs)
    (left,) = runner.run(order, silent)
    expected = by_id(whole.run(order_of_all, silent))[runs[0].run_id]
    assert left.metrics == expected.metrics
    assert left.epochs[-1].train_loss == expected.epochs[-1].train_loss


def test_runs_that_cannot_be_stacked_are_told_of(blobs, told):
    runs = [config(blobs, activation="logistic", seed=seed) for seed in range(2)]
    runner_for(runs, blobs)
    assert any("`stack=2` does nothing" in sentence for sentence in told)


@pytest.mark.parametrize("options", [{"runner": "ray"}, {"runner": "process"}, {"compile": True}])
def test_what_does_not_go_with_a_stack(options):
    with pytest.raises(UsageError, match="not stacked"):
        Machine(stack=2, **options)
    Machine(stack=1, **options)


def test_as_many_runs_as_fit_into_the_memory():
    assert [slots_that_fit(free, 1e6) for free in (0, 10**6, 10**7, 10**12)] == [1, 1, 7, MOST_SLOTS]


@pytest.mark.parametrize("settings", [{}, {"precision": "bf16"}, {"layers": (300, 200), "patience": 2}])
def test_the_memory_of_a_slot_is_not_underestimated(blobs, settings):
    run = Run.prepare(config(blobs, **settings), blobs, CPU)
    held = {tensor.data_ptr(): tensor.nbytes for tensor in StackedMLP(run, 4)._per_slot}
    estimated = bytes_of_a_slot(run.config, blobs.input_shape, 3, len(blobs.train_targets))
    assert sum(held.values()) / 4 < estimated


def test_a_sweep_is_stacked_where_it_is_told(blobs, tmp_path):
    done = db.sweep(blobs, p="0.2,0.5", seeds=2, stack=4, out=tmp_path, **SMALL, **SERIAL)
    assert done.frame["stacked"].tolist() == [4, 4, 4, 4, 2, 2]
    assert set(done.frame["status"]) == {"ok"}


def test_the_flag_is_the_setting(tmp_path, capsys):
    flags = "--model mlp --layers 4 --epochs 1 --train-size 200 --runner serial --threads 1 --p 0.5 --seeds 1"
    assert command(["sweep", *flags.split(), "--stack", "2", "--out", str(tmp_path)]) == 0
    assert [row["stacked"] for row in latest(read_rows(tmp_path, RUNS), RUNS)] == [2, 2]


def test_a_comparison_takes_the_seconds_of_runs_alone(blobs, tmp_path, monkeypatch):
    machines = []

    def seen(rest, runs, every, data, device, machine, extras):
        machines.append(machine)
        return rest, runs

    monkeypatch.setattr("dropbench.experiments.workbench.with_stacks", seen)
    small = {**SMALL, "epochs": 1, "ood": "none", "arms": "single", "members": 1, "seeds": 1, "mc_samples": 1}
    db.compare(blobs, out=tmp_path / "by rule", **small, **SERIAL)
    db.compare(blobs, out=tmp_path / "told", stack=2, **small, **SERIAL)
    assert [machine.stack for machine in machines] == [1, 2]


def test_the_order_of_results_is_that_of_their_ends(blobs):
    runs = [config(blobs, epochs=epochs) for epochs in (3, 1, 2)]
    results = list(train_stacked(runs, blobs, slots=3))
    assert [result.config.optimizer.epochs for result in results] == [1, 2, 3]
