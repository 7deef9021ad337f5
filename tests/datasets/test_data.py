"""Data sets: the split, the cache, and what is said of damaged files."""

import contextlib
import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dropbench.datasets import cache
from dropbench.datasets.dataset import ARRAYS, pixel_sums
from dropbench.datasets.options import SourceOptions
from dropbench.datasets.registry import SOURCES, find_source, prepare
from dropbench.datasets.repeated import repeated_test_images
from dropbench.datasets.split import largest_train_size, split, stratified_order
from dropbench.datasets.targets import targets_of
from dropbench.errors import DropbenchError, UsageError
from dropbench.experiments.workbench import Workbench
from dropbench.run.config import RunConfig
from dropbench.run.machine import AUTOMATIC, Machine


def test_embedded_digits_are_4000_and_1000_stratified_and_disjoint(digits):
    assert np.bincount(digits.train_targets).tolist() == [400] * 10
    assert np.bincount(digits.test_targets).tolist() == [100] * 10
    assert digits.input_shape == (1, 28, 28)
    train = {image.tobytes() for image in digits.train_inputs}
    assert sum(image.tobytes() in train for image in digits.test_inputs) == 0
    assert digits.key == "a8f59155f8c1a778", "the same split for ever"


def test_cached_set_is_the_decoded_set(digits):
    again = prepare("mnist5k")
    assert again.key == digits.key == again.digest()
    assert isinstance(again.train_inputs, np.memmap)


def test_damaged_cache_is_decoded_again(digits):
    file = cache.cache_folder() / digits.key / "train_inputs.npy"
    file.write_bytes(file.read_bytes()[:1000])
    assert prepare("mnist5k").digest() == digits.key


def test_a_set_that_is_saved_again_stays_where_others_map_it_unless_it_is_damaged(blobs):
    file = cache.cache_folder() / blobs.key / "test_inputs.npy"
    before = file.stat().st_ino
    assert cache.save(blobs).key == blobs.key
    assert file.stat().st_ino == before
    for damaged in (file.read_bytes()[:-1] + b"?", file.read_bytes()[:500]):
        file.unlink()  # what is mapped must not change
        file.write_bytes(damaged)
        assert cache.save(blobs).digest() == blobs.key


def test_a_set_that_an_older_dropbench_kept_is_kept_anew(blobs):
    folder = cache.cache_folder() / blobs.key
    for part in ("train", "test"):
        (folder / f"{part}_inputs.npy").rename(folder / f"{part}_images.npy")
    cache.keep(blobs)
    assert cache.load(blobs.key).digest() == blobs.key


def test_pixel_sums_are_exact():
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (1100, 3, 2, 5), dtype=np.uint8)
    images[:2] = [[[[255]]], [[[0]]]]
    big = images.astype(object)  # Python's integers have no largest one
    assert np.array_equal(pixel_sums(images), [big.sum(axis=(2, 3)), (big**2).sum(axis=(2, 3))])
    huge = np.full((1, 1, 300, 300), 255, np.uint8)
    assert pixel_sums(huge).ravel().tolist() == [90_000 * 255, 90_000 * 255**2], "more than 32 bits hold"


def test_a_cached_set_has_its_pixel_sums_and_an_older_or_damaged_entry_gets_them(blobs):
    file = cache.cache_folder() / blobs.key / "pixel_sums.npy"
    wanted = pixel_sums(blobs.train_inputs)
    assert np.array_equal(np.load(file), wanted)
    for damage in (b"", b"rubbish", file.read_bytes()[:-9]):
        file.write_bytes(damage)
        assert np.array_equal(cache.load(blobs.key).pixel_sums, wanted)
        assert np.array_equal(np.load(file), wanted)
    file.unlink()
    for other in (wanted[:, 1:], 0 * wanted, wanted[:, ::-1]):
        np.save(file, other)
        assert np.array_equal(cache.load(blobs.key).pixel_sums, wanted)
    assert {each.name for each in file.parent.iterdir()} == {
        "meta.json", "pixel_sums.npy", *(f"{name}.npy" for name in ARRAYS),
    }  # fmt: skip


def test_a_set_made_of_a_cached_one_has_sums_of_its_own(blobs):
    other = replace(blobs, train_inputs=255 - blobs.train_inputs)
    assert np.array_equal(other.pixel_sums, pixel_sums(other.train_inputs))
    assert other.pixel_sums is other.pixel_sums, "computed once"


def test_an_entry_that_cannot_be_written_is_used_without_its_sums(blobs, monkeypatch):
    (cache.cache_folder() / blobs.key / "pixel_sums.npy").unlink()

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("dropbench.datasets.cache.Path.replace", refuse)  # permissions stop no superuser
    assert np.array_equal(cache.load(blobs.key).pixel_sums, pixel_sums(blobs.train_inputs))


@pytest.mark.parametrize("counts", [[50, 50], [90, 9, 1], [3, 200, 40, 7]])
def test_every_prefix_of_a_stratified_order_has_each_class_in_its_share(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    order = stratified_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(len(labels)))
    for size in range(1, len(labels) + 1):
        share = np.bincount(labels[order[:size]], minlength=len(counts)) - size * np.array(counts) / len(
            labels
        )
        assert abs(share).max() <= len(counts) / 2 + 1e-9


def test_split_is_disjoint_complete_and_its_subsets_are_nested(digits):
    labels = digits.train_targets
    whole = split(digits, RunConfig(seed=3))
    assert sorted([*whole.train, *whole.validation]) == list(range(4000))
    assert len(whole.validation) == 400 == 4000 - largest_train_size(4000)
    small, large = (split(digits, RunConfig(seed=3, train_size=n)) for n in (100, 1000))
    assert set(small.train) < set(large.train) < set(whole.train)
    assert np.array_equal(small.validation, whole.validation)
    assert np.bincount(labels[small.train]).tolist() == [10] * 10
    assert not np.array_equal(split(digits, RunConfig(seed=4)).validation, whole.validation)
    with pytest.raises(UsageError, match="3,600"):
        split(digits, RunConfig(train_size=3601))


def test_bootstrap_keeps_duplicates_and_sees_632_in_a_thousand_points(digits):
    members = [split(digits, RunConfig(bootstrap=True, member=m)) for m in range(30)]
    n = len(members[0].train)
    distinct = [len(np.unique(part.drawn)) / n for part in members]
    assert all(len(part.drawn) == n and set(part.drawn) <= set(part.train) for part in members)
    # The share of distinct points has mean 1 − (1 − 1/n)ⁿ and variance about (e⁻¹ − 2e⁻²)/n.
    error = np.sqrt((np.exp(-1) - 2 * np.exp(-2)) / n / len(members))
    assert abs(np.mean(distinct) - (1 - (1 - 1 / n) ** n)) < 5 * error
    assert not np.array_equal(members[0].drawn, members[1].drawn)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_test_images_that_are_training_images_are_counted_and_told(blobs, told, count):
    test = blobs.test_inputs.copy()
    test[:count] = blobs.train_inputs[7 : 7 + count]
    test[-1] = blobs.train_inputs[0]
    test[-1, 0, 0, 0] ^= 1  # one pixel makes another image
    data = replace(blobs, test_inputs=test)
    assert repeated_test_images(data) == count
    Workbench.set_up(data, Machine(device="cpu"))
    assert [f"{count} of the 90 test images" in sentence for sentence in told] == [True] * bool(count)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist_dir(tmp_path):
    """Ten made images in the files of MNIST, laid out as torchvision does."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images = generator.integers(0, 256, (20, 28, 28), dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(20, dtype=np.uint8) % 10))
    return tmp_path


def test_torchvision_set_is_read_from_the_data_directory(mnist_dir):
    data = prepare("mnist", mnist_dir)
    raw = (mnist_dir / "MNIST/raw/train-images-idx3-ubyte").read_bytes()[16:]
    assert data.train_inputs.tobytes() == raw
    assert data.test_targets.tolist() == list(range(10)) * 2


def test_truncated_file_of_a_torchvision_set_is_said(mnist_dir):
    file = mnist_dir / "MNIST/raw/t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DropbenchError, match="corrupt or cut short"):
        prepare("mnist", mnist_dir)
    file.write_bytes(gzip.compress(b"?"))
    with pytest.raises(DropbenchError, match="corrupt or cut short"):
        prepare("mnist", mnist_dir)


ODD = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@ODD
@given(
    name=st.sampled_from(["images-idx3", "labels-idx1"]),
    at=st.integers(0, 400),
    rubbish=st.binary(max_size=30),
)
def test_damaged_files_of_a_set_are_read_or_refused_in_a_sentence(mnist_dir, name, at, rubbish):
    file = mnist_dir / f"MNIST/raw/train-{name}-ubyte"
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + rubbish + whole[at + len(rubbish) :])
    with contextlib.suppress(DropbenchError):
        prepare("mnist", mnist_dir).check()
    file.write_bytes(whole)


def test_labels_that_do_not_fit_the_images_are_said(mnist_dir):
    (mnist_dir / "MNIST/raw/train-labels-idx1-ubyte").write_bytes(idx(np.zeros(5, np.uint8)))
    with pytest.raises(DropbenchError, match="20 train images have 5 targets"):
        prepare("mnist", mnist_dir)


def test_absent_set_without_a_network_says_where_its_files_belong(tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.socket.connect", refuse)
    with pytest.raises(DropbenchError) as caught:
        prepare("fashion-mnist", tmp_path)
    assert str(tmp_path / "FashionMNIST" / "raw") in str(caught.value)
    assert list(tmp_path.iterdir()) == [], "nothing half-written"
    assert "\n" not in str(caught.value)


def test_misspelt_set_gets_a_suggestion():
    with pytest.raises(UsageError, match="Did you mean 'fashion-mnist'"):
        prepare("fashionmnist")
    assert set(SOURCES) == {"mnist5k", "mnist", "fashion-mnist", "kmnist", "cifar10", "cifar100", "svhn"}


def test_a_class_with_one_training_example_is_refused_before_a_run(blobs):
    """Neither the training nor the validation split could have it without the other lacking it."""
    alone = blobs.train_targets.clip(max=1)
    alone[0] = 2
    with pytest.raises(DropbenchError, match="'c'"):
        Workbench.set_up(replace(blobs, train_targets=alone), AUTOMATIC)
    Workbench.set_up(blobs, AUTOMATIC)


@pytest.mark.parametrize("told", ["folder:{}.csv", "parquet:{}.csv", "csv:{}", "npz:{}.csv"])
def test_data_of_another_form_are_told_by_their_ending(tmp_path, told):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    (tmp_path / "t").mkdir()
    with pytest.raises(UsageError, match=rf"data={'csv' if told.endswith('.csv') else 'folder'}:"):
        find_source(told.format(tmp_path / "t"))


def test_targets_that_float32_cannot_tell_apart_are_refused():
    numbers = 1e9 + 0.01 * np.arange(50)
    with pytest.raises(DropbenchError, match="Subtract"):
        targets_of({"y": numbers}, regression=True)
    (kept,), classes, _ = targets_of({"y": numbers - 1e9}, regression=True)
    assert classes == ()
    np.testing.assert_allclose(kept, 0.01 * np.arange(50), atol=1e-6)


def test_an_option_that_is_told_its_usual_value_is_told():
    """An option that cannot be followed is refused, whatever its value; untold it is as it is."""
    assert prepare("sklearn:diabetes").task == "regression"
    with pytest.raises(UsageError, match="task=classification"):
        prepare("sklearn:diabetes", options=SourceOptions.of({"task": "classification"}))


@pytest.mark.parametrize(("told", "text"), [(64, "64"), ((64, 96), "64x96"), ("64x96", "64x96"), ("", "")])
def test_a_size_may_be_a_number(told, text):
    assert RunConfig(image_size=told).data.image_size == text
