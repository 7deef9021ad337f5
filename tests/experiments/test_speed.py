"""Both sides do the same work, and the rounds are fair."""

import time

import pytest
import torch

from dropbench.datasets import cache
from dropbench.datasets.split import split
from dropbench.errors import UsageError
from dropbench.experiments.speed import plain_loop, work
from dropbench.experiments.speed.items import sweep_seconds, worker_memory_bytes, write_runs
from dropbench.experiments.speed.measure import check_items
from dropbench.experiments.speed.session import Session, made_up_data
from dropbench.models.build import build_model
from dropbench.report.folder import load_report
from dropbench.run.config import RunConfig
from dropbench.runners.process import ProcessRunner

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
    images = torch.from_numpy(digits.train_images[:]).float().div_(255)
    labels = torch.from_numpy(digits.train_labels[:])
    model = plain_loop.mlp(784, (64,), 10, 0.1, 0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = [
        plain_loop.train_epoch(model, plain_loop.in_memory_batches(images, labels), optimizer, CPU)
        for _ in range(3)
    ]
    assert losses[-1] < 0.3 * losses[0]
    assert plain_loop.count_correct(model, [(images, labels)], CPU) > 0.9 * len(labels)


def test_pictures_are_the_images_in_the_tutorials_range():
    with made_up_data((3, 8, 8), train=40, test=10) as data:
        ((images, labels),) = plain_loop.picture_loader(data.test_images, data.test_labels, shuffle=False)
    expected = torch.from_numpy(data.test_images.copy()).float() / 255 * 2 - 1
    torch.testing.assert_close(images, expected)
    assert labels.tolist() == data.test_labels.tolist()


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
        assert len(split(data.train_labels, RunConfig()).train) == 90
        assert len(data.test_labels) == 7
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
