"""What holds for every variant; their moments are checked by dropbench verify (see test_verify)."""

import pytest
import torch

from dropbench.config import VARIANTS, RunConfig
from dropbench.dropout import registry
from dropbench.dropout.control import monte_carlo, set_streams
from dropbench.dropout.layer import DropoutLayer
from dropbench.engine.train import train
from dropbench.errors import UsageError

every_variant = pytest.mark.parametrize("name", VARIANTS)


def layer(name: str, p: float = 0.4, seed: int = 0) -> DropoutLayer:
    made = registry.make_dropout(RunConfig(dropout=name), p)
    made.generator = torch.Generator().manual_seed(seed)
    return made


def test_names_are_those_of_the_registry():
    assert set(VARIANTS) == set(registry.VARIANTS)


@every_variant
def test_eval_is_the_identity_and_training_is_not(name):
    units = torch.randn(20, 30)
    assert torch.equal(layer(name).eval()(units), units)
    assert not torch.equal(layer(name).train()(units), units)


@every_variant
def test_nothing_is_drawn_at_p_0(name):
    units = torch.randn(20, 30)
    idle = registry.make_dropout(RunConfig(dropout=name), 0.0)
    assert idle.train()(units) is units


@every_variant
def test_noise_is_that_of_the_stream_and_fresh_each_time(name):
    units = torch.randn(20, 30)
    first = layer(name)
    outs = [first(units), first(units)]
    assert not torch.equal(*outs)
    again = layer(name)
    assert torch.equal(again(units), outs[0])
    assert torch.equal(again(units), outs[1])


@every_variant
def test_without_a_stream_nothing_is_drawn_from_the_global_one(name):
    with pytest.raises(RuntimeError, match="stream"):
        registry.make_dropout(RunConfig(dropout=name), 0.4)(torch.ones(3, 3))


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_and_layout_are_kept(name, dtype):
    units = torch.ones(8, 16, 4, 4, dtype=dtype).to(memory_format=torch.channels_last)
    out = layer(name)(units)
    assert (out.dtype, out.shape) == (dtype, units.shape)
    assert out.is_contiguous(memory_format=torch.channels_last)


@every_variant
def test_gradient_passes_the_noise(name):
    units = torch.randn(10, 10, dtype=torch.float64, requires_grad=True)
    fixed = layer(name, seed=3)
    state = fixed.generator.get_state()

    def same_noise(values: torch.Tensor) -> torch.Tensor:
        fixed.generator.set_state(state)
        return fixed(values)

    assert torch.autograd.gradcheck(same_noise, (units,))


@every_variant
def test_monte_carlo_passes_differ_in_eval(name):
    net = torch.nn.Sequential(torch.nn.Linear(9, 9), layer(name)).eval()
    set_streams(net, "mc", 0, 0, torch.device("cpu"))
    units = torch.randn(5, 9)
    with monte_carlo(net):
        assert not torch.equal(net(units), net(units))
    assert torch.equal(net(units), net(units))


def test_spatial_dropout_drops_whole_channels_of_single_samples():
    out = layer("spatial", 0.5)(torch.ones(200, 30, 3, 3))
    alive = (out != 0).flatten(2)
    assert torch.equal(alive.all(2), alive.any(2))
    assert 0.4 < alive.float().mean() < 0.6
    assert not torch.equal(alive[0], alive[1])


def test_noise_of_mean_one_has_no_convention():
    with pytest.raises(UsageError, match="mean of 1"):
        RunConfig(dropout="gaussian", convention="weight-scaling", p_drop=0.5)


@every_variant
def test_a_net_learns_under_it(name, blobs):
    config = RunConfig(
        model="mlp", layers=(32, 32), epochs=3, batch_size=32, dropout=name, p_drop=0.2, p_drop_input=0.1
    )
    assert train(config, blobs).metrics["test_error_percent"] < 10
