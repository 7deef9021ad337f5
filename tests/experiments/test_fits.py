"""Nets that nobody wants by accident, or that have no room, are told before any is made."""

import numpy as np
import pytest
import torch

from dropbench.catalog.dropouts import VARIANTS
from dropbench.datasets.dataset import DataSet
from dropbench.engine.need import least_memory, need_of
from dropbench.errors import UsageError
from dropbench.experiments import fits
from dropbench.experiments.workbench import Workbench
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine

CPU = torch.device("cpu")


def photos(name: str, height: int, width: int, **told) -> DataSet:
    """Eight images that take no memory."""
    images = np.broadcast_to(np.uint8(0), (8, 3, height, width))
    labels = np.arange(8) % 2
    return DataSet(name, images, labels, images, labels, ("a", "b"), key="k", told=told)


def bound(data: DataSet, **settings) -> RunConfig:
    (config,) = Workbench(data, CPU, "fp32").bind([RunConfig(**settings)])
    return config


def refusal(data: DataSet, **settings) -> str:
    with pytest.raises(UsageError) as caught:
        bound(data, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    """A machine with more memory than any net here needs, or with what a test says."""

    def have(available: float) -> None:
        monkeypatch.setattr(fits, "available_memory_bytes", lambda: available)

    have(1 << 50)
    return have


@pytest.mark.parametrize("model", ["lecture-cnn", "paper-cnn", "mlp", "autoencoder"])
def test_photographs_as_they_are_make_a_net_too_large_and_a_size_is_asked_for(model):
    said = refusal(photos("folder:x", 900, 1200), model=model)
    assert "900×1200" in said
    assert "`image_size=64`" in said
    assert bound(photos("folder:x", 64, 64), model=model)
    assert bound(photos("folder:x", 900, 1200, image_size="900x1200"), model=model), "as it was asked for"


def test_data_of_one_size_ask_for_another_net():
    assert "`width=0.25`" in refusal(photos("arrays", 900, 1200))
    assert "`layers`" in refusal(photos("arrays", 900, 1200), model="mlp")
    assert bound(photos("arrays", 900, 1200), width=0.9)
    assert bound(photos("arrays", 900, 1200), model="mlp", layers=(200,))


@pytest.mark.parametrize("variant", VARIANTS)
def test_nets_with_dropout_of_any_kind_are_tried(variant):
    activation = VARIANTS[variant].activation or "relu"
    net = {"model": "mlp", "layers": (8, 8), "activation": activation}
    assert bound(photos("arrays", 16, 16), dropout=variant, p_drop=0.5, **net)


@pytest.mark.parametrize("shape", [(28, 28), (32, 32), (64, 64), (96, 96)])
def test_nets_of_usual_size_fit_a_small_machine(memory, shape):
    memory(2e9)
    for model in ("lecture-cnn", "mlp"):
        assert bound(photos("arrays", *shape), model=model)


def test_what_needs_more_memory_than_there_is_is_told_with_both(memory):
    data = photos("folder:x", 400, 400, image_size="400")
    config = RunConfig(width=0.5)
    needed = sum(least_memory(config, data.input_shape, 2, 16))
    memory(needed + 1)
    assert bound(data, width=0.5)
    memory(needed - 1)
    said = refusal(data, width=0.5)
    assert said.count(f"{needed / 1e9:,.1f} GB") == 2
    assert "`image_size=64`" in said


def test_the_least_memory_is_that_of_the_weights_and_the_inputs_and_less_than_a_gpu_is_asked_for():
    config = RunConfig(model="mlp", layers=(300, 200), batch_size=10)
    weights = (28 * 28 + 1) * 300 + 301 * 200 + 201 * 10
    shared, own = least_memory(config, (1, 28, 28), 10, 1000)
    least = shared + own
    assert shared == 1000 * 28 * 28
    rest = least - 12 * weights - 1000 * 28 * 28
    assert 10 * 300 * 8 <= rest <= 10 * 28 * 28 * 8
    assert least < need_of(config, (1, 28, 28), 10, 1000).memory_bytes


def test_runs_at_a_time_are_counted_and_share_the_data(memory, told):
    data = photos("arrays", 28, 28)
    settings = {"model": "mlp", "layers": (100,), "batch_size": 8}
    shared, own = least_memory(RunConfig(**settings), data.input_shape, 2, 16)
    runs = [RunConfig(**settings, seed=seed) for seed in range(8)]
    bench = Workbench(data, CPU, "fp32", Machine(jobs=4))
    memory(shared + 3 * own)
    with pytest.raises(UsageError, match=r"4 at a time take at least .* `jobs=3`"):
        bench.bind(runs)
    memory(shared + 5 * own)
    bench.bind(runs)
    assert "4 at a time take about" in told[-1], "by the estimate, which has what the least leaves out"
    told.clear()
    memory(1e12)
    bench.bind(runs)
    assert told == []
