"""Foreign images: what a net was not trained to know, to see whether its uncertainty tells."""

from collections.abc import Callable

import numpy as np

from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet

_PERMUTATION_SEED = 0


def rotated(images: np.ndarray) -> np.ndarray:
    """Images ``(examples, channels, height, width)`` turned by 90°; by 180° where they are not square."""
    square = images.shape[2] == images.shape[3]
    return np.ascontiguousarray(np.rot90(images, 1 if square else 2, axes=(2, 3)))


def permuted(images: np.ndarray) -> np.ndarray:
    """Images with their pixels in one random order, the same for all of them and for their channels."""
    places = np.random.default_rng(_PERMUTATION_SEED).permutation(images.shape[2] * images.shape[3])
    flat = images.reshape(*images.shape[:2], -1)[:, :, places]
    return np.ascontiguousarray(flat.reshape(images.shape))


DERIVED: dict[str, Callable[[np.ndarray], np.ndarray]] = {"rotated": rotated, "permuted": permuted}
"""Made from the test images themselves, for whoever has no other set."""


def ood_images(foreign: str, data: DataSet) -> np.ndarray:
    """The images that ``foreign`` names: one of DERIVED, or the test images of the cached set of that digest.

    Raises:
        OSError, ValueError, EOFError, KeyError: if that set is not in the cache.

    """
    if foreign in DERIVED:
        return DERIVED[foreign](data.test_images)
    return cache.load(foreign).test_images
