"""Nets that predict NaN for some images: the run has diverged, and says for how many of which split."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import split
from dropbench.engine.evaluate import metrics, reliability
from dropbench.engine.finite import what_is_not_finite
from dropbench.engine.panel import errors_without_units
from dropbench.engine.run import Run
from dropbench.engine.train import train
from dropbench.engine.units import measure_activations
from dropbench.run.config import RunConfig


class Standardising(nn.Module):
    """A net that divides each image by its deviation: an image of one value becomes NaN."""

    def __init__(self, shape, classes, config):
        super().__init__()
        self.hidden, self.drop = nn.Linear(int(np.prod(shape)), 12), nn.Dropout()
        self.output = nn.Linear(12, classes)

    def forward(self, images):
        pixels = images.flatten(1)
        pixels = (pixels - pixels.mean(1, keepdim=True)) / pixels.std(1, keepdim=True)
        return self.output(self.drop(self.hidden(pixels).relu()))


OWN = "engine.test_not_finite:Standardising"


def config(**fields: object) -> RunConfig:
    return RunConfig(**{"model": OWN, "epochs": 2, "batch_size": 80, "p_drop": 0.5, **fields})


def blackened(data: DataSet, **positions: object) -> DataSet:
    """The data set with black images at these positions of its ``train`` and ``test`` images."""
    arrays = {f"{name}_inputs": getattr(data, f"{name}_inputs").copy() for name in positions}
    for name, places in positions.items():
        arrays[f"{name}_inputs"][places] = 0
    made = replace(data, key="", **arrays)
    return cache.save(made)


def assert_diverged(result, message: str) -> None:
    assert (result.status, result.message) == ("diverged", message)
    assert result.metrics == {}
    assert result.predictions == {}
    assert result.panel == ()


@pytest.mark.parametrize("panel", [False, True])
@pytest.mark.parametrize(
    "fields", [{}, {"patience": 1}, {"mc_samples": 3, "bootstrap": True}, {"snapshots": 2}]
)
def test_test_images_are_counted(fields, panel, blobs):
    result = train(config(**fields), blackened(blobs, test=[4, 7]), panel=panel)
    assert_diverged(result, "the predictions for 2 of 90 test images are not finite")
    assert all(np.isfinite(record.val_loss) for record in result.epochs)
    assert len(result.epochs) == 2


def test_a_regression_tells_the_same(blobs):
    numbers = {
        f"{name}_targets": getattr(blobs, f"{name}_targets").astype(np.float32) for name in ("train", "test")
    }
    data = blackened(replace(blobs, classes=(), **numbers), test=[4, 7])
    fields = {"task": "regression", "mc_samples": 2}
    result = train(config(**fields), data, panel=True)
    assert_diverged(result, "the predictions for 2 of 90 test images are not finite")


def test_validation_images_are_counted_in_the_epoch_that_ends_the_run(blobs):
    parts = split(blobs, config())
    result = train(config(), blackened(blobs, train=parts.validation[:1]))
    assert_diverged(result, "the predictions for 1 of 24 validation images are not finite, in epoch 1")
    assert len(result.epochs) == 1


def test_a_training_image_makes_the_loss_infinite(blobs):
    parts = split(blobs, config())
    result = train(config(), blackened(blobs, train=parts.train[:1]))
    assert_diverged(result, "the training loss was no longer finite in epoch 1")


def test_images_from_elsewhere_are_counted(blobs):
    black = np.zeros_like(blobs.test_inputs[:5])
    result = train(config(), blobs, ood=("black", np.concatenate([blobs.test_inputs[:20], black])))
    assert_diverged(result, "the predictions for 5 of 25 out-of-distribution images are not finite")


def test_an_autoencoder_whose_pixels_are_not_finite_has_diverged(blobs, monkeypatch):
    fields = {"model": "autoencoder", "layers": (12,), "p_drop": 0.5, "epochs": 1}
    run_epoch = Run.record

    def spoilt(run, *figures):
        record = run_epoch(run, *figures)
        with torch.no_grad():
            run.model.hidden.bias.fill_(torch.nan)
        return record

    monkeypatch.setattr(Run, "record", spoilt)
    found = "the metrics of the trained net for the training, validation and test images are not finite"
    assert_diverged(train(RunConfig(**fields), blobs), found)


# The parts


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"val": 0, "test": 0}, ""),
        ({"val": 2, "test": 1}, "2 of 30 validation rows and 1 of 30 test rows"),
        ({"test": 0, "test_mc": 3}, "3 of 30 test rows by Monte-Carlo dropout"),
        ({"test": 1, "test_mc": 3}, "1 of 30 test rows"),
        ({"test": 0, "test_snapshots": 1}, "1 of 30 test rows by a snapshot"),
        ({"oob": 4, "test": 0}, "4 of 30 out-of-bag rows"),
    ],
)
def test_examples_are_counted_once_for_all_passes(arrays, message):
    made = {}
    for name, wrong in arrays.items():
        shape = (2, 30, 3) if "_" in name else (30, 3)
        made[name] = np.zeros(shape, np.float16)
        made[name][..., :wrong, 1] = np.nan
    made["test_mc_squares"] = np.full((2, 30), np.nan)
    made["test_labels"] = np.zeros(30, np.int64)
    expected = f"the predictions for {message} are not finite" if message else ""
    assert what_is_not_finite({"test_nll": 1.0}, made, "rows") == expected


def test_metrics_of_predictions_that_are_nan_are_nan():
    predicted = torch.tensor([[0.9, 0.1], [torch.nan, torch.nan], [0.2, 0.8]]).log()
    found = metrics(predicted, torch.tensor([0, 0, 1]))
    assert all(np.isnan(found[name]) for name in ("nll", "brier", "ece"))
    examples, _, confidence = reliability(predicted.exp(), torch.tensor([0, 0, 1]))
    assert examples.sum() == 3
    assert confidence.isnan().sum() == 1


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_units_that_are_not_finite_have_no_rank(value):
    activations = torch.rand(20, 6, generator=torch.Generator().manual_seed(0))
    activations[3, 2] = value
    assert np.isnan(measure_activations(activations)["effective_rank"])


def test_nan_is_no_right_prediction_where_units_are_removed(blobs):
    """Of class 0 it would be, since the first NaN is the largest of them."""
    data = blackened(blobs, test=np.arange(0, 90, 3))  # all test images of class 0
    run = Run.prepare(config(p_drop=0.0), data, torch.device("cpu"))
    test = run.split_of(data.test_inputs, data.test_targets)
    errors = errors_without_units(run.model, run.task, test, run.config)
    assert min(errors.values()) >= 100 / 3
