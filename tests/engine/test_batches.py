"""Normalisation from sums that are kept, and data that are on the device once."""

import gc

import numpy as np
import pytest
import torch

from dropbench.datasets.dataset import pixel_sums
from dropbench.engine import batches
from dropbench.engine.batches import measure, uploaded

CPU = torch.device("cpu")
ELSEWHERE = torch.device("meta")


def from_pixels(images, positions):
    """Mean and deviation from the histogram of all pixels of a channel, as float32."""
    pixels = images[positions].transpose(1, 0, 2, 3).reshape(images.shape[1], -1)
    counts = np.stack([np.bincount(channel, minlength=256) for channel in pixels])
    mean = counts @ np.arange(256) / pixels.shape[1]
    variance = counts @ np.arange(256) ** 2 / pixels.shape[1] - mean**2
    return mean.astype(np.float32), np.where(variance > 0, np.sqrt(variance.clip(0)), 1).astype(np.float32)


GENERATOR = np.random.default_rng(0)
IMAGES = {
    "colour": GENERATOR.integers(0, 256, (3000, 3, 6, 5), dtype=np.uint8),
    "grey": GENERATOR.integers(0, 256, (90, 1, 8, 8), dtype=np.uint8),
    "one constant channel": np.stack([np.full((40, 4, 4), 7), np.arange(640).reshape(40, 4, 4) % 251], 1),
    "one pixel differs": np.eye(1, 1200).reshape(12, 1, 10, 10) * 255,
    "black": np.zeros((5, 3, 2, 2)),
    "white": np.full((5, 3, 2, 2), 255),
}


@pytest.mark.parametrize("name", IMAGES)
def test_normalisation_has_the_bits_of_a_count_of_all_pixels(name):
    images = IMAGES[name].astype(np.uint8)
    sums = pixel_sums(images)
    for positions in (np.arange(len(images)), GENERATOR.permutation(len(images))[: len(images) // 2]):
        for known in (None, sums):
            found = measure(images, positions, CPU, known)
            mean, deviation = from_pixels(images, positions)
            assert np.array_equal(found.mean.numpy().ravel(), mean)
            assert np.array_equal(found.deviation.numpy().ravel(), deviation)


@pytest.fixture
def _no_uploads(monkeypatch):
    monkeypatch.setattr(batches, "_uploads", type(batches._uploads)())


@pytest.mark.usefixtures("_no_uploads")
def test_an_array_is_on_a_device_once_and_as_long_as_it_is_there():
    array, other = np.zeros(3), np.zeros(3)
    first = uploaded(array, ELSEWHERE)
    assert first.device == ELSEWHERE
    assert uploaded(array, ELSEWHERE) is first
    assert uploaded(other, ELSEWHERE) is not first
    assert len(batches._uploads) == 2
    del array
    gc.collect()
    assert len(batches._uploads) == 1


@pytest.mark.usefixtures("_no_uploads")
def test_the_arrays_of_one_data_set_stay_and_those_of_many_do_not():
    def use(arrays):
        return [uploaded(array, ELSEWHERE) for array in arrays]

    one, another = ([np.zeros(2) for _ in range(5)] for _ in range(2))
    before = use(one)
    labels = [np.zeros(2) for _ in range(20)]
    for of_one_run in labels:
        uploaded(of_one_run, ELSEWHERE)
        assert all(new is old for new, old in zip(use(one), before, strict=True))
    use(another)
    assert len(batches._uploads) <= 6
    assert use(one)[0] is not before[0]


def test_on_the_cpu_the_memory_is_shared():
    array = np.zeros(3)
    assert uploaded(array, CPU).data_ptr() == array.ctypes.data
