"""Out-of-distribution images or rows, for which a net's predictions should be uncertain."""

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

    Of another table they are its test rows, with the columns of ``data``.

    Raises:
        OSError, ValueError, EOFError, KeyError: if that data set is not in the cache.

    """
    if ood in DERIVED:
        return DERIVED[ood](data.test_inputs)
    other = cache.load(ood)
    return with_columns_of(data, other) if data.columns else other.test_inputs


def with_columns_of(data: DataSet, other: DataSet) -> np.ndarray:
    """Return the test rows of another table with the columns of ``data``, float64 ``(rows, columns)``.

    A category that the training rows of ``data`` lack is none of theirs; see Column.

    Raises:
        KeyError: if the other table lacks a column, or has numbers where ``data`` has categories; see
            columns_apart.

    """
    if apart := columns_apart(data, other):
        raise KeyError(apart[0])
    places = {column.name: place for place, column in enumerate(other.columns)}
    rows = np.empty((len(other.test_inputs), len(data.columns)))
    for place, column in enumerate(data.columns):
        theirs = other.columns[places[column.name]]
        cells = rows[:, place] = other.test_inputs[:, places[column.name]]
        if column.categories:
            numbers = {name: float(number) for number, name in enumerate(column.categories)}
            none = float(len(column.categories))
            ours = np.array([*(numbers.get(name, none) for name in theirs.categories), none])
            there = ~np.isnan(cells)
            rows[there, place] = ours[cells[there].astype(int)]
    return rows


def columns_apart(data: DataSet, other: DataSet) -> list[str]:
    """Return the names of the columns of ``data`` that another table lacks, or has of another kind."""
    kinds = {column.name: bool(column.categories) for column in other.columns}
    return [each.name for each in data.columns if kinds.get(each.name) is not bool(each.categories)]
