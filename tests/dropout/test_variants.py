"""What holds for every variant; their moments are checked by dropbench verify (see test_verify)."""

import math

import pytest
import torch
from torch import nn

from dropbench.catalog.dropouts import VARIANTS
from dropbench.dropout import dropconnect
from dropbench.dropout.control import (
    monte_carlo,
    penalty,
    rates,
    schedule_strength,
    set_streams,
    set_strength,
)
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.own import OwnDropout
from dropbench.dropout.registry import make_dropout
from dropbench.dropout.stream import Stream
from dropbench.engine.train import train
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig

every_variant = pytest.mark.parametrize("name", VARIANTS)
on_units = pytest.mark.parametrize("name", [n for n in VARIANTS if n not in ("dropconnect", "variational")])


def config(name: str, **more) -> RunConfig:
    return RunConfig(**{"dropout": name, "activation": VARIANTS[name].activation or "relu", **more})


def layer(name: str, p: float = 0.4, seed: int = 0, before: nn.Module | None = None) -> DropoutLayer:
    made = make_dropout(config(name, p_drop=p), "hidden", before)
    made.stream = Stream(seed)
    return made


def linear() -> nn.Linear:
    made = nn.Linear(30, 12)
    for number, parameter in enumerate(made.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(number))
    return made


UNITS = torch.randn(20, 30, generator=torch.Generator().manual_seed(9))


@every_variant
def test_at_test_the_net_is_deterministic_and_in_training_it_is_not(name):
    after = linear()
    dropout = layer(name, before=after)
    out = dropout.eval().into(after, UNITS, UNITS)
    assert torch.equal(dropout.into(after, UNITS, UNITS), out)
    if name == "standout":  # the only one whose scale is not in training
        torch.testing.assert_close(out, after(UNITS * torch.sigmoid(UNITS + math.log(0.6 / 0.4))))
    else:
        assert torch.equal(out, after(UNITS))
    assert not torch.equal(dropout.train().into(after, UNITS, UNITS), out)


@every_variant
def test_nothing_is_drawn_at_p_0(name):
    after = linear()
    idle = make_dropout(config(name), "hidden", after).train()
    assert torch.equal(idle.into(after, UNITS, UNITS), after(UNITS))
    assert idle.penalty() is None


@every_variant
def test_noise_is_that_of_the_stream_and_fresh_each_time(name):
    after = linear()
    first, again = (layer(name, before=after) for _ in range(2))
    state = torch.random.get_rng_state()
    outs = [first.into(after, UNITS, UNITS) for _ in range(2)]
    assert not torch.equal(*outs)
    for out in outs:
        assert torch.equal(again.into(after, UNITS, UNITS), out)
    assert torch.equal(torch.random.get_rng_state(), state)


@every_variant
def test_without_a_stream_nothing_is_drawn_from_the_global_one(name):
    after = linear()
    with pytest.raises(RuntimeError, match="stream"):
        make_dropout(config(name, p_drop=0.4), "hidden", after).into(after, UNITS, UNITS)


@on_units
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtype_and_layout_are_kept(name, dtype):
    units = torch.ones(8, 16, 4, 4, dtype=dtype).to(memory_format=torch.channels_last)
    out = layer(name)(units, units)
    assert (out.dtype, out.shape) == (dtype, units.shape)
    assert out.is_contiguous(memory_format=torch.channels_last)


@every_variant
def test_gradient_passes_the_noise(name, monkeypatch):
    monkeypatch.setattr(dropconnect, "_CHUNK", 3 * 12 * 30)  # several chunks of samples
    after = linear().double()
    units = UNITS[:10].double().clone().requires_grad_()
    fixed = layer(name, seed=3, before=after)
    driven = UNITS[:10]

    def same_noise(values: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        fixed.stream.position = 0
        return fixed.into(after, values, driven)

    parameters = [*after.parameters(), *fixed.double().parameters()]
    assert torch.autograd.gradcheck(same_noise, (units, *parameters))


@every_variant
def test_monte_carlo_passes_differ_while_batch_norm_stays_in_eval(name):
    norm, after = nn.BatchNorm1d(30), linear()
    dropout = layer(name, before=after)
    net = nn.ModuleList([norm, dropout, after]).eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    set_streams(net, "mc", 0, 0)

    def out() -> torch.Tensor:
        return dropout.into(after, norm(UNITS), UNITS)

    calm = out()
    with monte_carlo(net):
        assert torch.equal(norm(UNITS), UNITS / math.sqrt(1 + norm.eps))
        assert not torch.equal(out(), out())
    assert torch.equal(out(), calm)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


@every_variant
def test_half_the_strength_is_half_the_p(name):
    after = linear()
    weak, half = layer(name, 0.4, before=after), layer(name, 0.2, before=after)
    set_strength(weak, 0.5)
    if name == "standout":  # its p is of a unit that is not driven, and no unit's own
        pre = torch.zeros_like(UNITS)
        assert torch.allclose(weak.keep_probability(pre), half.keep_probability(pre))
        return
    assert torch.allclose(weak.into(after, UNITS, UNITS), half.into(after, UNITS, UNITS), atol=1e-5)
    assert rates(weak) == pytest.approx(rates(half))
    set_strength(weak, 0.0)
    assert torch.equal(weak.into(after, UNITS, UNITS), after(UNITS))


@pytest.mark.parametrize(
    ("schedule", "cutoff", "strengths"),
    [
        ("constant", None, [1, 1, 1, 1, 1]),
        ("early", 2, [1, 1, 0, 0, 0]),
        ("late", 2, [0, 0, 1, 1, 1]),
        ("ramp", 5, [0, 0.25, 0.5, 0.75, 1]),
        ("ramp", 3, [0, 0.5, 1, 1, 1]),
        ("ramp", 1, [1, 1, 1, 1, 1]),
        ("early", None, [1, 1, 0, 0, 0]),
        ("ramp", None, [0, 0.25, 0.5, 0.75, 1]),
    ],
)
def test_schedules(schedule, cutoff, strengths):
    asked = RunConfig(epochs=5, dropout_schedule=schedule, cutoff_epoch=cutoff, p_drop=0.5)
    assert [schedule_strength(asked, epoch) for epoch in range(1, 6)] == strengths


def test_the_curve_tells_the_p_of_every_epoch(blobs):
    late = RunConfig(model="mlp", layers=(8,), epochs=4, p_drop=0.5, dropout_schedule="late")
    assert [record.p_drop for record in train(late, blobs).epochs] == [0, 0, 0.5, 0.5]


def test_spatial_dropout_drops_whole_channels_of_single_samples():
    out = layer("spatial", 0.5)(torch.ones(200, 30, 3, 3))
    alive = (out != 0).flatten(2)
    assert torch.equal(alive.all(2), alive.any(2))
    assert 0.4 < alive.float().mean() < 0.6
    assert not torch.equal(alive[0], alive[1])


def test_dropconnect_masks_the_weights_of_each_sample():
    """With one unit on and all weights 1, the output shows the mask."""
    after = nn.Linear(30, 12, bias=False)
    nn.init.ones_(after.weight)
    units = torch.zeros(500, 30)
    units[:, 3] = 1
    out = layer("dropconnect", 0.5, before=after).into(after, units)
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert len({tuple(row) for row in out.tolist()}) > 400  # of 2¹² masks
    conv = nn.Conv2d(3, 3, 3)
    with pytest.raises(UsageError, match="fully connected"):
        layer("dropconnect", 0.5, before=conv)
    with pytest.raises(UsageError, match="the model names none"):
        layer("dropconnect", 0.5)


def test_variational_noise_of_a_convolution_has_the_variance_of_its_weights():
    conv = nn.Conv2d(2, 3, 3, padding=1)
    maps = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    many = maps.expand(20_000, -1, -1, -1)
    out = layer("variational", 0.3, before=conv).into(conv, many)
    weights = conv.weight[None] * (
        1 + math.sqrt(0.3 / 0.7) * torch.randn(20_000, 3, 2, 3, 3, generator=torch.Generator().manual_seed(2))
    )
    patches = nn.functional.unfold(maps, 3, padding=1)[0]
    sampled = (weights.flatten(2) @ patches).var(0).view(3, 4, 4)
    assert torch.allclose(out.var(0), sampled, rtol=8 * math.sqrt(2 / 20_000))


def test_concrete_penalty_is_the_negative_entropy_of_its_units():
    alone = layer("concrete", 0.5)
    alone(torch.ones(7, 30))
    assert alone.penalty().item() == pytest.approx(-30 * math.log(2))
    alone(torch.ones(7, 5, 4, 4))  # a channel is one unit
    assert alone.penalty().item() == pytest.approx(-5 * math.log(2))
    after = linear()
    with_weights = layer("concrete", 0.5, before=after)
    with_weights(torch.ones(7, 30))
    weights = 0.01**2 * after.weight.square().sum().item() / (2 * 0.5)
    assert with_weights.penalty().item() == pytest.approx(-30 * math.log(2) + weights, rel=1e-5)


@pytest.mark.parametrize("name", ["concrete", "variational"])
def test_the_learned_rate_moves_with_the_loss_and_is_told(name, blobs):
    asked = RunConfig(model="mlp", layers=(32,), epochs=3, batch_size=32, dropout=name, p_drop=0.3)
    result = train(asked, blobs)
    learned = result.metrics["learned_p_drop"]
    assert 0 < learned < 1
    assert abs(learned - 0.3) > 1e-3
    assert result.epochs[-1].p_drop == learned
    assert "learned_p_drop_input" not in result.metrics


def test_a_penalty_alone_pushes_the_rate_to_its_prior():
    """Variational: α → ∞ is the log-uniform prior. Concrete: the entropy is highest at p = ½."""
    after = linear()
    for name, start, target in (("variational", 0.3, 1.0), ("concrete", 0.1, 0.5)):
        dropout = layer(name, start, before=after)
        optimizer = torch.optim.Adam(dropout.parameters(), lr=0.05)
        before = rates(dropout)["hidden"]
        for _ in range(200):
            optimizer.zero_grad()
            dropout.into(after, UNITS)
            penalty(dropout).backward()
            optimizer.step()
        assert abs(rates(dropout)["hidden"] - target) < 0.1 * abs(before - target)


def test_noise_that_needs_no_scale_has_no_convention():
    with pytest.raises(UsageError, match="no conventions"):
        RunConfig(dropout="gaussian", convention="weight-scaling", p_drop=0.5)


def test_variants_that_cannot_stand_somewhere_say_so():
    with pytest.raises(UsageError, match="activation=selu"):
        RunConfig(dropout="alpha", p_drop=0.5)
    with pytest.raises(UsageError, match="pixels have none"):
        make_dropout(RunConfig(model="mlp", dropout="standout", p_drop_input=0.5), "input")
    with pytest.raises(UsageError, match="before their activation"):
        layer("standout", 0.5)(UNITS)


@every_variant
def test_a_net_learns_under_it(name, blobs):
    p_input = 0.0 if name == "standout" else 0.1
    shape = {"model": "mlp", "layers": (32, 32), "epochs": 4, "batch_size": 32}
    asked = config(name, **shape, p_drop=0.2, p_drop_input=p_input, learning_rate=0.05)
    assert train(asked, blobs).metrics["test_error_percent"] < 10


@every_variant
def test_it_trains_the_lectures_net_in_bf16(name, blobs):
    sites = {"p_drop": 0.2, "p_drop_conv": 0.0 if name == "dropconnect" else 0.2}
    fields = {"epochs": 1, "batch_size": 80, "precision": "bf16", "mc_samples": 2, "width": 0.25}
    result = train(config(name, **fields, **sites), blobs)
    assert result.status == "ok"
    assert result.predictions["test_mc"].shape == (2, 90, 3), "of one pass, and of both"


class Own(nn.Module):
    """A user's dropout, that keeps the p of every pass."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.seen = p, []

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        self.seen.append((self.p, self.training))
        return nn.functional.dropout(units, self.p, self.training)


def test_a_dropout_of_the_users_own_follows_the_ramp_to_its_end_and_is_in_train_mode_for_noise():
    own = OwnDropout(0.4, Own)
    own.stream = Stream(0)
    for strength in (0.25, 0.5, 1.0):
        set_strength(own, strength)
        own.train()(UNITS)
    own.eval()(UNITS)
    with monte_carlo(own):
        own(UNITS)
    assert own.module.seen == [(0.1, True), (0.2, True), (0.4, True), (0.4, False), (0.4, True)]
    fixed = OwnDropout(0.4, lambda p: nn.Identity())
    fixed.stream = own.stream
    set_strength(fixed, 0.5)
    with pytest.raises(UsageError, match="attribute p"):
        fixed(UNITS)
