"""Patience, the constant learning rate, and the metrics of the training images."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from engine.test_engine import CPU, small

from dropbench.datasets.dataset import DataSet
from dropbench.engine import optim
from dropbench.engine import run as engine
from dropbench.engine.optim import learning_rate_factor
from dropbench.engine.run import Run
from dropbench.engine.train import train
from dropbench.engine.turns import to_its_end
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult


@pytest.fixture
def noise() -> DataSet:
    """Images with labels that have nothing to do with them: the validation loss soon rises."""
    generator = np.random.default_rng(8)

    def make(count: int) -> tuple[np.ndarray, np.ndarray]:
        images = generator.integers(0, 256, (count, 1, 8, 8)).astype(np.uint8)
        return images, np.arange(count) % 3

    return DataSet("noise", *make(240), *make(90), classes=("a", "b", "c"))


def curve(result: RunResult) -> list[str]:
    """The epochs without their times, to the last bit; as text, NaN equals NaN."""
    return [str(dataclasses.replace(record, seconds=0.0)) for record in result.epochs]


def best_epoch(result: RunResult) -> int:
    return 1 + int(np.argmin([record.val_loss for record in result.epochs]))


def check_ended_by(patience: int, result: RunResult) -> None:
    """Patience epochs after the best one the run ended, and the net of the best one was tested."""
    best = best_epoch(result)
    assert result.cost["tested_epoch"] == best
    assert result.cost["last_epoch"] == len(result.epochs) == best + patience
    tested = result.metrics["val_nll"]
    assert tested == pytest.approx(result.epochs[best - 1].val_loss, rel=2e-3)  # predictions are in float16
    assert tested != pytest.approx(result.epochs[-1].val_loss, rel=2e-3)


HARD = {"learning_rate": 0.05, "epochs": 30}
DROPOUTS = {
    "none": {},
    "inverted": {"p_drop": 0.5, "p_drop_input": 0.2},
    "late, weight scaling": {
        "p_drop": 0.8, "convention": "weight-scaling", "dropout_schedule": "late", "cutoff_epoch": 3
    },
    "early, weight scaling": {
        "p_drop": 0.8, "convention": "weight-scaling", "dropout_schedule": "early", "cutoff_epoch": 4
    },
    "ramp, own": {
        "p_drop": 0.8, "dropout": "torch.nn:Dropout", "dropout_schedule": "ramp", "cutoff_epoch": 20
    },
    "concrete": {"p_drop": 0.3, "dropout": "concrete"},
}  # fmt: skip


@pytest.mark.parametrize("fields", DROPOUTS.values(), ids=DROPOUTS)
def test_a_run_ends_so_many_epochs_after_its_best_whose_net_is_tested(noise, fields):
    patient = train(small(**HARD, **fields, patience=2), noise)
    check_ended_by(2, patient)
    last = patient.cost["last_epoch"]
    assert last < 30
    plain = train(small(**HARD, **fields, learning_rate_schedule="constant"), noise)
    assert curve(patient) == curve(plain)[:last], "the same epochs, so pairs stay pairs"
    assert plain.cost["last_epoch"] == plain.cost["tested_epoch"] == 30


def test_the_tested_net_is_that_of_a_run_of_so_many_epochs(noise):
    patient = train(small(**HARD, p_drop=0.5, patience=2), noise)
    best = patient.cost["tested_epoch"]
    told = {**HARD, "epochs": best, "learning_rate_schedule": "constant"}
    assert train(small(**told, p_drop=0.5), noise).metrics == patient.metrics


def test_a_patience_beyond_the_epochs_trains_all_and_tests_the_best(noise):
    result = train(small(learning_rate=0.05, epochs=8, patience=50), noise)
    assert result.cost["last_epoch"] == len(result.epochs) == 8
    assert result.cost["tested_epoch"] == best_epoch(result) < 8
    assert result.metrics["val_nll"] == pytest.approx(min(e.val_loss for e in result.epochs), rel=2e-3)


def test_a_patient_run_that_diverges_has_diverged(blobs):
    result = train(small(learning_rate=1e30, epochs=9, patience=2), blobs)
    assert result.status == "diverged"
    assert result.metrics == {}
    assert result.predictions == {}


def test_an_autoencoder_is_patient(noise):
    shape = {"model": "autoencoder", "layers": (8,), "batch_size": 32}
    result = train(RunConfig(**shape, learning_rate=0.02, epochs=60, patience=2), noise)
    best = best_epoch(result)
    assert result.cost["tested_epoch"] == best
    assert result.cost["last_epoch"] == min(60, best + 2)
    assert result.metrics["val_nll"] == pytest.approx(result.epochs[best - 1].val_loss, rel=1e-6)
    assert {"train_nll", "train_reconstruction_error"} <= result.metrics.keys()


@pytest.mark.filterwarnings("ignore:Guards may run slower")  # torch's, on some releases of Python
def test_a_compiled_net_is_patient(noise, monkeypatch):
    """The trained module is another than the tested one, also where its graph is not translated."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    config = small(**HARD, p_drop=0.5, patience=2, seed=1)
    compiled = train(config, noise, compiled=True)
    check_ended_by(2, compiled)
    assert compiled.cost["tested_epoch"] == train(config, noise).cost["tested_epoch"]


def test_the_rate_is_constant_with_patience_unless_another_is_told(noise, monkeypatch):
    assert {learning_rate_factor("constant", step / 97) for step in range(97)} == {1.0}
    assert small(patience=2).optimizer.learning_rate_schedule == "constant"
    assert small(patience=2, learning_rate_schedule="cosine").optimizer.learning_rate_schedule == "cosine"
    assert small().optimizer.learning_rate_schedule == "one-cycle"
    assert small().replace(patience=2).optimizer.learning_rate_schedule == "constant"
    rates: list[float] = []
    monkeypatch.setattr(optim.SGD, "step", lambda self, rate: rates.append(rate))
    result = train(small(learning_rate=0.03, patience=2), noise)
    assert rates == [np.float32(0.03)] * result.cost["steps"]
    assert result.cost["tested_epoch"] == 1, "nothing is learnt, and the first of equal epochs is the best"


# The training images


@pytest.mark.parametrize("bootstrap", [False, True])
def test_train_metrics_are_those_of_the_images_drawn_with_dropout_off(noise, bootstrap):
    config = small(p_drop=0.5, p_drop_input=0.2, bootstrap=bootstrap, member=int(bootstrap))
    run = Run.prepare(config, noise, CPU)
    to_its_end(run.epoch())
    figures, arrays, _ = run.measure(False, None)
    distinct = np.unique(run.parts.drawn)
    assert (len(distinct) < len(run.parts.drawn)) == bootstrap
    images = torch.from_numpy(noise.train_inputs[distinct]).float()
    normalisation = run.train_examples.normalisation
    with torch.no_grad():
        logits = run.model.eval()((images - normalisation.mean) / normalisation.deviation)
    labels = torch.from_numpy(noise.train_targets[distinct])
    wrong = (logits.argmax(1) != labels).double().mean().item()
    assert figures["train_error_percent"] == pytest.approx(100 * wrong)
    assert figures["train_nll"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-3)
    assert {"train_brier", "train_ece"} <= figures.keys()
    assert not any(name.startswith("train") for name in arrays), "no predictions are kept of them"


def test_of_many_training_images_so_many_are_measured(noise, monkeypatch):
    assert engine.MOST_TRAINING_IMAGES == 10_000
    monkeypatch.setattr(engine, "MOST_TRAINING_IMAGES", 50)
    run = Run.prepare(small(bootstrap=True), noise, CPU)
    positions = run.trained_on().positions.numpy()
    assert len(set(positions)) == len(positions) == 50
    assert set(positions) <= set(run.parts.drawn)


def test_measuring_is_no_part_of_the_training_time(noise):
    result = train(small(), noise)
    assert result.cost["train_seconds"] == pytest.approx(sum(record.seconds for record in result.epochs))
    images = result.cost["train_images"] * len(result.epochs)
    assert result.cost["images_per_second"] == pytest.approx(images / result.cost["train_seconds"])
    assert result.cost["train_images"] + result.cost["validation_images"] == 240
    assert result.cost["test_images"] == 90
