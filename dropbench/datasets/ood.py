"""Out-of-distribution images, for which a net's predictions should be uncertain."""

from collections.abc import Callable

import numpy as np

from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet

_PERMUTATION_SEED = 0


def rotated(images: np.ndarray) -> np.ndarray:
    """Return images ``(examples, channels, height, width)`` rotated by 90°, or by 180° if not square."""
    square = images.shape[2] == images.shape[3]
    return np.ascontiguousarray(np.rot90(images, 1 if square else 2, axes=(2, 3)))


def permuted(images: np.ndarray) -> np.ndarray:
    """Return the images with their pixels in random order, the same for all images and channels."""
    places = np.random.default_rng(_PERMUTATION_SEED).permutation(images.shape[2] * images.shape[3])
    flat = images.reshape(*images.shape[:2], -1)[:, :, places]
    return np.ascontiguousarray(flat.reshape(images.shape))


DERIVED: dict[str, Callable[[np.ndarray], np.ndarray]] = {"rotated": rotated, "permuted": permuted}
"""Out-of-distribution images that are made from the test images, so no second data set is needed."""


def ood_images(ood: str, data: DataSet) -> np.ndarray:
    """Return the images that ``ood`` names: one of DERIVED, or the digest of a cached data set (test images).

    Raises:
        OSError, ValueError, EOFError, KeyError: if that data set is not in the cache.

    """
    if ood in DERIVED:
        return DERIVED[ood](data.test_inputs)
    return cache.load(ood).test_inputs
