"""Augmentation: which images a training step sees, and that nothing else sees any but the data's own."""

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from dropbench.datasets.dataset import DataSet
from dropbench.engine.augmentation import Augmentation
from dropbench.engine.batches import ImageExamples, measure, pixel_values
from dropbench.engine.run import Run
from dropbench.engine.stack import stacks
from dropbench.engine.train import train
from dropbench.engine.turns import to_its_end
from dropbench.errors import UsageError
from dropbench.kernels import compiled
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")
SMALL = {"epochs": 2, "batch_size": 80, "p_drop": 0.5}
MLP = {"model": "mlp", "layers": (16,), **SMALL}
SETS = ("flip", "crop", "flip,crop")


def seen_in_training(config: RunConfig, data: DataSet, epochs: int = 1) -> list[torch.Tensor]:
    """The inputs of the net in each pass of the training steps."""
    run, seen = Run.prepare(config, data, CPU), []
    run.model.register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))
    for _ in range(epochs):
        to_its_end(run.train_epoch())
    return seen


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(ours, theirs) for ours, theirs in zip(one, other, strict=True))


# What a step sees


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("augment", SETS)
def test_what_is_seen_is_the_same_for_any_threads_and_with_or_without_kernels(augment, precision, blobs):
    config = RunConfig(**MLP, augment=augment, precision=precision)
    before, seen = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            seen.append(seen_in_training(config, blobs))
    finally:
        torch.set_num_threads(before)
    with compiled.switched_off():
        by_torch = seen_in_training(config, blobs)
    assert equal(seen[0], seen[1])
    assert equal(seen[0], [images.to(seen[0][0].dtype) for images in by_torch])  # which are never in bf16


def test_each_seed_member_and_epoch_sees_other_images(blobs):
    def differences(**fields: object) -> torch.Tensor:
        """The images of two epochs, each at its own place in the data set."""
        config = RunConfig(**MLP, augment="flip,crop", precision="fp32", **fields)
        run, found = Run.prepare(config, blobs, CPU), []
        for _ in range(2):
            order = run.parts.drawn[run.order.permutation(len(run.parts.drawn))]
            images = torch.zeros(240, 1, 8, 8)
            for part in torch.split(torch.from_numpy(order), 80):
                images[part] = run.step._batch(part)[0]
            found.append(images)
        return torch.cat(found)

    images = [differences(), differences(seed=1), differences(member=1)]
    assert torch.equal(images[0], differences())
    first, second = images[0].split(240)
    for one, other in (*itertools.combinations(images, 2), (first, second)):
        drawn = (one != 0).flatten(1).any(1) & (other != 0).flatten(1).any(1)
        same = (one == other).flatten(1).all(1)[drawn].float().mean()
        # Mirrored alike with 1/2, and moved alike with (1/3)²: blobs have 8 × 8 pixels.
        assert drawn.sum() > 100
        assert same < 1 / 18 + 4 * (1 / 18 / int(drawn.sum())) ** 0.5


def test_images_are_mirrored_half_the_time_and_every_place_is_as_likely():
    """A single bright pixel tells what became of its image."""
    side, count = 32, 20_000
    images = np.zeros((1, 1, side, side), np.uint8)
    images[0, 0, 12, 9] = 255
    examples = ImageExamples(images, np.zeros(1, np.int64), pixel_values(1, CPU), CPU)
    augmentation = Augmentation.of(RunConfig(augment="flip,crop"))
    seen, _ = augmentation.batch(examples, torch.zeros(count, dtype=torch.int64))
    places = seen.flatten(1).argmax(1)
    rows, columns = (places // side).numpy(), (places % side).numpy()
    mirrored = columns > side // 2
    assert stats.binomtest(int(mirrored.sum()), count, 0.5).pvalue > 1e-3
    moved = np.where(mirrored, side - 1 - columns, columns)
    for found, at in ((rows, 12), (moved, 9)):
        values, counts = np.unique(found - at, return_counts=True)
        assert values.tolist() == list(range(-4, 5))
        assert stats.chisquare(counts).pvalue > 1e-3
    assert abs(stats.spearmanr(rows, moved).statistic) < 4 / count**0.5


@pytest.mark.parametrize("pixels", ["unit", "standardised"])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_comes_in_at_the_edge_is_black_as_the_net_sees_it(channels, pixels):
    generator = np.random.default_rng(0)
    images = generator.integers(100, 256, (50, channels, 16, 16), dtype=np.uint8)
    normalisation = (
        measure(images, np.arange(50), CPU) if pixels == "standardised" else pixel_values(channels, CPU)
    )
    black = (0 - normalisation.mean) / normalisation.deviation
    for of in (images, images.astype(np.float32)):
        examples = ImageExamples(of, np.zeros(50, np.int64), normalisation, CPU)
        seen, _ = Augmentation.of(RunConfig(augment="crop")).batch(examples, torch.arange(50))
        edge = seen[:, :, 0, :]
        whole = (edge == black.view(channels, 1)).all(2).all(1)
        assert 0 < int(whole.sum()) < 50
        assert int((seen == black).flatten(2).any(2).all(1).sum()) > 40, "all but those that are not moved"
        assert seen.is_contiguous(memory_format=torch.channels_last)
        assert images.min() >= 100


def test_both_passes_of_boosting_see_the_same_images(blobs):
    seen = seen_in_training(RunConfig(**MLP, augment="flip,crop", joint=True), blobs)
    assert len(seen) == 6
    assert equal(seen[::2], seen[1::2])


def test_an_autoencoder_reconstructs_what_it_sees(blobs):
    run = Run.prepare(RunConfig(model="autoencoder", layers=(12,), augment="crop", **SMALL), blobs, CPU)
    seen, wanted = [], []

    class Spy(type(run.task)):
        def loss(self, outputs, images, labels):
            wanted.append(images.clone())
            return super().loss(outputs, images, labels)

    run.step.task = Spy()
    run.model.register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))
    to_its_end(run.train_epoch())
    assert equal(seen, wanted)
    assert any((images[:, :, 0] == 0).flatten(1).all(1).any() for images in wanted)


# What nothing else sees


@pytest.mark.parametrize(
    "fields",
    [{"mc_samples": 2, "bootstrap": True}, {"snapshots": 2, "kl_sparsity": 1e-3}, {"joint": True}],
    ids=lambda fields: next(iter(fields)),
)
def test_only_training_steps_augment(fields, blobs, monkeypatch):
    asked = []
    augmented = ImageExamples.augmented

    def spy(examples, positions, *how):
        asked.append(len(positions))
        return augmented(examples, positions, *how)

    monkeypatch.setattr(ImageExamples, "augmented", spy)
    result = train(
        RunConfig(**MLP, augment="flip", **fields), blobs, panel=True, ood=("twice", blobs.test_inputs)
    )
    assert result.status == "ok"
    assert asked == [80, 80, 56] * 2


def test_the_figures_are_those_of_the_data_as_they_are(blobs):
    """The training error of the table is of the images, that of an epoch of what its steps saw."""
    config = RunConfig(**{**MLP, "epochs": 8}, augment="crop", precision="fp32", learning_rate=0.01)
    result = train(config, blobs)
    run = Run.prepare(config, blobs, CPU)
    for _ in range(8):
        to_its_end(run.epoch())
    run.model.eval()
    for name, split in (("train", run.trained_on()), ("val", run.validation)):
        images = torch.from_numpy(blobs.train_inputs)[split.positions].float()
        seen = (images - run.prepared.normalisation.mean) / run.prepared.normalisation.deviation
        wrong = (run.model(seen).argmax(1) != split.targets).float().mean()
        assert result.metrics[f"{name}_error_percent"] == pytest.approx(100 * wrong.item(), abs=1e-4)


def test_runs_without_it_have_no_draw_and_no_copy(blobs):
    run = Run.prepare(RunConfig(**MLP), blobs, CPU)
    assert run.step.augmentation is None
    positions = torch.arange(5)
    assert equal(list(run.step._batch(positions)), list(run.train_examples.batch(positions)))


def test_a_run_that_augments_is_no_part_of_a_stack():
    assert stacks(RunConfig(model="mlp"))
    assert not stacks(RunConfig(model="mlp", augment="flip"))


def test_it_is_part_of_the_run():
    plain = RunConfig(**MLP)
    assert plain.run_id == RunConfig(**MLP, augment="none").run_id
    assert len({plain.replace(augment=each).run_id for each in ("none", *SETS)}) == 4


@pytest.mark.parametrize("wrong", ["rotate", "flip,flip", "crop,flip", "none,flip", "", "flip,"])
def test_what_is_no_augmentation_is_refused(wrong):
    with pytest.raises(UsageError, match="`augment` is"):
        RunConfig(augment=wrong)


def test_a_table_has_no_images_to_augment():
    with pytest.raises(UsageError, match="A table has no images for `augment`"):
        RunConfig(inputs="table", augment="flip")
