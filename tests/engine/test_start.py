"""How a net starts: the corrected initialisation, torch's own, and pixels from 0 to 1."""

import math

import pytest
import torch
import torch.nn.functional as F
from engine.test_engine import CPU, small
from torch import nn

from dropbench.dropout.control import dropout_layers, schedule_strength, set_streams, set_strength, tapped
from dropbench.dropout.dropconnect import DropConnect
from dropbench.dropout.layer import Arriving, DropoutLayer
from dropbench.dropout.own import OwnDropout
from dropbench.dropout.stream import Stream
from dropbench.engine.run import Run
from dropbench.errors import UsageError
from dropbench.kernels.draws import Draw, chance_of
from dropbench.kernels.mask import keep_mask
from dropbench.models.build import build_model
from dropbench.run.config import RunConfig
from dropbench.run.streams import torch_generator

STANDARD_ERRORS = 5
DEEP = {"model": "mlp", "layers": (64,) * 8}
P_DROP = 0.8


def arriving_moments(config: RunConfig) -> list[float]:
    """The second moment of the units that arrive at each hidden site, in the first epoch of training."""
    model = build_model((1, 8, 8), 10, config).train()
    set_streams(model, "mask", config.repetition.seed, 0)
    set_strength(model, schedule_strength(config, 1))
    found: list[float] = []

    def see(units: torch.Tensor) -> torch.Tensor:
        found.append(units.square().mean().item())
        return units

    with torch.no_grad(), tapped({layer: see for layer in dropout_layers(model) if layer.site == "hidden"}):
        model(torch.randn(1000, 1, 8, 8, generator=torch.Generator().manual_seed(1)))
    return found


def growth(**fields: object) -> list[float]:
    """Each site's second moment over that of the net without dropout, a geometric mean over eight seeds."""
    logs = [
        [
            math.log(ours / plain)
            for ours, plain in zip(
                arriving_moments(RunConfig(**DEEP, seed=seed, p_drop=P_DROP, **fields)),
                arriving_moments(RunConfig(**DEEP, seed=seed)),
                strict=True,
            )
        ]
        for seed in range(8)
    ]
    return [math.exp(sum(site) / len(site)) for site in zip(*logs, strict=True)]


@pytest.mark.parametrize("convention", ["inverted", "weight-scaling"])
def test_signals_of_a_corrected_deep_net_are_as_large_as_without_dropout(convention):
    corrected = growth(init="corrected", convention=convention)
    assert len(corrected) == 8
    assert all(1 / 2 < ratio < 2 for ratio in corrected)
    he = growth(init="he", convention=convention)
    per_site = 1 / (1 - P_DROP) if convention == "inverted" else 1 - P_DROP
    for sites, ratio in enumerate(he):
        assert 1 / 2 < ratio / per_site**sites < 2
    assert abs(math.log10(he[-1])) > 4, "orders of magnitude"


@pytest.mark.parametrize("schedule", ["late", "ramp"])
def test_a_net_that_starts_without_noise_starts_as_he(schedule):
    fields = {"p_drop": 0.8, "p_drop_input": 0.2, "dropout_schedule": schedule}
    corrected, he = (build_model((1, 8, 8), 3, small(init=init, **fields)) for init in ("corrected", "he"))
    for ours, theirs in zip(corrected.parameters(), he.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_built_model_is_in_train_mode_and_at_full_strength():
    model = build_model((1, 8, 8), 3, small(p_drop=0.5, dropout_schedule="late"))
    assert all(module.training for module in model.modules())
    assert {layer.strength for layer in dropout_layers(model)} == {1.0}


def test_units_that_are_all_0_leave_the_weights_finite(monkeypatch):
    monkeypatch.setattr("dropbench.models.mlp.activation_of", lambda config: torch.zeros_like)
    model = build_model((1, 8, 8), 3, small(p_drop=0.5, dropout="standout"))
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_torchs_start_is_what_its_modules_draw_from_the_runs_stream():
    config = small(init="torch", p_drop=0.5, seed=3, member=2)
    before = torch.get_rng_state()
    ours = build_model((1, 8, 8), 3, config)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.set_state(torch_generator(3, "init", 2).get_state())
        theirs = nn.Sequential(nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 3))
        torch.manual_seed(99)
        again = build_model((1, 8, 8), 3, config)
    for drawn, expected, repeated in zip(
        ours.parameters(), theirs.parameters(), again.parameters(), strict=True
    ):
        assert torch.equal(drawn, expected)
        assert torch.equal(drawn, repeated)


@pytest.mark.parametrize("init", ["he", "corrected"])
def test_a_model_of_the_users_own_makes_its_weights_itself(init):
    with pytest.raises(UsageError, match="makes its initial weights itself"):
        RunConfig(model="nets:small", init=init)
    assert RunConfig(model="nets:small").model.init == "torch"


# A dropout of the user's own is measured


class Loose(DropoutLayer):
    """A user's layer that draws from torch's default generator."""

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        return F.dropout(units, self.p_now)


class Neat(DropoutLayer):
    """A user's layer that draws from the numbers it is given, and leaves kept units as they are."""

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        return units * keep_mask(units, chance_of(self.p_now), draw)


class OnWeights(DropConnect):
    """DropConnect that does not know its second moment."""

    second_moment = DropoutLayer.second_moment


def arriving(*shape: int) -> Arriving:
    units = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    return Arriving(units, units, Stream(5).draw())


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
def test_the_second_moment_of_noise_on_units_is_measured(p):
    keep, given = 1 - p, arriving(400, 100)
    # The relative error of Σ m x² is √((1/keep − 1) E x⁴/n) with E x⁴ = 3 for standard normal units.
    error = math.sqrt((1 / keep - 1) * 3 / given.units.numel())
    for own, expected in ((Neat(p), keep), (OwnDropout(p, nn.Dropout), 1 / keep)):
        assert own.second_moment(given) == pytest.approx(expected, rel=STANDARD_ERRORS * error)


def test_the_second_moment_of_noise_on_weights_is_measured():
    after = nn.Linear(50, 4000, bias=False)
    nn.init.normal_(after.weight, generator=torch.Generator().manual_seed(6))
    own = OnWeights(0.5)
    own.lead_into(after)
    # Each output's square has a relative deviation of √2, and outputs are independent.
    error = math.sqrt(2 / after.out_features)
    assert own.second_moment(arriving(16, 50)) == pytest.approx(2, rel=STANDARD_ERRORS * error)


@pytest.mark.parametrize(
    ("dropout", "moment"),
    [("torch.nn:Dropout", 2), ("engine.test_start:Loose", 2), ("engine.test_start:Neat", 0.5)],
)
def test_a_net_starts_corrected_for_a_dropout_of_the_users_own(dropout, moment):
    fields = {"p_drop": 0.5, "layers": (400, 400)}
    state = torch.get_rng_state()
    he = build_model((1, 8, 8), 3, small(init="he", **fields))
    first = build_model((1, 8, 8), 3, small(dropout=dropout, **fields))
    assert torch.equal(torch.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        again = build_model((1, 8, 8), 3, small(dropout=dropout, **fields))
    # Units of 32 images after ReLU, whose E x⁴/E(x²)² is about 6; all that a unit sends has one mask.
    error = math.sqrt(6 / (32 * 400))
    names = [name for name, _ in he.named_parameters() if name in ("hidden.1.weight", "output.weight")]
    assert len(names) == 2
    for name, weight in first.named_parameters():
        assert torch.equal(weight, again.get_parameter(name))
        if name in names:
            ratios = (he.get_parameter(name) / weight).square()
            assert ratios.max() - ratios.min() < 1e-3
            assert ratios.mean().item() == pytest.approx(moment, rel=STANDARD_ERRORS * error)
        else:
            assert torch.equal(weight, he.get_parameter(name))


# Pixels


def test_unit_pixels_are_from_0_to_1_and_a_black_one_stays_0(blobs):
    run = Run.prepare(small(pixels="unit", p_drop_input=0.5), blobs, CPU)
    positions = torch.arange(len(blobs.train_targets))
    images, _ = run.train_examples.batch(positions)
    expected = torch.from_numpy(blobs.train_inputs.copy()).float() / 255
    torch.testing.assert_close(images, expected, rtol=1e-6, atol=0)
    layer = next(layer for layer in dropout_layers(run.model) if layer.site == "input")
    dropped = layer.train()(images)
    assert (images == 0).any()
    assert not dropped[images == 0].any()
    torch.testing.assert_close(dropped[dropped != 0], 2 * images[dropped != 0])


def test_standardised_pixels_have_mean_0_and_variance_1(blobs):
    run = Run.prepare(small(), blobs, CPU)
    images, _ = run.train_examples.batch(torch.from_numpy(run.parts.train))
    assert images.mean().item() == pytest.approx(0, abs=1e-5)
    assert images.square().mean().item() == pytest.approx(1, abs=1e-4)
