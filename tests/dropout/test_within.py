"""Dropout within a module of torch: attention and recurrent layers drop what their site says, and when."""

import pytest
import torch
from torch import nn

from dropbench.dropout.control import monte_carlo, set_streams
from dropbench.dropout.in_graph import drawing
from dropbench.models.sites import place_sites
from dropbench.run.config import RunConfig

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)]


def placed(module, p_drop, device="cpu"):
    """The module, whose own dropout is a site."""
    model = nn.Sequential(module)
    place_sites(model, RunConfig(model="any:net", p_drop=p_drop))
    set_streams(model, "mask", 0, 0)
    return model.to(device)[0]


def test_attention_drops_the_share_that_it_is_told():
    """With one key of value 1, a head's output is its attention weight: 0, or 1/(1 − p) where it is kept."""
    attention = nn.MultiheadAttention(4, 4, dropout=0.1, batch_first=True)
    for weight in (attention.in_proj_weight, attention.out_proj.weight):
        nn.init.zeros_(weight)
    nn.init.constant_(attention.in_proj_bias[8:], 1.0)
    nn.init.eye_(attention.out_proj.weight)
    model = nn.Sequential(attention)
    place_sites(model, RunConfig(model="any:net", p_drop=0.3))
    set_streams(model, "mask", 0, 0)
    units = torch.zeros(5000, 1, 4)
    values = model.train()[0](units, units, units, need_weights=False)[0].detach()
    assert sorted(values.unique().tolist()) == pytest.approx([0.0, 1 / 0.7])
    dropped = (values == 0).double().mean().item()
    assert abs(dropped - 0.3) < 4 * (0.3 * 0.7 / values.numel()) ** 0.5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_have_the_noise_of_their_stream(kind, device):
    units = torch.randn(3, 5, 4, device=device)

    def passes(p_drop):
        torch.manual_seed(0)
        layer = placed(kind(4, 6, num_layers=2, dropout=0.9), p_drop, device).train()
        return layer(units)[0], layer(units)[0]

    (first, second), (again, _) = passes(0.4), passes(0.4)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    first, second = passes(0.0)
    assert torch.equal(first, second)


@pytest.mark.parametrize("device", DEVICES)
def test_the_gradients_of_a_noisy_pass_are_those_of_its_masks(device):
    """Along its gradient the output of a pass with the same masks changes as the gradient says."""
    torch.manual_seed(0)
    layer = placed(nn.LSTM(4, 6, num_layers=2, dropout=0.9), 0.4, device).double().train()
    units = torch.randn(3, 5, 4, dtype=torch.float64, device=device)

    def total(moved):
        set_streams(layer, "mask", 0, 0)
        return layer(moved)[0].sum()

    wanted = torch.autograd.functional.jvp(total, units, torch.ones_like(units))[1]
    step = 1e-6 * torch.ones_like(units)
    found = (total(units + step) - total(units - step)) / 2e-6
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_one_layer_alone_drops_nothing_and_is_no_site():
    with pytest.warns(UserWarning, match="non-zero dropout"):
        layer = nn.LSTM(4, 4, dropout=0.5)
    assert not hasattr(placed(layer, 0.0), "dropout_site")
    assert not hasattr(placed(nn.MultiheadAttention(4, 2), 0.0), "dropout_site")


def test_a_module_is_left_as_it_was_after_each_pass():
    layer = placed(nn.LSTM(4, 4, num_layers=2, dropout=0.9), 0.4).eval()
    with monte_carlo(layer):
        layer(torch.randn(2, 3, 4))
    assert not layer.training
    assert repr(layer).startswith("LSTM(")
    plain = nn.LSTM(4, 4, num_layers=2)
    plain.load_state_dict(layer.state_dict())
    units = torch.randn(2, 3, 4)
    assert torch.equal(layer(units)[0], plain(units)[0])


def test_masks_in_a_graph_lie_in_memory_as_the_units_do():
    """As a graph of torch.compile expects of them; attention has units of any order."""
    units = torch.empty(2, 3, 4).transpose(0, 1)
    with drawing([lambda like: torch.ones(like.shape)]):
        mask = torch.ops.dropbench.next_mask(units, 0)
    assert mask.stride() == torch.empty_like(units).stride()
