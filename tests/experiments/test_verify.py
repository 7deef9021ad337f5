"""All checks pass, and each fails when its property is violated."""

from importlib import import_module

import pytest

from dropbench.catalog.dropouts import VARIANTS
from dropbench.dropout import alpha, bernoulli, concrete, dropblock, dropconnect, noise, standout, variational
from dropbench.experiments.verify import averages, masks, moments, subnetworks, variants
from dropbench.experiments.verify.check import Check, statistical
from dropbench.experiments.verify.run import all_checks
from dropbench.kernels.draws import Draw, chance_of
from dropbench.kernels.mask import drop, keep_mask
from dropbench.kernels.noise import normal


def failures(checks) -> set[str]:
    return {check.name for check in checks if not check.passed}


def test_every_check_passes():
    checks = list(all_checks())
    assert failures(checks) == set()
    assert len({check.name for check in checks}) == len(checks) >= 20


def test_nan_never_passes():
    assert not Check("", "", 0.0, float("nan"), 1.0).passed
    assert not statistical("", "", []).passed


def test_keep_taken_for_drop_is_found(monkeypatch):
    """Swapping the two probabilities is the field's most common bug."""

    def swapped(like, chance, draw):
        return keep_mask(like, chance_of(1 - chance.probability), draw)

    monkeypatch.setattr(masks, "keep_mask", swapped)
    assert {"mask: mean"} <= failures(masks.mask_checks())


def test_one_mask_for_all_samples_is_found(monkeypatch):
    def shared(like, chance, draw):
        return keep_mask(like[:1], chance, draw).expand(like.shape).contiguous()

    monkeypatch.setattr(masks, "keep_mask", shared)
    assert "mask: independent samples" in failures(masks.mask_checks())


def test_one_draw_for_two_neighbours_is_found(monkeypatch):
    def paired(like, chance, draw):
        return keep_mask(like[:, ::2], chance, draw).repeat_interleave(2, dim=1)

    monkeypatch.setattr(masks, "keep_mask", paired)
    assert "mask: independent units" in failures(masks.mask_checks())


def test_a_mask_that_never_changes_is_found(monkeypatch):
    def frozen(like, chance, draw):
        return keep_mask(like, chance, Draw(1, 0, 0))

    monkeypatch.setattr(masks, "keep_mask", frozen)
    assert failures(masks.mask_checks()) == {"mask: independent steps"}


def test_a_scale_applied_twice_is_found(monkeypatch):
    def twice(units, chance, scale, draw):
        return drop(units, chance, scale * scale, draw)

    monkeypatch.setattr(bernoulli, "drop", twice)
    assert "inverted: mean output" in failures(masks.expectation_checks())
    assert "two conventions: one trajectory of SGD" in failures(subnetworks.convention_checks())
    assert "torch.nn.Dropout: gradient" in failures(masks.oracle_checks())


def test_a_forgotten_scale_at_test_is_found(monkeypatch):
    def forgetful(self, units, pre_activations=None):
        return units if not (self.training or self.sampling) else forward(self, units)

    forward = bernoulli.BernoulliDropout.forward
    monkeypatch.setattr(bernoulli.BernoulliDropout, "forward", forgetful)
    assert "two conventions: one function" in failures(subnetworks.convention_checks())
    found = failures(subnetworks.enumeration_checks())
    assert found >= {"softmax on one layer: weight scaling", "weight scaling beside the arithmetic mean"}


def test_a_gradient_that_ignores_the_mask_is_found(monkeypatch):
    def straight_through(units, chance, scale, draw):
        return units + (drop(units, chance, scale, draw) - units).detach()

    monkeypatch.setattr(bernoulli, "drop", straight_through)
    assert failures(masks.gradient_check()) == {"gradient through a mask"}


def test_silent_monte_carlo_is_found(monkeypatch):
    def silent(self, units, pre_activations=None):
        return forward(self, units) if self.training else units

    forward = bernoulli.BernoulliDropout.forward
    monkeypatch.setattr(bernoulli.BernoulliDropout, "forward", silent)
    assert "Monte-Carlo passes" in failures(averages.average_checks())


@pytest.mark.parametrize("other", [1.2, 0.8])
def test_another_penalty_than_ridge_is_found(monkeypatch, other):
    """The mask has another drop probability than the layer."""

    def off(units, chance, scale, draw):
        return drop(units, chance_of(min(0.999, chance.probability * other)), scale, draw)

    monkeypatch.setattr(bernoulli, "drop", off)
    assert "linear regression: sampled loss" in failures(subnetworks.ridge_checks())
    assert "Monte-Carlo: mean squared error over k passes" in failures(subnetworks.enumeration_checks())


def test_a_variance_of_p_is_found(monkeypatch):
    """Keras documents σ² = p/(1 − p); σ = √p is the usual slip."""

    def slip(self, units, draw):
        return units * (1 + self.p_now**0.5 * normal(units.shape, draw, units.device))

    monkeypatch.setattr("dropbench.dropout.noise.GaussianDropout.disturb", slip)
    assert "gaussian: variance" in failures(variants.variant_checks())


def test_one_mask_of_weights_for_a_whole_batch_is_found(monkeypatch):
    def shared(like, chance, draw):
        return keep_mask(like[:1], chance, draw).expand(like.shape).clone()

    monkeypatch.setattr(dropconnect, "keep_mask", shared)
    assert "dropconnect: independent" in failures(variants.variant_checks())


def test_noise_of_another_rate_than_it_says_is_found(monkeypatch):
    rate = variational.VariationalDropout.p_learned
    monkeypatch.setattr(variational.VariationalDropout, "p_learned", lambda self: 0.9 * rate(self))
    assert "variational: variance" in failures(variants.variant_checks())


def test_swapped_and_silent_noise_is_found(monkeypatch):
    swapped = concrete.ConcreteDropout.p_learned
    monkeypatch.setattr(concrete.ConcreteDropout, "p_learned", lambda self: 1 - swapped(self))
    keep = standout.Standout.keep_probability
    monkeypatch.setattr(standout.Standout, "keep_probability", lambda self, units: keep(self, -units))
    monkeypatch.setattr(alpha.AlphaDropout, "disturb", lambda self, units, draw: units)
    monkeypatch.setattr(bernoulli.SpatialDropout, "disturb", bernoulli.BernoulliDropout.disturb)
    found = failures(variants.variant_checks())
    assert {"concrete: mean", "standout: mean", "alpha: mean", "spatial: whole channels"} <= found


def test_blocks_that_are_no_blocks_are_found(monkeypatch):
    monkeypatch.setattr(dropblock.DropBlock, "disturb", bernoulli.BernoulliDropout.disturb)
    found = failures(variants.variant_checks())
    assert found == {"dropblock: share dropped", "dropblock: whole squares", "dropblock: mean"}


def test_another_divergence_is_found(monkeypatch):
    """The polynomial of Kingma et al. holds for α up to 1 only."""

    def kingma(log_alpha):
        alpha = log_alpha.exp()
        return -(0.5 * log_alpha + 1.16145124 * alpha - 1.50204118 * alpha**2 + 0.58629921 * alpha**3)

    monkeypatch.setattr(variants, "divergence", kingma)
    assert failures(variants.variant_checks()) == {"variational: divergence"}


@pytest.mark.parametrize("off", [1.2, 0.8])
def test_another_second_moment_is_found(monkeypatch, off):
    for name in VARIANTS:
        module, _, attribute = VARIANTS[name].factory.partition(":")
        variant = getattr(import_module(module), attribute)
        if "second_moment" in vars(variant):
            monkeypatch.setattr(variant, "second_moment", scaled_by(off, variant.second_moment))
    monkeypatch.setattr(
        noise.ContinuousNoise, "second_moment", scaled_by(off, noise.ContinuousNoise.second_moment)
    )
    checks = list(moments.moment_checks())
    assert failures(checks) == {check.name for check in checks}


def scaled_by(factor, second_moment):
    return lambda self, arriving: factor * second_moment(self, arriving)


def test_bernoulli_dropouts_second_moment_is_found_to_be_wrong_for_others(monkeypatch):
    """Squares of DropBlock overlap, and standout drops large units less often."""
    for variant in (dropblock.DropBlock, standout.Standout):
        monkeypatch.setattr(variant, "second_moment", lambda self, arriving: 1 / (1 - self.p_now))
    found = {check.name for check in moments.moment_checks() if not check.passed}
    assert found == {f"{name}: second moment" for name in ("dropblock", "standout")}


def test_weights_that_are_not_corrected_are_found(monkeypatch):
    monkeypatch.setattr("dropbench.models.build.correct", lambda *given: None)
    assert failures(moments.moment_checks()) == {"corrected start: weights"}
