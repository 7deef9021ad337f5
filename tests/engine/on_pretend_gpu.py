"""Whole runs on the pretend GPU: the numbers of the CPU, every tensor in its place, and no wait in an epoch.

tests/engine/test_waiting.py runs this file in a process of its own, since the device stays with the process.
"""

import contextlib
import dataclasses
import math
import sys

import numpy as np
import pytest
import torch
from engine.made import REGRESSION, made, numbered
from engine.pretend_gpu import DEVICE, Event, MixedDevicesError, pretending
from torch import nn

from dropbench.catalog.arms import ARMS
from dropbench.catalog.dropouts import VARIANTS
from dropbench.catalog.user_code import is_user_code
from dropbench.datasets.dataset import DataSet
from dropbench.engine import epoch, evaluate, monte_carlo
from dropbench.engine import run as engine_run
from dropbench.engine.checkpoint import Checkpoints
from dropbench.engine.stack import train_stacked
from dropbench.engine.step import Step
from dropbench.engine.train import train, training
from dropbench.experiments.bagging.plan import ComparisonPlan, runs_of
from dropbench.kernels import compiled
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult

SMALL = {"epochs": 2, "train_size": 72, "batch_size": 48}  # two batches, the second one smaller
MLP = {"model": "mlp", "layers": (12, 12), **SMALL}
CNN = {"model": "lecture-cnn", "width": 0.05, **SMALL}
FULL_PRECISION, HALF, SCALED = {"precision": "fp32"}, {"precision": "bf16"}, {"precision": "fp16"}


@pytest.fixture(autouse=True)
def _several_batches(monkeypatch):
    """Evaluate the test images in several batches; a wait in each would be seen as several."""
    monkeypatch.setattr(evaluate, "EVALUATION_BATCH", 50)
    monkeypatch.setattr(monte_carlo, "EVALUATION_BATCH", 50)


class OneByOne:
    """A lane of steps that are not recorded: the pretend GPU has no graphs."""

    records = True

    def begin(self):
        pass

    end = forget = begin

    def working(self):
        return contextlib.nullcontext()


@pytest.fixture(autouse=True)
def _steps_as_on_cuda(monkeypatch):
    """Train by the steps that CUDA records, in a warm-up that does not end."""
    steps_of = epoch.steps_of

    def as_on_cuda(step: Step, images: int, device: torch.device, graph: bool) -> epoch.Steps:
        if device != DEVICE or own_code(step.config):
            return steps_of(step, images, device, graph)
        return epoch.GraphSteps(step, images, device, OneByOne(), warm_up=sys.maxsize)

    monkeypatch.setattr(engine_run, "steps_of", as_on_cuda)


def own_code(config: RunConfig) -> bool:
    return is_user_code(config.model.name) or is_user_code(config.dropout.variant)


class Own(nn.Module):
    """A net of the user's own, whose layers for dropout become sites."""

    def __init__(self, shape, classes, config):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(shape[0], 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(), nn.Flatten()
        )
        self.drop, self.output = nn.Dropout(), nn.Linear(4 * (shape[1] - 2) * (shape[2] - 2), classes)

    def forward(self, images):
        return self.output(self.drop(self.layers(images)))


def both(config: RunConfig, data: DataSet, panel: bool) -> tuple[RunResult, RunResult, list[Event]]:
    """The run on the pretend GPU and by torch's operations on the CPU, and the former's waits and copies."""
    turned = data.test_inputs[::-1] if data.columns else np.rot90(data.test_inputs, axes=(2, 3))
    rotated = ("rotated", np.ascontiguousarray(turned))
    with compiled.switched_off():
        expected = train(config, data, panel=panel, ood=rotated)
        with pretending() as gpu:
            found = train(config, data, DEVICE, panel=panel, ood=rotated)
    return found, expected, gpu.events


def assert_same(found: RunResult, expected: RunResult) -> None:
    assert found.status == expected.status == "ok"
    assert found.metrics == expected.metrics
    for ours, theirs in zip(found.epochs, expected.epochs, strict=True):
        assert same_numbers(dataclasses.asdict(ours), dataclasses.asdict(theirs))
    assert found.predictions.keys() == expected.predictions.keys()
    for name, array in expected.predictions.items():
        assert np.array_equal(found.predictions[name], array), name
    for measured, known in zip(found.panel, expected.panel, strict=True):
        assert (measured.measure, measured.layer, measured.at) == (known.measure, known.layer, known.at)
        # Of a tensor of a class of its own torch computes the eigenvectors, too: by another algorithm.
        error = 1e-9 if known.measure == "effective_rank" else 0
        assert measured.value == pytest.approx(known.value, rel=error, abs=0, nan_ok=True), known


def same_numbers(found: dict[str, float], expected: dict[str, float]) -> bool:
    return all(
        found[name] == value or (math.isnan(found[name]) and math.isnan(value))
        for name, value in expected.items()
        if name != "seconds"
    )


def assert_waits_only_between_epochs(events: list[Event], config: RunConfig, epochs: int) -> None:
    """An epoch begins with copies, of its images' order, and ends with one read; a prediction has neither."""

    def kinds(function: str) -> list[str]:
        return [event.kind for event in events if function in event.within]

    assert [str(event) for event in events if "train" not in event.within] == [], "in a backward pass"
    in_epochs = [event for event in events if "train_epoch" in event.within]
    begin, end = (["upload"] if own_code(config) else ["upload", "upload"]), ["download"]
    of_one = list(map(str, in_epochs[: len(begin + end)]))
    assert [event.kind for event in in_epochs[: len(of_one)]] == begin + end, of_one
    assert list(map(str, in_epochs)) == of_one * epochs
    assert [str(event) for event in events if {"outputs_of", "_predict_copies"} & event.within] == []
    assert kinds("validation") == ["upload"], "the positions of its images, once"
    assert kinds("validate") == ["download"] * epochs
    ladders = 3 * bool(config.dropout.mc_samples and config.task == "classify")
    assert kinds("predict_monte_carlo") == ["upload"] * ladders, "the ladder"
    assert kinds("monte_carlo_passes") == []
    assert kinds("errors_without_units") in ([], ["download"]), "all choices of units at once"
    # Of an autoencoder: the errors of each epoch and of each split, and which images are shown.
    assert kinds("_measured") in ([], ["download"] * (epochs + 3))
    assert kinds("_positions_of_pictures") in ([], ["download", "upload"])


def check(config: RunConfig, data: DataSet, panel: bool = False) -> None:
    found, expected, events = both(config, data, panel)
    assert_same(found, expected)
    assert_waits_only_between_epochs(events, config, len(expected.epochs))


# Whole runs


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant(name, blobs):
    fields = {"dropout": name, "activation": VARIANTS[name].activation or "relu", "p_drop": 0.3}
    precisions = [FULL_PRECISION, HALF][:: (-1) ** list(VARIANTS).index(name)]
    at_input = 0.0 if name == "standout" else 0.2
    panel = name in ("bernoulli", "dropconnect")  # which drop units and weights: the panel asks no more
    check(RunConfig(**MLP, **fields, **precisions[0], p_drop_input=at_input, mc_samples=2), blobs, panel)
    on_maps = 0.0 if name == "dropconnect" else 0.2
    check(RunConfig(**CNN | {"epochs": 1}, **fields, **precisions[1], p_drop_conv=on_maps), blobs)


@pytest.mark.parametrize("precision", [FULL_PRECISION, HALF], ids=["fp32", "bf16"])
@pytest.mark.parametrize(
    "fields",
    [
        {"model": "paper-cnn", "width": 0.04, "p_drop_conv": 0.2, "max_norm": 1.0},
        {"model": "engine.on_pretend_gpu:Own", "p_drop_conv": 0.2, "mc_samples": 2},
        {"model": "autoencoder", "layers": (12,), "p_drop_input": 0.2, "augment": "crop"},
        {"model": "autoencoder", "layers": (12,), "tied": True, "kl_sparsity": 0.1, "activation": "logistic"},
    ],
    ids=lambda fields: next(iter(fields.values())) + "-tied" * fields.get("tied", False),
)
def test_the_other_models(fields, precision, blobs):
    check(RunConfig(**SMALL, **fields, **precision, p_drop=0.3), blobs, panel=True)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        *(("bernoulli", schedule) for schedule in ("early", "late", "ramp")),
        *((name, "ramp") for name in ("concrete", "variational", "torch.nn:Dropout")),  # a strength a step
    ],
)
def test_every_schedule(name, schedule, blobs):
    check(RunConfig(**MLP, dropout=name, dropout_schedule=schedule, p_drop=0.3), blobs)


@pytest.mark.parametrize(
    "fields",
    [
        {"l1": 1e-4, "kl_sparsity": 1e-3, "max_norm": 1.0, "weight_decay": 1e-3},
        {"l1": 1e-4, "max_norm": 1.0, **HALF},
        {"patience": 1, "epochs": 4, "learning_rate": 2.0, **HALF},
        {"pixels": "unit", "activation": "maxout", "convention": "weight-scaling"},
        {"init": "torch", "learning_rate_schedule": "cosine", "width": 2.0},
        {"augment": "flip,crop", "joint": True, "bootstrap": True},
        {"augment": "flip", "pixels": "unit", "dropout_schedule": "late", "cutoff_epoch": 1, **HALF},
        {"optimizer": "adamw", "clip_norm": 0.1, "label_smoothing": 0.1, "max_norm": 1.0, **HALF},
        {"optimizer": "muon", "clip_norm": 0.1},
        {"clip_norm": 0.1, "label_smoothing": 0.1, **HALF},
        {"clip_norm": 0.1, "max_norm": 1.0, **SCALED},
        {"optimizer": "adamw", "max_norm": 1.0, **SCALED},
        {"optimizer": "muon", **SCALED},
    ],
    ids=[
        *(
            "penalties",
            "l1",
            "patience",
            "maxout",
            "cosine",
            "augmentation",
            "flips",
            "adamw",
            "muon",
            "clip",
        ),
        *("fp16-sgd", "fp16-adamw", "fp16-muon"),
    ],
)
def test_every_other_setting_of_a_step(fields, blobs):
    check(RunConfig(**MLP | fields, p_drop=0.3, p_drop_input=0.2), blobs)


def test_every_arm_of_a_comparison(blobs):
    base = RunConfig(**MLP, p_drop=0.4, mc_samples=2)
    arms = ComparisonPlan(base, members=2, seeds=1, arms=tuple(ARMS)).of_seed(0)
    assert {arm.name for arm in arms} == set(ARMS)
    runs = [run for run in runs_of(arms) if run.repetition.member == 0]  # the other members differ in that
    assert len(runs) == 7
    for run in runs:
        check(run, blobs)


@pytest.mark.parametrize(
    "fields",
    [
        {"mc_samples": 2, "bootstrap": True, "snapshots": 2, **FULL_PRECISION},
        {"dropout": "concrete", "l1": 1e-4, "max_norm": 1.0, "mc_samples": 2, **HALF},
    ],
    ids=["ensemble", "penalties"],
)
def test_regressions(fields):
    check(RunConfig(**SMALL | REGRESSION | fields, p_drop=0.3, p_drop_input=0.2), made(), panel=True)


@pytest.mark.parametrize("precision", [FULL_PRECISION, HALF], ids=["fp32", "bf16"])
def test_regressions_of_images(precision, blobs):
    config = RunConfig(**CNN, **precision, task="regression", p_drop=0.3)
    check(config, numbered(blobs), panel=True)


def test_a_stack_of_runs(blobs):
    """Two of three at a time, with the steps that CUDA records; copies and reads are between the epochs."""
    base = RunConfig(**MLP, p_drop=0.4, p_drop_input=0.2, max_norm=1.0, mc_samples=2)
    runs = [base.replace(seed=seed, epochs=1 + seed) for seed in range(3)]
    with compiled.switched_off():
        expected = {run.run_id: train(run, blobs) for run in runs}
        with pretending() as gpu:
            found = list(train_stacked(runs, blobs, DEVICE, slots=2))
    for result in found:
        alone = expected[result.config.run_id]
        assert result.metrics == pytest.approx(alone.metrics, rel=1e-3)
        assert result.epochs[-1].val_loss == pytest.approx(alone.epochs[-1].val_loss, rel=1e-3)
    assert [event for event in gpu.events if "_step" in event.within] == []
    assert {event.kind for event in gpu.events if {"train_epoch", "validate"} & event.within} == {"download"}
    assert [str(event) for event in gpu.events if event.kind == "wait"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"patience": 2, "epochs": 3, **HALF},
        {"optimizer": "muon", "snapshots": 2},
    ],
    ids=["sgd", "muon"],
)
def test_a_run_that_is_stopped_goes_on_on_its_device(fields, blobs, tmp_path):
    """Stopped in the second epoch; its state is copied from the device and to it outside of the steps."""
    config, place = RunConfig(**MLP | fields, p_drop=0.3), Checkpoints(tmp_path, 1e9)
    with compiled.switched_off():
        expected = train(config, blobs)
        with pretending() as gpu:
            turns = training(config, blobs, DEVICE, checkpoints=place)
            for _ in range(3):
                next(turns)
            turns.close()
            found = train(config, blobs, DEVICE, checkpoints=place)
    assert_same(found, expected)
    assert [str(event) for event in gpu.events if "advance" in event.within] == []


# The pretend GPU itself


@pytest.mark.parametrize(
    "mix",
    [
        lambda here: here + torch.ones(5),
        lambda here: here @ torch.ones(5),
        lambda here: torch.cat([here, torch.zeros(1)]),
        lambda here: torch.stack([here.sum(), torch.tensor(1.0)]),
        lambda here: torch.tensor(1.0).add_(here.sum()),
        lambda here: here.normal_(generator=torch.Generator()),
        lambda here: torch.ones(5).normal_(generator=torch.Generator(DEVICE)),
        lambda here: torch.randn(5, device=DEVICE, generator=torch.Generator()),
    ],
)
def test_mixed_devices_are_noticed(mix):
    with pretending():
        here = torch.arange(5.0, device=DEVICE)
        with pytest.raises(MixedDevicesError):
            mix(here)


@pytest.mark.parametrize(
    ("work", "kinds"),
    [
        (lambda here: here.sum().item(), ["wait"]),
        (lambda here: bool(here.any()), ["wait"]),
        (lambda here: int(here[0]), ["wait"]),
        (lambda here: here[here > 0], ["wait"]),
        (lambda here: here.nonzero(), ["wait"]),
        (lambda here: here.unique(), ["wait"]),
        (lambda here: torch.equal(here, here), ["wait"]),
        (lambda here: here.tolist(), ["download"]),
        (lambda here: here.cpu().numpy(), ["download"]),
        (lambda here: torch.zeros(5).copy_(here), ["download"]),
        (lambda here: torch.tensor([1.0], device=DEVICE), ["upload"]),
        (lambda here: torch.zeros(5).to(DEVICE), ["upload"]),
        (lambda here: here[[0, 1]], ["upload"]),
        (lambda here: here.copy_(torch.zeros(5)), ["upload"]),
        (lambda here: here + torch.tensor(0.5), []),
        (lambda here: here.masked_fill(here > 1, 0.0), []),
        (lambda here: here[:2].add_(here[2:4]).double(), []),
        (lambda here: torch.randn(3, device=DEVICE, generator=torch.Generator(DEVICE)), []),
    ],
)
def test_waits_and_copies_are_noticed(work, kinds):
    with pretending() as gpu:
        here = torch.arange(5.0, device=DEVICE)
        work(here)
    assert [event.kind for event in gpu.events] == kinds


def test_a_wait_in_a_backward_pass_is_noticed():
    class Reading(torch.autograd.Function):
        @staticmethod
        def forward(ctx, units):
            return units.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * gradient.sum().item()

    with pretending() as gpu:
        leaf = torch.ones(3, device=DEVICE).requires_grad_()
        Reading.apply(leaf).sum().backward()
        assert [event.kind for event in gpu.events] == ["wait"]
        assert leaf.grad.tolist() == [3.0, 3.0, 3.0]


def test_what_is_done_in_place_is_done():
    with pretending():
        layer = nn.Linear(2, 1).to(DEVICE)
        master = layer.weight.detach().clone()
        layer.weight.data = layer.weight.data.bfloat16()
        assert (layer.weight.dtype, master.dtype) == (torch.bfloat16, torch.float32)
        master[:, 0] = 7.0
        with torch.no_grad():
            layer.weight.copy_(master)
        assert layer.weight[0, 0].item() == 7.0
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16):
            assert nn.functional.linear(torch.ones(4, 2, device=DEVICE), master).dtype == torch.bfloat16
