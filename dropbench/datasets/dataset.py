"""DataSet: images and labels as arrays, with the checks that every source's data must pass."""

import functools
import hashlib
from dataclasses import dataclass

import numpy as np

from dropbench.errors import DropbenchError

ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_CHUNK = 1024  # images whose squares are in memory at once


def pixel_sums(images: np.ndarray) -> np.ndarray:
    """Return the sums of the pixel values of each image and channel, and those of their squares.

    Args:
        images: uint8 ``(examples, channels, height, width)``.

    Returns:
        int64 ``(2, examples, channels)``, which is exact.

    """
    channels, height, width = images.shape[1:]
    sums = np.empty((2, len(images), channels), dtype=np.int64)
    for start in range(0, len(images), _CHUNK):
        part = slice(start, start + _CHUNK)
        pixels = images[part].reshape(-1, channels, height * width)
        sums[0, part] = pixels.sum(axis=2, dtype=np.int64)
        sums[1, part] = np.square(pixels, dtype=np.uint16).sum(axis=2, dtype=np.int64)  # 255² fits
    return sums


@dataclass(frozen=True, repr=False)
class DataSet:
    """A data set in memory, whose arrays must stay as they are: what was computed of them is kept.

    Images are uint8 ``(examples, channels, height, width)`` with 1 or 3 channels. Labels are int64
    ``(examples,)``, counted from 0; ``classes`` has their names.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]
    key: str = ""
    """The digest of the arrays; empty until the data set is saved in the cache."""

    def __repr__(self) -> str:
        """Say how many images of which shape there are."""
        images = f"{len(self.train_labels):,} + {len(self.test_labels):,} images of {self.image_shape}"
        return f"<DataSet {self.name!r}: {images}, {len(self.classes)} classes>"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of one image, ``(channels, height, width)``."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @functools.cached_property
    def pixel_sums(self) -> np.ndarray:
        """The sums of pixel values and squares of the training images, as pixel_sums returns them."""
        return pixel_sums(self.train_images)

    def check(self) -> None:
        """Raise DropbenchError unless the arrays are consistent and a classifier can be trained on them."""
        for split in ("train", "test"):
            images, labels = getattr(self, f"{split}_images"), getattr(self, f"{split}_labels")
            wrong = (
                f"{len(images)} {split} images have {len(labels)} labels"
                if len(images) != len(labels)
                else f"the {split} images have the shape {images.shape}"
                if images.ndim != 4 or images.dtype != np.uint8
                else f"there are no {split} images"
                if len(images) == 0
                else "a label is outside the classes"
                if labels.min() < 0 or labels.max() >= len(self.classes)
                else "train and test images differ in shape"
                if images.shape[1:] != self.train_images.shape[1:]
                else ""
            )
            if wrong:
                raise DropbenchError(f"The data set {self.name} is damaged: {wrong}.", "Fetch it again.")
        if len(np.unique(self.train_labels)) < 2:
            raise DropbenchError(
                f"The data set {self.name} has only one class.", "A classifier needs at least two."
            )
        if len(self.train_images) < 2:
            raise DropbenchError(f"The data set {self.name} has only one training image.", "Add more.")

    def digest(self) -> str:
        """Return 16 hexadecimal digits of the SHA-256 of the arrays; names are not part of it."""
        sha = hashlib.sha256()
        for name in ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            sha.update(f"{name} {array.dtype} {array.shape}".encode())
            sha.update(array.data)
        return sha.hexdigest()[:16]
