"""Runs as parts of ensembles: thinned nets, boosting, snapshots, and the predictions that are kept."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from engine.test_engine import CPU, numbers, small

from dropbench.datasets.split import split
from dropbench.dropout.control import dropout_layers, set_streams
from dropbench.dropout.stream import Stream
from dropbench.dropout.thinned import ThinnedDropout
from dropbench.engine import optim
from dropbench.engine.batches import ImageExamples, measure
from dropbench.engine.boosting import boosting_objective
from dropbench.engine.evaluate import predict
from dropbench.engine.monte_carlo import predict_monte_carlo
from dropbench.engine.run import Run
from dropbench.engine.train import train
from dropbench.engine.turns import to_its_end
from dropbench.models.build import build_model
from dropbench.run.config import RunConfig
from dropbench.run.result import kept_arrays, mc_ladder

STANDARD_ERRORS = 5


# Thinned nets


def test_a_thinned_net_is_the_same_subnetwork_in_training_and_at_test():
    config = small(p_drop=0.5, thinned=True, layers=(400, 400))
    model = build_model((1, 8, 8), 3, config)
    set_streams(model, "mask", 0, 0)
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    in_training = model.train()(images)
    assert torch.equal(model(images), in_training)
    assert torch.equal(model.eval()(images), in_training)
    masks = [layer.mask for layer in dropout_layers(model) if layer.site == "hidden"]
    assert all(set(mask.unique().tolist()) == {0.0, 1.0} for mask in masks)
    kept = torch.cat([mask.flatten() for mask in masks]).mean().item()
    assert abs(kept - 0.5) < STANDARD_ERRORS * (0.25 / 800) ** 0.5
    assert not torch.equal(*masks)
    other = build_model((1, 8, 8), 3, config)
    set_streams(other, "mask", 0, 1)
    other(images)
    first = next(layer for layer in dropout_layers(other) if layer.site == "hidden")
    assert not torch.equal(first.mask, masks[0]), "each member has a mask of its own"


@pytest.mark.parametrize(("convention", "scale"), [("inverted", 4 / 3), ("weight-scaling", 1.0)])
def test_kept_units_of_a_thinned_net_have_the_scale_of_dropouts_training(convention, scale):
    layer = ThinnedDropout(0.25, convention).eval()
    layer.stream = Stream(0)
    maps = torch.ones(6, 16, 4, 4).to(memory_format=torch.channels_last)
    out = layer(maps)
    assert sorted(out.unique().tolist()) == [0.0, pytest.approx(scale)]
    assert torch.equal(out, out[:1].expand_as(out)), "the same for every sample"
    late = ThinnedDropout(0.25, convention)
    late.stream = Stream(0, position=7)
    assert torch.equal(late(maps), out), "the same where a run goes on in the middle"
    assert out.is_contiguous(memory_format=torch.channels_last)


# Boosting


def test_the_mean_gradient_of_boosting_is_that_of_the_joint_likelihood():
    """Over all 2⁶ masks of a net of two layers, whose geometric mean has the logits' mean as its logits."""
    generator = torch.Generator().manual_seed(3)
    shapes = ((6, 5), (4, 6), (3, 4))
    weights = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    images = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    masks = [torch.tensor(bits, dtype=torch.float64) for bits in itertools.product((0, 1), repeat=6)]
    p_drop = 0.3

    def chance(mask: torch.Tensor) -> float:
        return float((p_drop ** (1 - mask) * (1 - p_drop) ** mask).prod())

    def logits(parameters: list[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(images @ parameters[0].T) * mask / (1 - p_drop)
        return torch.relu(hidden @ parameters[1].T) @ parameters[2].T

    def averaged(parameters: list[torch.Tensor]) -> torch.Tensor:
        return sum(chance(mask) * logits(parameters, mask) for mask in masks)

    ours = [weight.clone().requires_grad_() for weight in weights]
    with torch.no_grad():
        of_all = averaged(ours)
    sum(chance(mask) * boosting_objective(logits(ours, mask), of_all, labels) for mask in masks).backward()
    theirs = [weight.clone().requires_grad_() for weight in weights]
    F.cross_entropy(averaged(theirs), labels).backward()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)


def test_boosting_without_noise_to_speak_of_is_plain_training(blobs):
    plain = train(small(), blobs)
    joint = train(small(p_drop=1e-5, joint=True), blobs)
    assert joint.metrics["test_nll"] == pytest.approx(plain.metrics["test_nll"], rel=0.02)
    assert joint.epochs[0].train_loss == pytest.approx(plain.epochs[0].train_loss, rel=0.02)


def test_boosting_is_another_training_than_dropout(blobs):
    dropout, joint = (train(small(p_drop=0.5, joint=joint), blobs) for joint in (False, True))
    assert numbers(dropout) != numbers(joint)
    # The loss told is that of the averaged prediction, without the noise of the masks.
    assert joint.epochs[-1].train_loss < dropout.epochs[-1].train_loss


# Snapshots


@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_the_learning_rate_begins_anew_in_every_cycle(blobs, cycles, monkeypatch):
    run = Run.prepare(small(epochs=3, snapshots=cycles, batch_size=50), blobs, CPU)
    seen: list[float] = []
    factor = optim.learning_rate_factor

    def spy(schedule, progress):
        seen.append(progress)
        return factor(schedule, progress)

    monkeypatch.setattr(optim, "learning_rate_factor", spy)
    for _ in range(3):
        to_its_end(run.epoch())
    falls = sum(later < earlier for earlier, later in itertools.pairwise(seen))
    assert falls == cycles - 1
    assert len(run.snapshots) == cycles
    assert all(0 <= progress < 1 for progress in seen)
    assert max(seen) > 1 - 2 * cycles / len(seen)


def test_snapshots_are_the_net_along_the_way_and_the_last_is_the_net(blobs):
    result = train(small(epochs=4, snapshots=2), blobs, ood=("f", blobs.test_inputs))
    kept = result.predictions
    assert kept["test_snapshots"].shape == (2, 90, 3)
    assert np.array_equal(kept["test_snapshots"][-1], kept["test"])
    assert not np.array_equal(kept["test_snapshots"][0], kept["test"])
    assert kept_arrays(result.config, "f") <= set(kept)
    one, plain = train(small(snapshots=1), blobs), train(small(), blobs)
    assert numbers(one) == numbers(plain), "one cycle is one schedule"


# Predictions that are kept


def test_kept_arrays_are_all_there(blobs):
    for fields in ({}, {"bootstrap": True}, {"p_drop": 0.5, "mc_samples": 3}):
        result = train(small(**fields), blobs, ood=("rotated", blobs.test_inputs))
        assert kept_arrays(result.config, "rotated") <= set(result.predictions)
        assert not kept_arrays(result.config, "other") <= set(result.predictions)
        assert np.array_equal(result.predictions["foreign-rotated"], result.predictions["test"])
        assert result.predictions["test"].dtype == np.float16


def test_out_of_bag_predictions_are_of_the_images_that_were_not_drawn(blobs):
    config = small(bootstrap=True, member=2)
    result, parts = train(config, blobs), split(blobs, config)
    left_out = parts.train[result.predictions["oob_positions"]]
    assert set(left_out) == set(parts.train) - set(parts.drawn)
    assert np.array_equal(result.predictions["oob_labels"], blobs.train_targets[left_out])
    assert result.cost["train_images"] == len(parts.train)
    assert result.cost["distinct_train_images"] == len(parts.train) - len(left_out)
    assert result.cost["steps"] == 3 * -(-len(parts.drawn) // 32)


def test_the_ladder_ends_with_all_samples():
    assert mc_ladder(1) == (1,)
    assert mc_ladder(7) == (1, 2, 5, 7)
    assert mc_ladder(100) == (1, 2, 5, 10, 20, 50, 100)


def net_and_examples(blobs, config: RunConfig):
    model = build_model((1, 8, 8), 3, config)
    set_streams(model, "mc", 0, 0)
    normalisation = measure(blobs.test_inputs, np.arange(90), CPU)
    return model, ImageExamples(blobs.test_inputs, blobs.test_targets, normalisation, CPU)


def test_averages_of_passes_are_those_of_brute_force(blobs):
    """Consecutive rungs of the ladder give the passes themselves."""
    config = small(p_drop=0.5)
    model, examples = net_and_examples(blobs, config)
    nets = predict_monte_carlo(model, examples, torch.arange(90), "fp32", (1, 2, 3, 4), config)
    counts = torch.arange(1.0, 5)[:, None, None]
    sums = nets.log_mean.double().exp() * counts
    passes = torch.diff(sums, dim=0, prepend=torch.zeros(1, 90, 3))
    torch.testing.assert_close(passes.sum(2), torch.ones(4, 90).double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(nets.mean_log[-1].double(), passes.log().mean(0), rtol=1e-2, atol=1e-3)
    votes = F.one_hot(passes.argmax(2), 3).cumsum(0)
    assert torch.equal(nets.votes, votes)
    torch.testing.assert_close(
        nets.squares[-1].double(), passes.square().sum(2).mean(0), rtol=1e-3, atol=1e-4
    )
    assert (passes[0] - passes[1]).abs().max() > 0.01


@pytest.mark.parametrize("model", ["mlp", "lecture-cnn"])
def test_sharing_what_comes_before_the_masks_changes_nothing_but_the_draws(blobs, model):
    config = RunConfig(model=model, p_drop=0.5, layers=(32, 32) if model == "mlp" else None)
    net, examples = net_and_examples(blobs, config)
    some, samples = torch.arange(30), 400
    shared, alone = (
        predict_monte_carlo(net, examples, some, "fp32", (1, samples), each) for each in (config, None)
    )
    probabilities = [nets.log_mean[-1].exp() for nets in (shared, alone)]
    # Variance of a pass, by class: E P² − (E P)² is at most what all classes have together.
    spread = alone.squares[-1] - probabilities[1].square().sum(1)
    error = (2 * spread.clamp(min=1e-12) / samples).sqrt()[:, None]
    assert ((probabilities[0] - probabilities[1]).abs() < STANDARD_ERRORS * error + 1e-6).all()
    assert (shared.log_mean[0] - predict(net, examples, some, "fp32")).abs().max() > 0.01, "masks are drawn"


# Widths


def test_a_width_scales_channels_and_units():
    half = build_model((3, 16, 16), 10, RunConfig(width=0.5))
    assert [layer.out_channels for layer in half.convolutions] == [32, 64, 128]
    assert [layer.out_features for layer in (*half.hidden, half.output)] == [256, 256, 10]
    thin = build_model((1, 8, 8), 3, small(width=0.001))
    assert [layer.out_features for layer in thin.hidden] == [1, 1]


def test_a_thinned_bootstrap_of_half_the_width_trains(blobs):
    result = train(small(p_drop=0.2, thinned=True, bootstrap=True, width=0.5), blobs)
    assert result.metrics["test_error_percent"] < 20
