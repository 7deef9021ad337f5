"""Both sides do the same work, and the rounds are fair."""

import copy
import time
from collections import defaultdict
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import torch

from dropbench.datasets import cache
from dropbench.datasets.split import split
from dropbench.engine import optim
from dropbench.errors import UsageError
from dropbench.experiments.speed import items, plain_loop, sweeps, work
from dropbench.experiments.speed.items import worker_memory_bytes, write_runs
from dropbench.experiments.speed.kernels import KERNELS, Listed
from dropbench.experiments.speed.measure import check_items
from dropbench.experiments.speed.session import Session, made_up_data
from dropbench.experiments.speed.sweeps import sweep_seconds
from dropbench.kernels import compiled
from dropbench.models.build import build_model
from dropbench.report.folder import load_report
from dropbench.run.config import RunConfig
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner

CPU = torch.device("cpu")


def test_plain_cnn_is_the_same_function_of_the_same_weights():
    ours = build_model((3, 32, 32), 10, RunConfig())
    plain = plain_loop.lecture_cnn(32, 32, 10, p_drop=0.0)
    with torch.no_grad():
        for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
            theirs.copy_(mine)
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain(images), ours(images))


def test_plain_mlp_is_the_same_function_of_the_same_weights():
    ours = build_model((1, 28, 28), 10, RunConfig(model="mlp", layers=(20, 30)))
    plain = plain_loop.mlp(784, (20, 30), 10, p_drop=0.0, p_drop_input=0.0)
    with torch.no_grad():
        for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
            theirs.copy_(mine)
    images = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(plain(images), ours(images))


def test_plain_loop_learns(digits):
    """The reference really trains a net."""
    torch.manual_seed(0)
    images = torch.from_numpy(digits.train_inputs[:]).float().div_(255)
    labels = torch.from_numpy(digits.train_targets[:])
    model = plain_loop.mlp(784, (64,), 10, 0.1, 0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = [
        plain_loop.train_epoch(
            model, plain_loop.InMemoryBatches(images, labels, shuffle=True), optimizer, CPU
        )
        for _ in range(3)
    ]
    assert losses[-1] < 0.3 * losses[0]
    assert plain_loop.count_correct(model, [(images, labels)], CPU) > 0.9 * len(labels)


def test_batches_in_memory_are_every_image_once_with_its_label():
    images, labels = torch.arange(300.0)[:, None], torch.arange(300)
    for shuffle in (False, True):
        batches = list(plain_loop.InMemoryBatches(images, labels, shuffle))
        assert [len(batch) for _, batch in batches] == [128, 128, 44]
        found = torch.cat([batch for _, batch in batches])
        torch.testing.assert_close(torch.cat([batch for batch, _ in batches])[:, 0], found.float())
        assert sorted(found.tolist()) == labels.tolist()
        assert (found.tolist() == labels.tolist()) is not shuffle


def test_a_step_of_the_plain_loop_with_max_norm_is_ours():
    torch.manual_seed(0)
    ours = plain_loop.mlp(784, (20, 30), 10, p_drop=0.5, p_drop_input=0.2)
    for parameter in ours.parameters():
        parameter.grad = torch.randn_like(parameter)
    plain = copy.deepcopy(ours)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        theirs.grad = mine.grad.clone()
    optim.SGD(ours, momentum=0.9, weight_decay=0.0, max_norm=0.5).step(0.001)
    plain_loop.make_optimizer(plain).step()
    plain_loop.apply_max_norm(plain, 0.5)
    norms = [weight.norm(dim=1).max().item() for name, weight in plain.named_parameters() if "weight" in name]
    assert norms == pytest.approx([0.5] * 3, rel=1e-5)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(theirs, mine)


def test_plain_training_ends_within_the_max_norm():
    torch.manual_seed(0)
    model = plain_loop.mlp(16, (8,), 10, 0.5, 0.0)
    batches = [(torch.randn(32, 16), torch.arange(32) % 10)] * 3
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    plain_loop.train_epoch(model, batches, optimizer, CPU, max_norm=0.1)
    assert max(module.weight.norm(dim=1).max() for module in model if hasattr(module, "weight")) < 0.1001


def test_pictures_are_the_images_in_the_tutorials_range():
    with made_up_data((3, 8, 8), train=40, test=10) as data:
        ((images, labels),) = plain_loop.picture_loader(data.test_inputs, data.test_targets, shuffle=False)
    expected = torch.from_numpy(data.test_inputs.copy()).float() / 255 * 2 - 1
    torch.testing.assert_close(images, expected)
    assert labels.tolist() == data.test_targets.tolist()


def test_contenders_take_turns_and_both_orders_occur():
    calls: list[str] = []
    session = Session(CPU, "fp32", repetitions=4, fast=None, plain=None)
    values = session.take_turns(
        {name: lambda name=name: calls.append(name) or len(calls) for name in ("a", "b")}
    )
    assert "".join(calls) == "abbaabba"
    assert values == {"a": (1, 4, 5, 8), "b": (2, 3, 6, 7)}


def test_made_up_data_have_the_promised_size_and_leave_the_cache_as_it_was():
    before = set(cache.cache_folder().rglob("*"))
    with made_up_data((1, 8, 8), train=90, test=7) as data:
        assert len(split(data, RunConfig()).train) == 90
        assert len(data.test_targets) == 7
    assert {path for path in set(cache.cache_folder().rglob("*")) - before if path.is_file()} == set()


def test_training_operations_are_those_of_the_layers():
    """A multiplication and its addition count 2; of the three passes, the images' gradient is left out."""
    convolutions = [
        2 * 9 * fan_in * fan_out * side**2
        for fan_in, fan_out, side in ((3, 64, 32), (64, 128, 16), (128, 256, 8))
    ]
    linear = [2 * 4096 * 512, 2 * 512 * 512, 2 * 512 * 10]
    expected = 3 * sum(convolutions + linear) - convolutions[0]
    assert work.training_flops(RunConfig(), (3, 32, 32), 10) == expected


def test_the_clock_of_a_sweep_stops_with_its_last_run():
    with made_up_data((1, 8, 8), train=90, test=10) as data:
        config = RunConfig(
            data=data.name, data_key=data.key, model="mlp", layers=(8,), epochs=1, p_drop=0.5, seed=5
        )
        runs = [config.replace(seed=seed) for seed in range(2)]
        start = time.perf_counter()
        started, seconds = sweep_seconds(ProcessRunner(CPU, 1, 1), config, runs)
        whole = time.perf_counter() - start
    assert started > 0
    assert seconds > 0
    assert started + seconds <= whole


class InThisProcess:
    """An executor that starts no process."""

    def submit(self, function, *arguments):
        done = Future()
        done.set_result(function(*arguments))
        return done


@pytest.fixture
def here(monkeypatch):
    """A session without processes, on little data and for a short time."""
    monkeypatch.setattr(work, "_SECONDS", 1e-3)
    monkeypatch.setattr(work, "_MATMUL_OPERATIONS", {"cpu": 1})
    monkeypatch.setattr(sweeps, "made_up_data", lambda shape, train, test: made_up_data(shape, 45, 20))
    monkeypatch.setattr(sweeps, "choose_runner", lambda runs, device, workload: SerialRunner(device))
    return Session(CPU, "fp32", repetitions=2, fast=InThisProcess(), plain=InThisProcess())


def test_copies_are_paired_with_the_layer_of_the_same_work(here, monkeypatch):
    monkeypatch.setattr(work, "seconds_a_call", lambda call, device: 1e-3)
    by_item = defaultdict(dict)
    for figures in items.layers(here):
        by_item[figures.item, figures.work][figures.contender] = figures
    layers = {work for item, work in by_item if item == "dropout layer"}
    assert len(layers) == 4
    for done in layers:
        assert list(by_item["dropout layer", done]) == ["plain loop", "dropbench"]
        ours, copies = by_item["bandwidth", done].values()
        assert (ours.contender, copies.contender) == ("dropbench", "copy")
        size = 4 if "float32" in done else 2
        for rate, nanoseconds in zip(
            ours.values, by_item["dropout layer", done]["dropbench"].values, strict=True
        ):
            assert rate * nanoseconds == pytest.approx(4 * size)  # read and write, forward and backward


def test_bandwidth_of_a_layer_that_copies_twice_is_that_of_copying(monkeypatch):
    """The whole share: a pass takes at least a copy, so 100 % is one copy forward and one backward."""
    monkeypatch.setattr(work, "seconds_a_call", lambda call, device: 3e-6)
    assert work.copy_nanoseconds((10, 300), torch.float32, CPU) == pytest.approx(2 * 3e-6 * 1e9 / 3000)
    assert work.layer_nanoseconds(True, (10, 300), torch.float32, CPU) == pytest.approx(1.0)


def test_each_kernel_is_beside_torchs_own_operations(here, monkeypatch):
    dtypes = {"a, 2×2": (torch.float32, torch.bfloat16), "b, 3×3": (torch.float32,), "c": (torch.bfloat16,)}
    small = {name: Listed(lambda dtype, device: lambda: None, of, ("cpu",)) for name, of in dtypes.items()}
    for module in (items, work):
        monkeypatch.setattr(module, "KERNELS", small)
    found = list(items.kernels(here))
    assert [figures.contender for figures in found] == ["torch", "dropbench"] * 2
    assert {figures.work for figures in found} == {"a, 2×2, float32", "b, 3×3, float32"}
    assert {len(figures.values) for figures in found} == {2}
    monkeypatch.setattr(items, "usable_on", lambda device: False)
    assert {figures.contender for figures in items.kernels(here)} == {"torch"}


@pytest.mark.parametrize(("name", "dtype"), [(name, of) for name in KERNELS for of in KERNELS[name].dtypes])
def test_listed_kernels_are_those_that_run(name, dtype, monkeypatch):
    """Tensors that no kernel takes would be compared with themselves."""
    called = []
    call = compiled.Kernel.__call__
    monkeypatch.setattr(
        compiled.Kernel, "__call__", lambda self, *arguments: called.append(call(self, *arguments))
    )
    passes = KERNELS[name].prepare(dtype, CPU)
    if not compiled.usable():
        pytest.skip(compiled.WHY_NOT)
    called.clear()
    passes()
    assert called


@pytest.mark.parametrize("switched_on", [True, False])
def test_kernels_are_off_while_torch_is_timed(monkeypatch, switched_on):
    seen = []
    noted = Listed(lambda dtype, device: lambda: seen.append(compiled.usable()), (torch.float32,), ("cpu",))
    monkeypatch.setitem(KERNELS, "noted", noted)
    monkeypatch.setattr(work, "_SECONDS", 1e-6)
    work.kernel_milliseconds("noted", switched_on, torch.float32, CPU)
    assert set(seen) == {switched_on}


def test_sweep_counts_the_images_of_complete_runs_on_both_sides(here, monkeypatch):
    monkeypatch.setattr(work, "plain_runs_seconds", lambda runs, device: 3.0 * len(runs))
    monkeypatch.setattr(sweeps, "sweep_seconds", lambda runner, warm_up, runs: (1.0, 0.5 * len(runs)))
    found = {(figures.item, figures.contender): figures for figures in sweeps.cnn_sweep(here)}
    assert found["sweep", "plain loop"].values == (30,)  # twice 45 images a run; half of two rounds is one
    assert found["sweep", "dropbench"].values == (180,)
    assert found["sweep", "dropbench"].work == "8 lecture-cnn, 2 × 45 images (plain 1)"
    (arithmetic,) = found["arithmetic", "dropbench"].values
    training = work.training_flops(RunConfig(), (3, 32, 32), 10)
    assert training < arithmetic * 1e12 / 180 < 2 * training
    assert found["start", "dropbench"].values == (1,)
    assert ("arithmetic", "fp32 matmul") in found


def test_sweep_of_mlps_has_max_norm_on_both_sides(here, monkeypatch):
    bounds = {"ours": [], "plain": []}

    class Noted(optim.SGD):
        def __init__(self, model, momentum, weight_decay, max_norm=None, **more):
            bounds["ours"].append(max_norm)
            super().__init__(model, momentum, weight_decay, max_norm, **more)

    monkeypatch.setattr(optim, "SGD", Noted)
    monkeypatch.setattr(plain_loop, "apply_max_norm", lambda model, bound: bounds["plain"].append(bound))
    plain, ours = sweeps.mlp_sweep(here)
    assert (plain.contender, ours.contender) == ("plain loop", "dropbench")
    assert (plain.work, plain.unit) == (ours.work, ours.unit)
    assert set(bounds["ours"]) == set(bounds["plain"]) == {sweeps.MAX_NORM}
    # One step of the plain loop's run; the sweep's runs, and the warm-up of its worker.
    assert (len(bounds["plain"]), len(bounds["ours"])) == (sweeps.PLAIN_RUNS * sweeps.EPOCHS, sweeps.RUNS + 1)


def test_jobs_measures_the_runner_that_is_chosen_by_default(here, monkeypatch):
    chosen = SimpleNamespace(jobs=3)
    seen = []

    def seconds(runner, warm_up, runs):
        seen.append(runner)
        return 1.0, 1.0

    monkeypatch.setattr(sweeps, "sweep_seconds", seconds)
    monkeypatch.setattr(sweeps, "choose_runner", lambda runs, device, workload: chosen)
    found = list(sweeps.jobs(here))
    assert [figures.contender for figures in found] == ["1 worker", "3 workers"] * 4
    one, by_default = seen[:2]
    assert (one.jobs, one.threads) == (1, sweeps.cores())
    assert by_default is chosen


def test_memory_of_workers_is_told_on_linux_or_not_at_all():
    with made_up_data((1, 8, 8), train=90, test=10) as data:
        config = RunConfig(data=data.name, data_key=data.key, model="mlp", layers=(8,), epochs=1)
        used = worker_memory_bytes(config, CPU)
    # A forked worker shares torch with its server and writes some MB to train; a spawned one shares nothing.
    assert all(2e6 < bytes_ < 2e9 for bytes_ in used)


def test_runs_written_for_the_report_are_a_report(tmp_path, told):
    assert write_runs(tmp_path, 300) == 300
    (table,) = load_report(tmp_path).tables
    assert told == []
    assert len(table.rows) == 100
    assert {row["seeds"] for row in table.rows} == {3}


def test_unknown_item_is_refused():
    with pytest.raises(UsageError, match="layers"):
        check_items(["layer"])


def test_failed_run_is_never_a_figure():
    config = RunConfig(data_key="0" * 16)
    with pytest.raises(FileNotFoundError):
        work.run_images_per_second(config, CPU, compiled=False)
