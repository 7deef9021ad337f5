"""The measures of what dropout does to units, against cases with known answers."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dropbench.dropout.registry import make_dropout
from dropbench.engine import panel
from dropbench.engine.batches import ImageExamples, pixel_values
from dropbench.engine.task import Split
from dropbench.engine.tasks import Classify
from dropbench.engine.train import train
from dropbench.engine.units import measure_activations
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig
from dropbench.run.result import HISTOGRAM_BINS

CPU = torch.device("cpu")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def orthonormal(images: int, units: int) -> torch.Tensor:
    """Units of mean 0 whose covariance is exactly a multiple of the identity."""
    centred = normal(images, units) - normal(images, units).mean(0)
    return torch.linalg.qr(centred - centred.mean(0)).Q


def test_an_identity_covariance_has_full_effective_rank_and_no_correlation():
    found = measure_activations(orthonormal(500, 40))
    assert found["effective_rank"] == pytest.approx(40, rel=1e-4)
    assert found["mean_abs_correlation"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("images", [500, 30])
def test_effective_rank_counts_the_independent_units(images):
    """Copies add nothing; it is the same by either product of the deviations."""
    few = orthonormal(images, 5)
    assert measure_activations(few.repeat(1, 10))["effective_rank"] == pytest.approx(5, rel=1e-3)
    weighted = few * torch.tensor([3.0, 1, 1, 1, 1])  # shares 9/13 and four times 1/13
    entropy = -(9 / 13 * math.log(9 / 13) + 4 / 13 * math.log(1 / 13))
    assert measure_activations(weighted)["effective_rank"] == pytest.approx(math.exp(entropy), rel=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_duplicated_unit_has_correlation_1(sign):
    unit = normal(100, 1)
    found = measure_activations(torch.cat([unit, sign * 3 * unit + 2], dim=1))
    assert found["mean_abs_correlation"] == pytest.approx(1, abs=1e-5)
    assert found["effective_rank"] == pytest.approx(1, abs=1e-3)


def test_correlation_is_the_mean_over_all_pairs_in_any_number_of_blocks():
    units = normal(200, 1100) @ normal(1100, 1100, seed=1)
    oracle = torch.corrcoef(units.T.double()).abs()
    expected = (oracle.sum() - 1100) / (1100 * 1099)
    assert measure_activations(units)["mean_abs_correlation"] == pytest.approx(expected.item(), rel=1e-4)


def test_dead_units_are_counted_and_have_no_part_in_the_correlation():
    units = torch.cat([orthonormal(50, 3), torch.zeros(50, 2), torch.full((50, 1), 7.0)], dim=1)
    found = measure_activations(units)
    assert (found["units"], found["dead_units"]) == (6, 3)
    assert found["mean_abs_correlation"] == pytest.approx(0, abs=1e-5)
    nothing = measure_activations(torch.zeros(50, 4))
    assert nothing["dead_units"] == 4
    assert math.isnan(nothing["mean_abs_correlation"])
    assert math.isnan(nothing["effective_rank"])


def test_effective_rank_of_few_live_units_among_many_dead_ones():
    units = torch.zeros(1000, 600)
    units[:, ::15] = normal(1000, 40).relu()
    alone = measure_activations(units[:, ::15])["effective_rank"]
    assert measure_activations(units)["effective_rank"] == pytest.approx(alone, rel=1e-3)


@pytest.mark.parametrize("active", [1, 3, 10])
def test_sparseness_of_k_equal_units_of_n_is_1_less_k_over_n(active):
    units = torch.zeros(20, 10)
    units[:, :active] = 2.0
    found = measure_activations(units)
    assert found["sparseness"] == pytest.approx(1 - active / 10, abs=1e-6)
    assert found["zero_share"] == pytest.approx(1 - active / 10)
    assert found["mean_activation"] == pytest.approx(2 * active / 10)


@pytest.mark.parametrize("values", [normal(1000) - 3, torch.full((10,), 7.0), torch.tensor([0.0, 1.0])])
def test_a_histogram_holds_everything_between_its_edges(values):
    found = {(r.measure, r.at): r.value for r in panel._histogram("h", values)}
    low, width = found.pop(("h_low", 0.0)), found.pop(("h_width", 0.0))
    assert sorted(at for _, at in found) == list(range(HISTOGRAM_BINS))
    assert sum(found.values()) == pytest.approx(1)
    edges = np.linspace(low, low + HISTOGRAM_BINS * width, HISTOGRAM_BINS + 1)
    oracle, _ = np.histogram(values.double(), edges)
    assert edges[0] <= values.min() <= values.max() <= edges[-1] + 1e-6
    moved = np.abs(np.array(list(found.values())) - oracle / len(values)).sum()
    assert moved <= 4 / len(values) + 1e-6  # a value on an edge may fall to either side


class Voters(nn.Module):
    """``copies`` units that each know the class, which is the pixel's value."""

    def __init__(self, copies: int, config: RunConfig) -> None:
        super().__init__()
        self.copies = copies
        self.hidden_dropout = make_dropout(config, "hidden")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        units = self.hidden_dropout(images.flatten(1)[:, :1].repeat(1, self.copies))
        total = units.sum(1, keepdim=True)
        return torch.cat([0.5 * torch.ones_like(total), total], dim=1)  # without any unit: class 0


def brightness() -> Split:
    labels = torch.arange(400) % 2
    images = (255 * labels).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    examples = ImageExamples(images.numpy(), labels.numpy(), pixel_values(1, CPU), CPU)
    return Split(examples, torch.arange(400))


def test_what_is_told_by_many_units_survives_the_loss_of_most():
    errors = panel.errors_without_units(Voters(100, RunConfig()), Classify(), brightness(), RunConfig())
    assert list(errors) == [k / 10 for k in range(10)]
    assert set(errors.values()) == {0.0}


def test_what_is_told_by_one_unit_is_lost_with_it():
    """Of ten units one counts: removing a share of them removes it in that share of the choices."""

    class One(Voters):
        def forward(self, images):
            units = self.hidden_dropout(images.flatten(1)[:, :1].repeat(1, 10))
            return torch.cat([0.5 * torch.ones_like(units[:, :1]), units[:, :1]], dim=1)

    found = []
    for seed in range(60):
        errors = panel.errors_without_units(
            One(10, RunConfig()), Classify(), brightness(), RunConfig(seed=seed)
        )
        assert errors[0.0] == 0
        found.append([errors[share] for share in panel.SHARES])
    shares = torch.tensor(found).mean(0) / 50  # half of the images are of class 1
    expected = torch.tensor(panel.SHARES)
    deviation = (expected * (1 - expected) / (60 * panel.REPEATS)).sqrt()
    assert (shares - expected).abs().le(5 * deviation + 1e-6).all()


def test_removal_takes_the_right_number_of_every_layer_and_no_more():
    choices = [share for share in panel.SHARES for _ in range(3)]
    masks = panel._masks(choices, 37, torch.Generator().manual_seed(0))
    assert (masks == 0).sum(1).tolist() == [round(share * 37) for share in choices]
    assert len({tuple(row) for row in masks[-9:].tolist()}) == 9


def test_the_panel_of_a_run(blobs):
    config = RunConfig(model="mlp", layers=(24, 12), epochs=3, p_drop=0.5, batch_size=32)
    result = train(config, blobs, panel=True)
    by_key = {(r.measure, r.layer, r.at): r.value for r in result.panel}
    assert by_key["test_error_percent", "", 0.0] == pytest.approx(result.metrics["test_error_percent"])
    assert 0 <= by_key["train_error_percent", "", 0.0] <= 100
    assert [by_key["units", layer, 0.0] for layer in ("1", "2")] == [24, 12]
    plain = train(config, blobs)
    assert plain.panel == ()
    assert plain.metrics == result.metrics  # looking changes nothing


def test_one_choice_at_a_time_gives_the_errors_of_all_at_once(blobs, monkeypatch):
    """As for nets whose batch cannot be multiplied."""
    config = RunConfig(model="mlp", layers=(64, 64), epochs=3, p_drop=0.5, batch_size=32)
    at_once = train(config, blobs, panel=True).panel
    monkeypatch.setattr(panel, "copies_fit", lambda config: False)
    assert train(config, blobs, panel=True).panel == at_once


def test_standout_has_a_panel(blobs):
    config = RunConfig(model="mlp", layers=(16, 8), epochs=1, p_drop=0.5, dropout="standout")
    assert train(config, blobs, panel=True).status == "ok"


def test_the_panel_looks_at_convolutions_only_where_they_end(digits):
    """The lecture's net on images that are removed from in one expanded batch: as many units as FC ones."""
    config = RunConfig(epochs=1, train_size=100, p_drop=0.2, width=0.25)
    result = train(config, digits, panel=True)
    assert {r.layer for r in result.panel if r.measure == "units"} == {"1", "2"}
    assert {r.value for r in result.panel if r.measure == "units"} == {512 / 4}


def test_a_model_without_hidden_sites_is_told():
    with pytest.raises(UsageError, match="no hidden dropout site"):
        panel.hidden_sites(nn.Linear(3, 3))


def test_memory_stays_bounded_for_8192_units():
    """No matrix of all pairs (256 MB): the largest is of images × units."""
    units = normal(300, 8192)
    peak = _peak_of(lambda: measure_activations(units))
    assert peak < 4 * (5 * units.numel() + 1024 * 8192 + 2 * 300**2)


def _peak_of(work) -> int:
    """The largest sum of tensors alive in ``work``, in bytes, as torch's profiler has them."""
    with torch.profiler.profile(profile_memory=True) as seen:
        work()
    alive = peak = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    return peak
