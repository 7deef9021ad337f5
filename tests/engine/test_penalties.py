"""What the 2014 paper compares dropout with: sparse activations, maxout units, wider layers, its CNN."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Poisson, kl_divergence

from dropbench.dropout.control import dropout_layers
from dropbench.engine.penalties import sparsity_divergence
from dropbench.engine.train import train
from dropbench.errors import UsageError
from dropbench.models.build import build_model
from dropbench.models.initialise import maxout_gain
from dropbench.run.config import RunConfig


def small(**fields: object) -> RunConfig:
    return RunConfig(**{"model": "mlp", "layers": (32, 32), "epochs": 3, "batch_size": 32, **fields})


@pytest.mark.parametrize(("activation", "distribution"), [("logistic", Bernoulli), ("relu", Poisson)])
def test_sparsity_is_the_divergence_that_torch_has(activation, distribution):
    means = torch.tensor([0.01, 0.05, 0.3, 0.9])
    expected = kl_divergence(distribution(torch.full((4,), 0.05)), distribution(means)).sum()
    assert sparsity_divergence(means, 0.05, activation).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("activation", ["logistic", "relu"])
def test_sparsity_is_zero_at_its_target_alone_and_finite_where_all_units_are_dead(activation):
    assert sparsity_divergence(torch.full((3,), 0.2), 0.2, activation).item() == pytest.approx(0, abs=1e-6)
    for other in (0.0, 0.1, 0.4, 1.0):
        found = sparsity_divergence(torch.full((3,), other), 0.2, activation).item()
        assert 0 < found < math.inf


@pytest.mark.parametrize("activation", ["logistic", "relu"])
def test_a_net_trained_for_sparsity_is_nearer_to_its_target(blobs, activation):
    def mean_activation(**fields: float) -> float:
        panel = train(small(epochs=8, activation=activation, **fields), blobs, panel=True).panel
        (found,) = [r.value for r in panel if (r.measure, r.layer) == ("mean_activation", "2")]
        return found

    free, sparse = mean_activation(), mean_activation(kl_sparsity=0.1, sparsity_target=0.05)
    assert abs(sparse - 0.05) < 0.5 * abs(free - 0.05)


def test_the_recorded_loss_has_no_penalty_in_it(blobs):
    one_step = {"epochs": 1, "batch_size": 1000, "learning_rate": 1e-9}
    plain, penalised = (
        train(small(**one_step, **fields), blobs).epochs[0].train_loss
        for fields in ({}, {"l1": 1.0, "kl_sparsity": 1.0})
    )
    assert plain == penalised


def test_a_compiled_net_cannot_be_trained_for_sparsity(blobs):
    with pytest.raises(UsageError, match="compile"):
        train(small(kl_sparsity=0.1), blobs, compiled=True)


def test_maxout_gain_is_that_of_the_closed_forms():
    """E(m²) of the largest of 1, 2 and 3 normal numbers; of 5 it is 1/0.55555 (Tseran & Montúfar 2021)."""
    for pieces, square in ((1, 1), (2, 1), (3, 1 + math.sqrt(3) / (2 * math.pi)), (5, 1 / 0.55555)):
        assert maxout_gain(pieces) == pytest.approx(square**-0.5, rel=1e-5)


def test_a_maxout_unit_is_the_largest_of_its_own_pieces():
    config = small(activation="maxout", pieces=3, layers=(4,))
    model = build_model((1, 8, 8), 3, config)
    images = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    pieces = model.hidden[0](images.flatten(1))
    assert pieces.shape == (5, 12)
    units = torch.stack([pieces[:, 3 * unit : 3 * unit + 3].max(1).values for unit in range(4)], dim=1)
    assert torch.equal(model(images), model.output(units))
    assert sum(p.numel() for p in model.parameters()) == 64 * 12 + 12 + 4 * 3 + 3


def test_a_maxout_net_keeps_the_mean_square_of_its_units_and_learns(blobs):
    model = build_model((1, 8, 8), 10, RunConfig(model="mlp", activation="maxout", layers=(1024,) * 3))
    units = torch.randn(256, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for layer in model.hidden:
            units = model.activation(layer(units))
    assert 0.8 < units.square().mean().item() < 1.25
    assert train(small(activation="maxout", p_drop=0.5), blobs).metrics["test_error_percent"] < 10


def test_relu_and_linear_weights_are_those_of_torchs_own_initialisation():
    from dropbench.run.streams import torch_generator

    for activation, nonlinearity in (("relu", "relu"), ("logistic", "linear")):
        config = small(activation=activation)
        model, generator = build_model((1, 8, 8), 3, config), torch_generator(0, "init", 0)
        expected = torch.empty(32, 64)
        torch.nn.init.kaiming_normal_(expected, nonlinearity=nonlinearity, generator=generator)
        assert torch.equal(model.hidden[0].weight, expected)


@pytest.mark.parametrize(("p", "units"), [(0.0, 12), (0.5, 24), (0.75, 48), (0.9, 120)])
def test_a_widened_net_keeps_as_many_units_as_the_net_had(p, units):
    model = build_model((1, 8, 8), 3, small(layers=(12, 12), widened=True, p_drop=p))
    assert [layer.out_features for layer in model.hidden] == [units, units]


def test_a_widened_net_that_drops_nothing_is_the_net_itself():
    assert small(widened=True).run_id == small().run_id
    assert small(widened=True, p_drop=0.5).run_id != small(p_drop=0.5).run_id


@pytest.mark.parametrize(("height", "channels"), [(8, 1), (28, 1), (32, 3)])
def test_the_papers_cnn_drops_where_the_paper_does(height, channels):
    config = RunConfig(model="paper-cnn", p_drop=0.5, p_drop_conv=0.25, p_drop_input=0.1, width=0.1)
    model = build_model((channels, height, height), 10, config)
    assert [layer.p_drop for layer in dropout_layers(model)] == [0.1, 0.25, 0.25, 0.5, 0.5, 0.5]
    assert model.eval()(torch.zeros(2, channels, height, height)).shape == (2, 10)


def test_the_papers_cnn_learns(blobs):
    config = RunConfig(model="paper-cnn", epochs=6, batch_size=32, width=0.1, p_drop=0.2)
    assert train(config, blobs).metrics["test_error_percent"] < 10


def test_logistic_nets_of_three_layers_learn(blobs):
    result = train(small(activation="logistic", layers=(64,) * 3, epochs=30, learning_rate=0.2), blobs)
    assert result.metrics["test_error_percent"] < 10
