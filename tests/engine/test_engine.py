"""The training loop and its parts, against closed forms and against torch."""

import copy
import math
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torchmetrics.functional.classification import multiclass_calibration_error

from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import dropout_layers, set_streams
from dropbench.engine import evaluate
from dropbench.engine.batches import ImageExamples, measure
from dropbench.engine.device import resolve_device, resolve_precision
from dropbench.engine.evaluate import (
    activation_bytes,
    batch_that_fits,
    error_percent,
    evaluation_batch,
    metrics,
    predict,
)
from dropbench.engine.monte_carlo import predict_monte_carlo
from dropbench.engine.optim import SGD, learning_rate_factor
from dropbench.engine.train import train
from dropbench.engine.turns import to_its_end
from dropbench.errors import DropbenchError, UsageError
from dropbench.models.build import build_model
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")


def small(**fields: object) -> RunConfig:
    return RunConfig(**{"model": "mlp", "layers": (32, 32), "epochs": 3, "batch_size": 32, **fields})


def examples_of(data: DataSet, device: torch.device = CPU) -> ImageExamples:
    """The test images, normalised by themselves."""
    normalisation = measure(data.test_inputs, np.arange(len(data.test_targets)), device)
    return ImageExamples(data.test_inputs, data.test_targets, normalisation, device)


def numbers(result: object) -> tuple[object, object]:
    curves = [(e.train_loss, e.val_loss, e.val_error_percent) for e in result.epochs]
    return result.metrics, curves


def test_the_same_config_gives_the_same_numbers_whatever_ran_before(blobs):
    config = small(p_drop=0.5, p_drop_input=0.2)
    first = train(config, blobs)
    train(small(seed=9, p_drop=0.3), blobs)
    torch.manual_seed(123)
    torch.rand(10)
    assert numbers(train(config, blobs)) == numbers(first)
    assert numbers(train(config.replace(seed=1), blobs)) != numbers(first)


def test_training_leaves_the_global_generators_alone(blobs):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    train(small(p_drop=0.5, mc_samples=2), blobs)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_runs_of_one_seed_are_pairs(blobs):
    """Same batches whatever p is, and the same initial weights but for the factors of a corrected start."""
    models = [build_model((1, 8, 8), 3, small(p_drop=p)) for p in (0.0, 0.5)]
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        ratio = (a / b)[b != 0]
        assert ratio.numel() == 0 or ratio.max() - ratio.min() < 1e-5
    he = [build_model((1, 8, 8), 3, small(p_drop=p, init="he")) for p in (0.0, 0.5)]
    for a, b in zip(he[0].parameters(), he[1].parameters(), strict=True):
        assert torch.equal(a, b)
    outcomes = [train(small(p_drop=p, epochs=1, learning_rate=1e-12), blobs) for p in (0.0, 0.0001)]
    assert outcomes[0].epochs[0].val_loss == pytest.approx(outcomes[1].epochs[0].val_loss, rel=1e-4)


def test_the_conventions_agree_exactly_without_dropout(blobs):
    runs = [train(small(convention=c), blobs) for c in ("inverted", "weight-scaling")]
    assert numbers(runs[0]) == numbers(runs[1])


def test_easy_data_are_learnt_by_both_models(blobs):
    for config in (
        small(p_drop=0.2),
        RunConfig(epochs=4, batch_size=32, learning_rate=0.005, p_drop=0.2, width=0.25),
    ):
        result = train(config, blobs)
        assert result.status == "ok"
        assert result.metrics["test_error_percent"] < 10
        assert len(result.epochs) == config.optimizer.epochs
        assert result.predictions["test"].shape == (90, 3)


def test_digits_beat_ninety_percent_in_a_few_epochs(digits):
    result = train(RunConfig(epochs=4, p_drop=0.2, train_size=2000, width=0.5), digits)
    assert result.metrics["test_error_percent"] < 10


def test_bootstrap_member_and_mc_differ_but_share_the_validation_split(blobs):
    plain = train(small(p_drop=0.5, mc_samples=3), blobs)
    bagged = train(small(p_drop=0.5, bootstrap=True, member=1), blobs)
    assert np.array_equal(plain.predictions["val_labels"], bagged.predictions["val_labels"])
    assert not np.array_equal(plain.predictions["test"], bagged.predictions["test"])
    assert not np.array_equal(plain.predictions["test"], plain.predictions["test_mc"])
    np.testing.assert_allclose(np.exp(plain.predictions["test_mc"].astype(float)).sum(-1), 1, rtol=2e-3)


def test_infinite_loss_ends_the_run_as_diverged(blobs):
    result = train(small(learning_rate=1e30, epochs=5), blobs)
    assert result.status == "diverged"
    assert result.metrics == {}
    assert len(result.epochs) < 5
    assert "finite" in result.message


def test_bf16_gives_nearly_the_numbers_of_fp32(blobs):
    runs = [train(small(p_drop=0.2, precision=p), blobs) for p in ("fp32", "bf16")]
    assert runs[0].metrics["test_nll"] == pytest.approx(runs[1].metrics["test_nll"], abs=0.1)


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 1), (28, 28, 1), (32, 32, 3), (9, 17, 3)])
def test_lecture_cnn_takes_any_size_from_8_up_and_has_its_dropout_sites(height, width, channels):
    config = RunConfig(p_drop=0.5, p_drop_conv=0.1, p_drop_input=0.2)
    model = build_model((channels, height, width), 10, config)
    set_streams(model, "mask", 0, 0)
    assert model(torch.zeros(2, channels, height, width)).shape == (2, 10)
    assert sorted(layer.p_drop for layer in dropout_layers(model)) == [0.1, 0.1, 0.1, 0.2, 0.5, 0.5]


def test_lecture_cnn_refuses_smaller_images():
    with pytest.raises(UsageError, match="8×8"):
        build_model((1, 7, 20), 10, RunConfig())


def test_pooling_before_relu_is_the_lectures_order():
    units = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(F.relu(F.max_pool2d(units, 2)), F.max_pool2d(F.relu(units), 2))


@pytest.mark.parametrize(("activation", "gain"), [("relu", 2.0), ("logistic", 1.0)])
def test_he_initialisation_has_its_variance(activation, gain):
    model = build_model((1, 20, 20), 10, small(layers=(800, 600), activation=activation))
    weight = model.hidden[1].weight
    n = weight.numel()
    assert abs(weight.var().item() / (gain / 800) - 1) < 5 * math.sqrt(2 / n)
    assert not model.hidden[1].bias.any()


def test_max_norm_projects_only_units_above_the_bound():
    model = torch.nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 0.0, 4.0], [0.1, 0.2, 0.2]]))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    SGD(model, momentum=0.9, weight_decay=0.0, max_norm=2.5).step(0.1)
    torch.testing.assert_close(model.weight.detach(), torch.tensor([[1.5, 0.0, 2.0], [0.1, 0.2, 0.2]]))


def test_max_norm_holds_after_training(blobs):
    from dropbench.engine.run import Run

    run = Run.prepare(small(max_norm=0.5), blobs, CPU)
    to_its_end(run.train_epoch())
    for layer in (*run.model.hidden, run.model.output):
        assert layer.weight.norm(dim=1).max() <= 0.5 + 1e-4


def test_sgd_takes_the_steps_of_torchs_own_class():
    ours = torch.nn.Linear(4, 3)
    theirs = copy.deepcopy(ours)
    optimizer = SGD(ours, momentum=0.9, weight_decay=0.1)
    oracle = torch.optim.SGD(
        [{"params": [theirs.weight], "weight_decay": 0.1}, {"params": [theirs.bias]}],
        momentum=0.9,
        fused=True,
    )
    generator = torch.Generator().manual_seed(0)
    for learning_rate in (0.5, 0.1, 0.2):
        inputs = torch.randn(8, 4, generator=generator)
        for model in (ours, theirs):
            model.zero_grad()
            model(inputs).square().sum().backward()
        for group in oracle.param_groups:
            group["lr"] = learning_rate
        optimizer.step(learning_rate)
        oracle.step()
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)


def test_a_parameter_whose_first_gradient_comes_late_takes_the_steps_of_torchs_own_class():
    late, early = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    others = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = SGD(torch.nn.ParameterList([late, early]), momentum=0.9, weight_decay=0.0)
    oracle = torch.optim.SGD(others, lr=0.1, momentum=0.9, foreach=False)
    for epoch in range(4):
        for first, second in ((late, early), others):
            first.grad = torch.full((2,), 3.0) if epoch >= 2 else None
            second.grad = torch.full((2,), 1.0 + epoch)
        optimizer.step(0.1)
        oracle.step()
    assert torch.allclose(torch.stack([late, early]), torch.stack(others))


@pytest.mark.parametrize("dropout", ["concrete", "variational"])
@pytest.mark.parametrize("schedule", ["late", "ramp"])
def test_a_learned_rate_trains_under_every_schedule(blobs, dropout, schedule):
    result = train(small(p_drop=0.5, dropout=dropout, dropout_schedule=schedule), blobs)
    assert result.status == "ok"
    assert result.metrics["learned_p_drop"] != 0.5


def test_training_imports_no_compiler():
    """torch._dynamo would cost every worker about a second and 150 MB."""
    code = (
        "import sys; from dropbench.datasets.registry import prepare; "
        "from dropbench.run.config import RunConfig; "
        "from dropbench.engine.train import train; data = prepare('mnist5k'); "
        "train(RunConfig(data_key=data.key, model='mlp', layers=(8,), p_drop=0.5, epochs=1), data); "
        "assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_learning_rate_schedules_have_their_shape():
    for schedule in ("one-cycle", "cosine"):
        values = [learning_rate_factor(schedule, k / 1000) for k in range(1000)]
        peak = int(np.argmax(values))
        assert values[peak] == pytest.approx(1)
        assert all(np.diff(values[: peak + 1]) > 0)
        assert all(np.diff(values[peak:]) < 0)
        assert values[-1] < 1e-4
        assert peak == (300 if schedule == "one-cycle" else 0)


def test_normalised_training_images_have_mean_zero_and_deviation_one(digits):
    positions = np.arange(0, 4000, 3)
    normalisation = measure(digits.train_inputs, positions, CPU)
    examples = ImageExamples(digits.train_inputs, digits.train_targets, normalisation, CPU)
    images, labels = examples.batch(torch.from_numpy(positions))
    assert abs(images.mean().item()) < 1e-4
    assert abs(images.std().item() - 1) < 1e-3
    assert torch.equal(labels, torch.from_numpy(digits.train_targets[positions]))


def test_constant_channel_is_no_division_by_zero():
    images = np.full((4, 3, 8, 8), 7, dtype=np.uint8)
    batch, _ = ImageExamples(images, np.zeros(4, np.int64), measure(images, np.arange(4), CPU), CPU).batch(
        torch.arange(4)
    )
    assert not batch.any()


@pytest.mark.parametrize("classes", [2, 10])
def test_metrics_agree_with_their_definitions_and_with_torchmetrics(classes):
    generator = torch.Generator().manual_seed(classes)
    scores = 3 * torch.randn(500, classes, generator=generator)
    labels = torch.randint(0, classes, (500,), generator=generator)
    found = metrics(F.log_softmax(scores, 1), labels)
    probabilities = scores.softmax(1)
    picked = probabilities[torch.arange(500), labels]
    brier = sum(
        float(sum((p.item() - (k == y.item())) ** 2 for k, p in enumerate(row)))
        for row, y in zip(probabilities, labels, strict=True)
    )
    assert found["nll"] == pytest.approx(-picked.log().mean().item(), rel=1e-5)
    assert found["brier"] == pytest.approx(brier / 500, rel=1e-4)
    assert found["error_percent"] == pytest.approx(
        100 * (1 - (scores.argmax(1) == labels).float().mean().item()), abs=1e-4
    )
    oracle = multiclass_calibration_error(probabilities, labels, classes, n_bins=15, norm="l1").item()
    assert found["ece"] == pytest.approx(oracle, abs=1e-6)


def test_perfect_and_hopeless_predictions():
    labels = torch.tensor([0, 1, 1])
    sure = torch.log(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
    assert metrics(sure, labels) == {"error_percent": 0.0, "nll": 0.0, "brier": 0.0, "ece": 0.0}
    assert error_percent(sure, 1 - labels) == 100


def test_an_evaluation_batch_takes_a_quarter_of_the_free_memory_at_most():
    gigabyte = 2**30
    assert batch_that_fits(80 * gigabyte, 2**20) == 4096
    for bytes_per_example in (1, 3 * 10**5, 2**20, 2**24 + 1, 2**40):
        for free in (0, gigabyte, 80 * gigabyte):
            batch = batch_that_fits(free, bytes_per_example)
            assert batch in (128, 256, 512, 1024, 2048, 4096)
            assert batch == 128 or 4 * batch * bytes_per_example <= free
            assert batch == 4096 or 8 * batch * bytes_per_example > free


def test_the_activations_of_an_example_are_those_of_all_modules(blobs):
    layers = (nn.Conv2d(1, 5, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 64, 7))
    floats = 64 + 3 * 5 * 64 + 7 + 7  # the image, the parts of the net, and the net
    examples = examples_of(blobs)
    model = nn.Sequential(*layers).train()
    assert activation_bytes(model, examples, "fp32") == 4 * floats
    model(examples.batch(torch.arange(2))[0])  # as before, no hook is left
    assert activation_bytes(model, examples, "fp32") == 4 * floats
    wide = activation_bytes(build_model((1, 8, 8), 3, RunConfig(width=0.2)), examples, "fp32")
    assert wide > activation_bytes(build_model((1, 8, 8), 3, RunConfig(width=0.1)), examples, "fp32")


def test_evaluation_batches_fit_the_device(blobs, monkeypatch):
    model = build_model((1, 8, 8), 3, small())
    assert evaluation_batch(model, examples_of(blobs), "fp32") == 128
    per_example = activation_bytes(model, examples_of(blobs), "fp32")
    with FakeTensorMode(allow_non_fake_inputs=True):
        examples, model = examples_of(blobs, torch.device("cuda")), model.to("cuda")
        for free, batch in ((1, 128), (4 * 1024 * per_example, 1024), (10**12, 4096)):
            monkeypatch.setattr(evaluate, "free_memory_bytes", lambda device, free=free: free)
            assert evaluation_batch(model, examples, "fp32") == batch


@pytest.mark.parametrize("model", ["mlp", "lecture-cnn"])
def test_predictions_do_not_depend_on_the_evaluation_batch(model, blobs, monkeypatch):
    net, examples = build_model((1, 8, 8), 3, RunConfig(model=model)), examples_of(blobs)
    at_once = predict(net, examples, torch.arange(90), "fp32")
    monkeypatch.setattr(evaluate, "EVALUATION_BATCH", 7)
    torch.testing.assert_close(predict(net, examples, torch.arange(90), "fp32"), at_once)


def test_monte_carlo_mean_without_dropout_is_the_deterministic_prediction(blobs):
    model = build_model((1, 8, 8), 3, small())
    examples = examples_of(blobs)
    everything = torch.arange(90)
    torch.testing.assert_close(
        predict_monte_carlo(model, examples, everything, "fp32", (4,)).log_mean[0],
        predict(model, examples, everything, "fp32"),
    )


def test_devices_and_precisions():
    assert resolve_device("cpu") == CPU
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("auto", CPU) in ("fp32", "bf16")
    for call in (lambda: resolve_device("gpu"), lambda: resolve_precision("fp8", CPU)):
        with pytest.raises(UsageError):
            call()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_cuda_is_said():
    with pytest.raises(DropbenchError, match="no CUDA"):
        resolve_device("cuda")


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile wants a C++ compiler on the CPU")
@pytest.mark.filterwarnings("ignore:Guards may run slower")  # torch's, on some releases of Python
@pytest.mark.parametrize(
    "dropout",
    [{}, {"dropout_schedule": "ramp"}, {"dropout": "gaussian"}, {"dropout": "variational"}],
    ids=["constant", "ramp", "gaussian", "variational"],
)
def test_compiled_training_gives_the_numbers_of_training(blobs, dropout):
    """The masks are the same, so what differs is rounding; 240 − 24 images leave a smaller last batch."""
    config = small(p_drop=0.5, p_drop_input=0.2, epochs=2, **dropout)
    plain, compiled = train(config, blobs), train(config, blobs, compiled=True)
    for ours, theirs in zip(plain.epochs, compiled.epochs, strict=True):
        assert theirs.train_loss == pytest.approx(ours.train_loss, rel=1e-4)
        assert theirs.val_loss == pytest.approx(ours.val_loss, rel=1e-4)
    assert plain.cost["compile_seconds"] == 0
    assert compiled.cost["compile_seconds"] > 0


def test_tf32_is_for_cuda():
    with pytest.raises(UsageError, match="tf32"):
        resolve_precision("tf32", CPU)


@pytest.mark.cuda
def test_training_on_cuda_learns(blobs):
    assert train(small(p_drop=0.2), blobs, "cuda").metrics["test_error_percent"] < 10
