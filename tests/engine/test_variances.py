"""The variance shift of dropout, against its closed forms."""

import numpy as np
import pytest
import torch
from torch import nn

from dropbench.dropout.control import dropout_layers, set_streams
from dropbench.dropout.registry import make_dropout
from dropbench.engine.batches import Examples
from dropbench.engine.task import Split
from dropbench.engine.train import train
from dropbench.engine.variances import measure_variances
from dropbench.run.config import RunConfig
from dropbench.run.result import RUNNING_VARIANCE, TEST_VARIANCE, TRAINING_VARIANCE

COUNT, UNITS = 1024, 40
MEAN, DEVIATION = 1.5, 2.0


class Line(nn.Module):
    """Dropout of the input, a weight of 3 on each unit, batch norm if there is one, and a last layer."""

    def __init__(self, config: RunConfig, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.last = nn.Linear(UNITS, 2)
        self.norm = nn.Identity() if norm is None else norm
        self.dropout = make_dropout(config, "hidden", self.last)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if self.dropout.on_weights:
            return self.dropout.into(self.last, rows)
        return self.last(self.norm(3 * self.dropout(rows)))


def rows() -> Split:
    drawn = np.random.default_rng(5).normal(MEAN, DEVIATION, (COUNT, UNITS)).astype(np.float32)
    return Split(Examples(drawn, np.zeros(COUNT, np.int64), torch.device("cpu")), torch.arange(COUNT))


def measured(net: nn.Module, config: RunConfig) -> dict[tuple[str, str], float]:
    return {(each.measure, each.layer): each.value for each in measure_variances(net, rows(), config)}


def ratio(found: dict[tuple[str, str], float], layer: str) -> float:
    return found[TRAINING_VARIANCE, layer] / found[TEST_VARIANCE, layer]


@pytest.mark.parametrize("convention", ["inverted", "weight-scaling"])
@pytest.mark.parametrize("p", [0.2, 0.5])
@pytest.mark.parametrize("norm", [None, nn.BatchNorm1d(UNITS)], ids=["plain", "norm"])
def test_dropout_of_units_of_known_mean_and_variance_shifts_it_as_li_et_al_say(p, convention, norm):
    """Their Δ(p) upside down: Var(DX)/Var(X) = ((v + m²)/(1 − p) − m²)/v."""
    config = RunConfig(p_drop=p, convention=convention)
    layer = "last" if norm is None else "norm"
    found = measured(Line(config, norm), config)
    drawn = rows().examples.batch(torch.arange(COUNT))[0].double()
    mean, variance = drawn.mean(0).square().mean(), drawn.var(0).mean()
    expected = ((variance + mean) / (1 - p) - mean) / variance
    # The variance of COUNT × UNITS values has a relative standard error of about √(2/n); fourth moments of
    # thinned units are larger by 1/(1 − p).
    assert ratio(found, layer) == pytest.approx(expected.item(), rel=5 * (2 / (1 - p) / drawn.numel()) ** 0.5)
    factor = 9 if convention == "inverted" else 9 * (1 - p) ** 2
    assert found[TEST_VARIANCE, layer] == pytest.approx(factor * variance.item(), rel=1e-4)


def test_without_dropout_before_a_layer_the_ratio_is_1_exactly():
    for p, variant in ((0.0, "bernoulli"), (0.5, "dropconnect")):
        config = RunConfig(p_drop=p, dropout=variant)
        assert ratio(measured(Line(config), config), "last") == 1


def test_the_running_variance_is_the_one_that_batch_norm_keeps():
    norm = nn.BatchNorm1d(UNITS)
    norm.running_var.copy_(torch.linspace(0, 8, UNITS))
    found = measured(Line(RunConfig(), norm), RunConfig())
    assert {layer for _, layer in found} == {"norm"}
    assert found[RUNNING_VARIANCE, "norm"] == pytest.approx(4)
    assert not [key for key in measured(Line(RunConfig()), RunConfig()) if key[0] == RUNNING_VARIANCE]


def test_a_feature_map_has_a_variance_for_each_channel():
    """Channels have different means, which are no part of it, and it is the mean of their variances."""

    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(2)

        def forward(self, images):
            maps = images.view(-1, 1, 5, 8)
            return self.norm(torch.cat([100 + maps, 3 * maps], 1)).mean((2, 3))

    found = measured(Maps(), RunConfig())
    drawn = rows().examples.batch(torch.arange(COUNT))[0].double()
    assert found[TEST_VARIANCE, "norm"] == pytest.approx(5 * drawn.var().item(), rel=1e-4)


def test_looking_leaves_no_trace():
    config = RunConfig(p_drop=0.5)
    net = Line(config, nn.BatchNorm1d(UNITS))
    set_streams(net, "mask", 0, 0)
    before = {name: values.clone() for name, values in net.state_dict().items()}
    first, again = measured(net, config), measured(net, config)
    assert first == again
    assert first != measured(net, RunConfig(p_drop=0.5, seed=1)), "the masks are the seed's"
    assert all(torch.equal(values, before[name]) for name, values in net.state_dict().items())
    assert not net.norm._forward_pre_hooks
    (layer,) = dropout_layers(net)
    assert (layer.tap, layer.sampling, layer.stream.position) == (None, False, 0)


@pytest.mark.parametrize("variant", ["bernoulli", "dropconnect", "standout"])
def test_every_layer_of_a_net_is_measured_whatever_its_dropout(blobs, variant):
    config = RunConfig(model="mlp", layers=(16, 8), epochs=1, p_drop=0.5, dropout=variant, batch_size=32)
    result = train(config, blobs, panel=True)
    found = {(each.measure, each.layer): each.value for each in result.panel}
    layers = [layer for measure, layer in found if measure == TEST_VARIANCE]
    assert layers == ["hidden.0", "hidden.1", "output"]
    assert ratio(found, "hidden.0") == 1
    assert ratio(found, "output") != 1
