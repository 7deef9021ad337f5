"""Weights in bfloat16 beside masters in float32 train as autocast does, and end in float32."""

from contextlib import nullcontext

import pytest
import torch

from dropbench.engine import inputs, optimizers
from dropbench.engine import run as engine
from dropbench.engine.halving import halves_inputs, halves_weights
from dropbench.engine.optim import SGD
from dropbench.engine.train import train
from dropbench.engine.turns import to_its_end
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")
NETS = [{"model": "mlp", "layers": (48, 32)}, {"model": "lecture-cnn", "width": 0.1}]


def config(**fields) -> RunConfig:
    return RunConfig(**{"data": "blobs", "precision": "bf16", "epochs": 2, "batch_size": 32, **fields})


def weights_after_steps(settings: RunConfig, data, steps: int) -> dict[str, torch.Tensor]:
    run = engine.Run.prepare(settings, data, CPU)
    run.model.train()
    for number in range(steps):
        run.step(torch.arange(32 * number, 32 * (number + 1)), settings.optimizer.learning_rate)
    return run.weights()


@pytest.mark.parametrize("net", NETS, ids=["mlp", "lecture-cnn"])
@pytest.mark.parametrize("dropout", [{}, {"p_drop": 0.5}], ids=["without dropout", "dropout"])
def test_a_step_is_that_of_autocast(blobs, monkeypatch, net, dropout):
    """Autocast rounds the same weights and the same gradients; only sums of few numbers may differ."""
    settings = config(max_norm=2.0, weight_decay=1e-3, **net, **dropout)
    ours = weights_after_steps(settings, blobs, 1)
    for module, halves in ((optimizers, "halves_weights"), (inputs, "halves_inputs")):
        monkeypatch.setattr(module, halves, lambda config: False)
    theirs = weights_after_steps(settings, blobs, 1)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert weight.dtype == torch.float32
        # A bias in autocast has its gradient rounded after another order of the sum.
        torch.testing.assert_close(weight, theirs[name], rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_an_update_within_the_backward_pass_is_the_one_after_it(tied):
    """Also of a weight that two layers share, whose gradient is complete only after both."""
    torch.manual_seed(0)
    start, results = torch.randn(6, 6), []
    inputs = torch.randn(9, 6).bfloat16()
    for within in (True, False):
        first, second = torch.nn.Linear(6, 6), torch.nn.Linear(6, 6)
        with torch.no_grad():
            for layer in (first, second):
                layer.weight.copy_(start)
                layer.bias.zero_()
        if tied:
            second.weight = first.weight
        optimizer = SGD(torch.nn.Sequential(first, second), 0.9, 1e-2, max_norm=1.0, half=True)
        for rate in (0.1, 0.2):
            with optimizer.updating(rate) if within else nullcontext():
                second(torch.relu(first(inputs))).float().square().mean().backward()
            assert all((p.grad is None) == within for p in (*first.parameters(), *second.parameters()))
            optimizer.step(rate)
        results.append(optimizer.snapshot(torch.nn.Sequential(first, second)))
    for name, weight in results[0].items():
        assert torch.equal(weight, results[1][name])


def test_the_net_computes_with_rounded_weights_while_it_trains_and_ends_with_whole_ones(blobs):
    run = engine.Run.prepare(config(**NETS[0]), blobs, CPU)
    to_its_end(run.train_epoch())
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.bfloat16}
    whole = run.weights()
    for name, parameter in run.model.named_parameters():
        assert torch.equal(parameter, whole[name].bfloat16())
    run.optimizer.release()
    for name, parameter in run.model.named_parameters():
        assert torch.equal(parameter, whole[name])


@pytest.mark.parametrize(
    "settings",
    [
        {"dropout": "dropconnect", "p_drop": 0.5},
        {"dropout": "concrete", "p_drop": 0.5},
        {"dropout": "variational", "p_drop": 0.5},
        {"precision": "fp32"},
    ],
    ids=str,
)
def test_what_computes_with_weights_has_them_in_float32(blobs, settings):
    run = engine.Run.prepare(config(**NETS[0], **settings), blobs, CPU)
    to_its_end(run.train_epoch())
    assert {parameter.dtype for parameter in run.model.parameters()} == {torch.float32}


def test_images_that_are_to_be_reconstructed_are_whole():
    classifier, autoencoder = config(model="mlp"), config(model="autoencoder")
    assert halves_weights(classifier)
    assert halves_inputs(classifier)
    assert halves_weights(autoencoder)
    assert not halves_inputs(autoencoder)


@pytest.mark.parametrize("patience", [None, 1])
def test_a_net_is_tested_with_the_weights_it_was_trained_to(blobs, patience):
    """The validation loss of the last epoch, or the best one, is that of the net that is measured."""
    result = train(config(**NETS[0], p_drop=0.2, patience=patience), blobs)
    tested = result.epochs[result.cost["tested_epoch"] - 1]
    assert result.metrics["val_nll"] == pytest.approx(tested.val_loss, abs=2e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "net", [*NETS, {"model": "paper-cnn", "width": 0.1}, {"model": "autoencoder"}], ids=str
)
@pytest.mark.parametrize("activation", ["relu", "logistic"])
def test_every_weight_and_every_bias_has_a_gradient(blobs, precision, net, activation):
    """A pooled convolution leaves that of its bias to the pool: none may be forgotten."""
    run = engine.Run.prepare(config(precision=precision, activation=activation, **net), blobs, CPU)
    before = run.weights()
    run.model.train()
    run.step(torch.arange(32), run.config.optimizer.learning_rate)
    for name, weight in run.weights().items():
        assert not torch.equal(weight, before[name]), name
