"""Runs of a regression: what is learned of made data, the objective, and all that is kept of a run."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine.made import OFFSET, REGRESSION, UNIT, likelihood_of_noise, made, numbered, table
from engine.test_engine import numbers
from torch import nn

from dropbench.datasets.split import split
from dropbench.dropout.control import set_streams
from dropbench.engine.device import resolve_precision
from dropbench.engine.gaussian import gaussian_metrics, mixture
from dropbench.engine.optim import LARGEST_NORM, SGD
from dropbench.engine.regress import STEEPEST, Regress, Scale
from dropbench.engine.run import Run
from dropbench.engine.tasks import task_of
from dropbench.engine.train import train
from dropbench.engine.turns import to_its_end
from dropbench.errors import UsageError
from dropbench.models.build import build_model
from dropbench.models.gaussian import LEAST, GaussianNet
from dropbench.results.csv_file import read_rows
from dropbench.results.schema import RUNS
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.result import SHARES, kept_arrays

CPU = torch.device("cpu")
STANDARD_ERRORS = 5


def config(**fields: object) -> RunConfig:
    return RunConfig(**{**REGRESSION, "epochs": 3, "batch_size": 32, "precision": "fp32", **fields})


def linear(noise: float, count: int = 2000, tests: int = 2000):
    """A table with a linear target, which a small net learns wholly."""
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(count + tests, 3))
    line = rows @ [0.6, -0.6, 0.5] + noise * generator.normal(size=count + tests)
    return table(rows, OFFSET + UNIT * line, count)


# What is learned


@pytest.mark.parametrize("noise", [1.0, 0.1])
def test_the_noise_level_and_the_likelihood_are_those_of_the_data(noise):
    """The deviation of n residuals has a relative standard error of 1/√(2n), and so has their mean NLL."""
    data = linear(noise)
    result = train(config(layers=(8,), epochs=30), data)
    predicted = result.predictions["test"]
    assert np.ptp(predicted[:, 1]) == 0, "one noise level"
    error = STANDARD_ERRORS / math.sqrt(2 * 1800)
    assert predicted[0, 1] == pytest.approx(noise * UNIT, rel=error + 0.02)  # the net fits some of the noise
    assert result.metrics["test_nll"] == pytest.approx(likelihood_of_noise(noise), abs=error + 0.03)
    assert result.metrics["test_rmse"] == pytest.approx(noise * UNIT, rel=error + 0.03)
    assert result.metrics["test_coverage_error"] < STANDARD_ERRORS * 0.5 / math.sqrt(2000)


@pytest.mark.parametrize(
    "fields",
    [
        {"p_drop": 0.5, "learning_rate": 0.5},
        {"p_drop": 0.9},
        {"batch_size": 1, "epochs": 2},
        {"dropout": "variational", "p_drop": 0.5, "epochs": 20},
        {"dropout": "concrete", "p_drop": 0.5},
        {"precision": "bf16", "p_drop": 0.2},
        {"layers": (64, 64, 64), "p_drop": 0.5, "p_drop_input": 0.2, "learning_rate": 0.2},
    ],
    ids=str,
)
@pytest.mark.parametrize("noise", [0.3, 0.0])
def test_no_setting_makes_it_diverge(fields, noise):
    data = made(noise)
    result = train(config(**{"layers": (128, 128), "epochs": 10, "learning_rate": 0.05, **fields}), data)
    assert result.status == "ok"
    # The prediction without any input: the mean and deviation of the targets.
    by_itself = 0.5 * math.log(2 * math.pi * math.e) + math.log(data.train_targets.std())
    assert result.metrics["train_nll"] < by_itself + 0.5


def test_a_small_noise_level_is_reached_at_the_rate_of_tables():
    """By the likelihood's own gradient, whose steps grow as 1/σ², the net would end 20 times as far off."""
    result = train(config(layers=(128, 128), epochs=60, learning_rate=0.05), linear(0.0, 600))
    assert result.metrics["test_rmse"] < 0.02 * UNIT
    losses = [record.train_loss for record in result.epochs]
    assert max(np.diff(losses)) < 1.5
    assert losses[-1] < likelihood_of_noise(0.02)


def test_outliers_leave_everything_finite():
    """One target is 10⁴ deviations of the others away from them."""
    generator = np.random.default_rng(0)
    rows, targets = generator.normal(size=(300, 3)), generator.normal(size=300)
    targets[7] = 1e4
    result = train(config(epochs=5, learning_rate=0.05), table(rows, targets, 200))
    assert result.status == "ok"


@pytest.mark.parametrize("unit", [1e-6, 1e8])
def test_the_unit_of_the_target_changes_nothing_but_the_numbers(unit):
    data = made()
    targets = np.concatenate([data.train_targets, data.test_targets]).astype(np.float64)
    rows = np.concatenate([data.train_inputs, data.test_inputs])
    other = train(config(), table(rows, targets * unit, len(data.train_targets)))
    one = train(config(), data)
    for split_name in ("train", "val", "test"):
        rmse, nll = one.metrics[f"{split_name}_rmse"], one.metrics[f"{split_name}_nll"]
        assert other.metrics[f"{split_name}_rmse"] == pytest.approx(unit * rmse, rel=1e-3)
        assert other.metrics[f"{split_name}_nll"] == pytest.approx(nll + math.log(unit), abs=1e-3)


def test_training_targets_that_are_all_equal_are_learned_and_nothing_is_divided_by_0():
    rows, targets = np.random.default_rng(0).normal(size=(110, 2)), np.append(np.full(99, 7.0), np.arange(11))
    data = replace(table(rows, targets, 100), validation=1)
    result = train(config(epochs=30), data)
    assert result.status == "ok"
    assert result.metrics["train_rmse"] < 0.1


# The objective


def outputs_and_targets(count: int = 40):
    generator = torch.Generator().manual_seed(2)
    mean = torch.randn(count, generator=generator, requires_grad=True)
    log_deviation = torch.tensor(-0.7, requires_grad=True)
    targets = OFFSET + UNIT * (mean.detach() + 0.5 * torch.randn(count, generator=generator))
    return mean, log_deviation, targets


def test_the_loss_is_torchs_gaussian_likelihood_in_the_unit_of_the_target():
    mean, log_deviation, targets = outputs_and_targets()
    task = Regress(Scale(OFFSET, UNIT))
    outputs = torch.stack([mean, log_deviation.expand(40)], dim=1)
    variance = (2 * log_deviation).exp() * UNIT**2
    expected = nn.functional.gaussian_nll_loss(
        OFFSET + UNIT * mean, targets, variance.expand(40), full=True, eps=1e-12
    )
    assert task.loss(outputs, outputs, targets).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("with_penalty", [False, True])
def test_the_objective_has_the_gradient_of_the_loss_times_a_number_for_each_parameter(with_penalty):
    """σ² for the net, 1 for log σ: it is 0 where that of the loss with its penalties is 0."""
    gradients = []
    for of in ("loss", "objective"):
        mean, log_deviation, targets = outputs_and_targets()
        task = Regress(Scale(OFFSET, UNIT))
        outputs = torch.stack([mean, log_deviation.expand(40)], dim=1)
        penalty = mean.abs().sum() if with_penalty else None
        loss = task.loss(outputs, outputs, targets)
        if of == "objective":
            task.objective(loss, outputs, targets, penalty).backward()
        else:
            (loss if penalty is None else loss + penalty).backward()
        gradients.append((mean.grad, log_deviation.grad))
    (of_net, of_noise), (scaled, same) = gradients
    torch.testing.assert_close(scaled, of_net * math.exp(2 * -0.7))
    torch.testing.assert_close(same, of_noise)


def test_an_outlier_draws_the_noise_level_upwards_by_a_bounded_step():
    mean, log_deviation, targets = outputs_and_targets()
    targets[3] = 1e9
    outputs = torch.stack([mean, log_deviation.expand(40)], dim=1)
    task = Regress(Scale(OFFSET, UNIT))
    task.objective(task.loss(outputs, outputs, targets), outputs, targets, None).backward()
    assert log_deviation.grad.item() == -STEEPEST


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_gradients_of_the_weights_are_clipped_and_that_of_the_noise_level_is_not(precision):
    run = Run.prepare(config(precision=precision, momentum=0.0), made(), CPU)
    before = run.weights()
    run.model.train()
    run.train_examples.targets = run.train_examples.targets * 1000
    run.step(torch.arange(32), 0.01)
    steps = {name: (value - before[name]) / -0.01 for name, value in run.weights().items()}
    of_noise = steps.pop("log_deviation")
    norm = torch.stack([step.norm() for step in steps.values()]).norm().item()
    assert norm == pytest.approx(LARGEST_NORM, rel=0.02 if precision == "bf16" else 1e-3)
    assert of_noise.item() == pytest.approx(-STEEPEST, rel=1e-3)


def test_gradients_below_the_bound_are_left_as_they_are():
    layers = [nn.Linear(3, 2) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    for layer, clipped in zip(layers, ([], list(layers[1].parameters())), strict=True):
        optimizer = SGD(layer, momentum=0.9, weight_decay=0.1, clipped=clipped)
        (0.01 * layer(torch.ones(4, 3)).sum()).backward()
        optimizer.step(0.1)
    assert torch.equal(layers[0].weight, layers[1].weight)


# The net


@pytest.mark.parametrize("model", ["mlp", "lecture-cnn", "paper-cnn", "engine.test_regression:Own"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_model_predicts_a_mean_and_starts_with_the_deviation_of_the_targets(model, precision, blobs):
    data = numbered(blobs)
    settings = RunConfig(model=model, task="regression", epochs=1, p_drop=0.3, precision=precision)
    settings = settings.replace(width=0.1) if model != "mlp" and ":" not in model else settings
    run = Run.prepare(settings, data, CPU)
    assert isinstance(run.model, GaussianNet)
    inputs, _ = run.train_examples.batch(torch.arange(8))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        outputs = run.model.eval()(inputs)
    assert (outputs.shape, outputs.dtype) == ((8, 2), torch.float32)
    torch.testing.assert_close(outputs[:, 1], torch.zeros(8), rtol=0, atol=1e-5)
    assert run.model.log_deviation.dtype == torch.float32
    result = train(settings, data)
    assert result.status == "ok"
    assert result.cost["parameters"] == 1 + sum(each.numel() for each in run.model.net.parameters())


class Own(nn.Module):
    """A net of the user's own, which returns a number for each image."""

    def __init__(self, shape, classes, config):
        super().__init__()
        self.drop, self.last = nn.Dropout(), nn.Linear(math.prod(shape), classes)

    def forward(self, images):
        return self.last(self.drop(images.flatten(1))).squeeze(1)


class TwoOutputs(Own):
    """A net that does not heed how many outputs there are to be."""

    def __init__(self, shape, classes, config):
        super().__init__(shape, 2, config)

    def forward(self, images):
        return self.last(images.flatten(1))


def test_a_net_with_more_outputs_is_refused(blobs):
    settings = RunConfig(model="engine.test_regression:TwoOutputs", task="regression", epochs=1)
    with pytest.raises(UsageError, match="one output an example, not \\(2,\\)"):
        train(settings, numbered(blobs))


def test_the_output_layer_starts_with_gain_1_as_a_classifiers():
    """Its weights have the variance 1/fan-in; that of 400 has a relative standard error of √(2/400)."""
    model = build_model((4,), 1, config(layers=(400,), init="he"))
    weight = model.net.output.weight
    assert weight.square().mean().item() * 400 == pytest.approx(1, abs=STANDARD_ERRORS * math.sqrt(2 / 400))


def test_the_noise_level_stays_above_what_float32_can_tell():
    net = GaussianNet(nn.Linear(1, 1))
    with torch.no_grad():
        for value, expected in ((-100.0, math.log(LEAST)), (-3.0, -3.0), (30.0, 30.0)):
            net.log_deviation.fill_(value)
            assert net(torch.zeros(1, 1))[0, 1].item() == pytest.approx(expected, abs=1e-4)


def test_the_scale_is_that_of_the_training_split_and_not_of_the_bootstrap():
    data, settings = made(), config(bootstrap=True)
    run, parts = Run.prepare(settings, data, CPU), split(data, settings)
    of_split = data.train_targets[parts.train].astype(np.float64)
    assert run.task.scale == Scale(of_split.mean(), of_split.std())
    in_units = run.task.scale.in_units(torch.zeros(2))
    assert in_units.tolist() == pytest.approx([of_split.mean(), of_split.std()], rel=1e-6)
    assert isinstance(task_of(settings, data.train_targets), Regress)


def test_auto_precision_is_fp32():
    assert resolve_precision("auto", CPU, "regression") == "fp32"
    assert resolve_precision("bf16", CPU, "regression") == "bf16"


# What is kept


def test_everything_is_kept_and_a_runs_metrics_are_of_what_is_kept():
    data = made()
    settings = config(p_drop=0.4, mc_samples=7, snapshots=3, bootstrap=True, member=1)
    result = train(settings, data, ood=("other", data.test_inputs), panel=True)
    kept = result.predictions
    assert kept.keys() == kept_arrays(settings, "other")
    shapes = {
        "val": (27, 2),
        "test": (90, 2),
        "val_targets": (27,),
        "test_mc": (7, 90, 2),
        "val_mc": (7, 27, 2),
        "test_snapshots": (3, 90, 2),
        "foreign-other": (90, 2),
        "foreign-other_mc": (7, 90, 2),
    }
    for name, shape in shapes.items():
        assert (kept[name].shape, kept[name].dtype) == (shape, np.float32), name
    assert np.array_equal(kept["foreign-other"], kept["test"])
    assert np.array_equal(kept["test_snapshots"][-1], kept["test"])
    assert np.array_equal(kept["test_targets"], data.test_targets)
    parts = split(data, settings)
    left_out = parts.train[kept["oob_positions"]]
    assert set(left_out) == set(parts.train) - set(parts.drawn)
    assert np.array_equal(kept["oob_targets"], data.train_targets[left_out])
    assert kept["oob"].shape == (len(left_out), 2)
    for name in ("val", "test"):
        found = gaussian_metrics(
            torch.from_numpy(kept[name])[None], torch.from_numpy(kept[f"{name}_targets"])
        )
        assert {f"{name}_{key}": value for key, value in found.items()}.items() <= result.metrics.items()
    assert not any("error_percent" in name for name in result.metrics)
    assert all(math.isnan(record.val_error_percent) for record in result.epochs)


def test_the_panel_has_root_mean_squared_errors():
    result = train(config(p_drop=0.2), made(), panel=True)
    found = {(each.measure, each.at): each.value for each in result.panel if not each.layer}
    assert set(found) == {("train_rmse", 0.0), *(("test_rmse", share) for share in SHARES)}
    assert found["train_rmse", 0.0] == pytest.approx(result.metrics["train_rmse"], rel=1e-6)
    assert found["test_rmse", 0.0] == pytest.approx(result.metrics["test_rmse"], rel=1e-5)
    assert found["test_rmse", 0.9] > found["test_rmse", 0.0]
    assert (result.panel[-1].measure, result.panel[-1].at) == ("test_rmse", SHARES[-1])


def test_the_loss_of_the_records_is_that_of_the_metrics():
    result = train(config(), made())
    assert result.epochs[-1].val_loss == pytest.approx(result.metrics["val_nll"], rel=1e-6)


def test_patience_takes_the_net_of_the_lowest_likelihood():
    result = train(config(patience=2, epochs=40, layers=(64, 64), batch_size=16), made(0.5, 100))
    losses = [record.val_loss for record in result.epochs]
    assert result.cost["tested_epoch"] == 1 + int(np.argmin(losses)) < len(losses) < 40
    assert result.metrics["val_nll"] == pytest.approx(min(losses), rel=1e-6)


def test_a_rate_that_is_far_too_high_diverges_and_says_so():
    result = train(config(learning_rate=1e30, epochs=5), made())
    assert (result.status, result.metrics) == ("diverged", {})
    assert "finite" in result.message


@pytest.mark.parametrize("model", ["mlp", "lecture-cnn"])
def test_bf16_gives_nearly_the_numbers_of_fp32(model, blobs):
    fields = REGRESSION if model == "mlp" else {"model": model, "width": 0.1, "task": "regression"}
    data = made() if model == "mlp" else numbered(blobs)
    runs = [train(RunConfig(**fields, epochs=3, precision=each), data) for each in ("fp32", "bf16")]
    assert runs[0].metrics["test_nll"] == pytest.approx(runs[1].metrics["test_nll"], abs=0.1)


def test_a_run_is_the_same_whatever_ran_before():
    first = train(config(p_drop=0.3), made())
    train(config(seed=9), made())
    again = train(config(p_drop=0.3), made())
    assert first.metrics == again.metrics
    assert numbers(train(config(p_drop=0.3, seed=1), made()))[0] != first.metrics


# Monte-Carlo dropout


def test_the_variance_of_passes_is_the_noise_and_what_the_masks_do():
    """A net of one layer: its output's variance over masks is Σ (w x)² p/(1 − p), by hand."""
    data, samples, p_drop = made(), 2000, 0.3
    run = Run.prepare(config(layers=(50,), p_drop=p_drop, mc_samples=samples), data, CPU)
    to_its_end(run.epoch())
    test = run.split_of(data.test_inputs, data.test_targets)
    set_streams(run.model, "mc", 0, 0)
    kept = torch.from_numpy(run.task.monte_carlo(run.model, test, run.config)["_mc"])
    inputs, _ = test.examples.batch(test.positions)
    net = run.model.net
    with torch.no_grad():
        units = torch.relu(net.hidden[0](inputs))
        over_masks = (units * net.output.weight[0]).square().sum(1) * p_drop / (1 - p_drop)
        mean, log_deviation = run.model.eval()(inputs).unbind(1)
    scale = run.task.scale
    variance = (over_masks + (2 * log_deviation).exp()) * scale.deviation**2
    found = mixture(kept)
    deviation = (over_masks / samples).sqrt() * scale.deviation
    off = (found[:, 0] - (mean * scale.deviation + scale.mean)).abs()
    assert (off < STANDARD_ERRORS * deviation + 1e-3).all()
    torch.testing.assert_close(found[:, 1].square().float(), variance, rtol=STANDARD_ERRORS * 0.05, atol=0)


def test_monte_carlo_says_more_where_there_were_no_data():
    """Gal & Ghahramani (2016), figure 2: its deviation grows with the distance from the training rows."""
    data = made()
    result = train(
        config(p_drop=0.2, mc_samples=50, epochs=20, layers=(64, 64)),
        data,
        ood=("far", 10 * data.test_inputs),
    )
    near, far = (
        mixture(torch.from_numpy(result.predictions[f"{name}_mc"])) for name in ("test", "foreign-far")
    )
    assert far[:, 1].mean() > 2 * near[:, 1].mean()


# Files


def test_runs_of_both_tasks_are_rows_of_one_file(tmp_path, blobs):
    runs = [train(RunConfig(model="mlp", layers=(8,), epochs=1), blobs), train(config(), made())]
    store = Store(tmp_path)
    for result in runs:
        store.append(result)
    classified, regressed = read_rows(tmp_path, RUNS)
    for metric in ("rmse", "nll", "coverage_error"):
        assert regressed[f"test_{metric}"] == pytest.approx(runs[1].metrics[f"test_{metric}"])
    assert math.isnan(regressed["test_error_percent"])
    assert math.isnan(classified["test_rmse"])
