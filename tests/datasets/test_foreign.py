"""Foreign images made from a test set."""

import numpy as np
import pytest

from dropbench.datasets.ood import DERIVED, ood_images, permuted, rotated


def test_four_quarter_turns_are_none(blobs):
    images = turned = blobs.test_inputs
    for _ in range(4):
        turned = rotated(turned)
    assert np.array_equal(turned, images)
    assert not np.array_equal(rotated(images), images)
    assert rotated(images)[0, 0, 0, 0] == images[0, 0, 0, -1], "counter-clockwise"
    wide = images[:, :, :5]
    assert np.array_equal(rotated(rotated(wide)), wide), "by half a turn, where a quarter would not fit"


def test_a_permutation_keeps_the_pixels_and_is_the_same_for_all_images():
    places = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(np.uint8)
    moved = permuted(places)
    for image, other in zip(places.reshape(6, 20), moved.reshape(6, 20), strict=True):
        assert sorted(image) == sorted(other)
        assert np.array_equal(other - image[0], moved.reshape(6, 20)[0])
    assert not np.array_equal(moved, places)
    assert np.array_equal(permuted(places), moved)


@pytest.mark.parametrize("name", DERIVED)
def test_derived_images_are_of_the_shape_that_nets_take(blobs, name):
    images = ood_images(name, blobs)
    assert (images.shape, images.dtype) == (blobs.test_inputs.shape, np.uint8)
    assert images.flags.c_contiguous


def test_another_set_is_taken_from_the_cache(blobs, digits):
    assert np.array_equal(ood_images(digits.key, blobs), digits.test_inputs)
    absent = "0" * len(digits.key)
    with pytest.raises(OSError, match=absent):
        ood_images(absent, blobs)
