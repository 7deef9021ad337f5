"""DataSet: inputs and targets as arrays, with the checks that every source's data must pass."""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dropbench.catalog.models import IMAGES, TABLE, InputShape
from dropbench.datasets.column import Column, features_of
from dropbench.errors import DropbenchError
from dropbench.run.blocks.data import CLASSIFICATION, REGRESSION

ARRAYS = ("train_inputs", "train_targets", "test_inputs", "test_targets")
# The names by which digests know the arrays: recorded digests depend on them.
_DIGESTED = ("train_images", "train_labels", "test_images", "test_labels")
_CHUNK = 1 << 23  # pixel values whose squares are in memory at once


def pixel_sums(images: np.ndarray) -> np.ndarray:
    """Return the sums of the pixel values of each image and channel, and those of their squares.

    Args:
        images: uint8 or float32 ``(examples, channels, height, width)``.

    Returns:
        ``(2, examples, channels)``: of bytes int64, which is exact; else float64.

    """
    channels, height, width = images.shape[1:]
    bytes_ = images.dtype == np.uint8
    sums = np.empty((2, len(images), channels), dtype=np.int64 if bytes_ else np.float64)
    step = max(1, _CHUNK // (channels * height * width))
    for start in range(0, len(images), step):
        part = slice(start, start + step)
        pixels = images[part].reshape(-1, channels, height * width)
        sums[0, part] = pixels.sum(axis=2, dtype=sums.dtype)
        squares = np.square(pixels, dtype=np.uint16 if bytes_ else np.float64)  # 255² fits
        sums[1, part] = squares.sum(axis=2, dtype=sums.dtype)
    return sums


@dataclass(frozen=True, repr=False)
class DataSet:
    """A data set in memory, whose arrays must stay as they are: what was computed of them is kept.

    Inputs are images or the rows of a table. Images are ``(examples, channels, height, width)``, uint8 from 0
    to 255 or float32 of any range. A table is float64 ``(examples, columns)``, not encoded yet: see
    Column. Targets ``(examples,)`` are labels in int64, counted from 0, whose names are ``classes``; of a
    regression numbers in float32, and ``classes`` is empty.
    """

    name: str
    train_inputs: np.ndarray
    train_targets: np.ndarray
    test_inputs: np.ndarray
    test_targets: np.ndarray
    classes: tuple[str, ...]
    key: str = ""
    """The digest of the arrays; empty until the data set is saved in the cache."""
    columns: tuple[Column, ...] = ()
    """The columns of a table; empty for images."""
    validation: int = 0
    """The number of training examples, the last ones, that are the validation split of every run; 0: each run
    has one of its own by its seed."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """Sentences on how it was made of its source that a user should know."""
    told: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """The settings of a run by which the data set was made of its source, by their names."""

    def __repr__(self) -> str:
        """Say how many examples of which shape there are."""
        examples = (
            f"{len(self.train_targets):,} + {len(self.test_targets):,} {self.noun} of {self.input_shape}"
        )
        of = "a number as target" if self.task == REGRESSION else f"{len(self.classes)} classes"
        return f"<DataSet {self.name!r}: {examples}, {of}>"

    @property
    def inputs(self) -> str:
        """The kind of the inputs: images, or a table."""
        return TABLE if self.columns else IMAGES

    @property
    def noun(self) -> str:
        """The word for several examples."""
        return "rows" if self.columns else "images"

    @property
    def task(self) -> str:
        """The task: classification, or regression."""
        return CLASSIFICATION if self.classes else REGRESSION

    @property
    def outputs(self) -> int:
        """The number of outputs that a net for these targets has: one for each class, or one."""
        return len(self.classes) or 1

    @property
    def input_shape(self) -> InputShape:
        """The shape of an example as a net sees it."""
        if self.columns:
            return (features_of(self.columns),)
        return tuple(self.train_inputs.shape[1:])

    @functools.cached_property
    def pixel_sums(self) -> np.ndarray:
        """The sums of pixel values and squares of the training images, as pixel_sums returns them."""
        return pixel_sums(self.train_inputs)

    @functools.cached_property
    def white(self) -> float | None:
        """The pixel value that is 1 where values go from 0 to 1: 255 of bytes, 1 of numbers in 0 to 1.

        None of images of other numbers, which have no such value.
        """
        if self.train_inputs.dtype == np.uint8:
            return 255.0
        between = (
            self.train_inputs.min(),
            self.train_inputs.max(),
            self.test_inputs.min(),
            self.test_inputs.max(),
        )
        return 1.0 if min(between) >= 0 and max(between) <= 1 else None

    def called(self, name: str, told: Mapping[str, Any]) -> "DataSet":
        """The same data under another name, made of their source by other settings."""
        other = replace(self, name=name, told=told)
        if "pixel_sums" in vars(self):
            vars(other)["pixel_sums"] = self.pixel_sums
        return other

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a run on these data that say what they are, and how they were made."""
        return {
            **self.told,
            "data": self.name,
            "data_key": self.key,
            "inputs": self.inputs,
            "task": self.task,
        }

    def check(self) -> None:
        """Raise DropbenchError unless the arrays are consistent and a net can be trained on them."""
        for split in ("train", "test"):
            if wrong := self._fault(
                split, getattr(self, f"{split}_inputs"), getattr(self, f"{split}_targets")
            ):
                raise DropbenchError(f"The data set {self.name} is damaged: {wrong}.", "Fetch it again.")
        if len(self.train_inputs) - self.validation < 2:
            raise DropbenchError(
                f"The data set {self.name} has only one training {self.noun.removesuffix('s')}.", "Add more."
            )
        if self.task == REGRESSION:
            if np.ptp(self.train_targets) == 0:
                raise DropbenchError(
                    f"All targets of {self.name} are the same number.", "There is nothing to learn."
                )
        elif len(np.unique(self.train_targets)) < 2:
            raise DropbenchError(
                f"The data set {self.name} has only one class.", "A classifier needs at least two."
            )

    def check_classes(self) -> None:
        """Raise DropbenchError for a class with one training example, which leaves none to validate with."""
        if not self.classes:
            return
        training = self.train_targets[: len(self.train_targets) - self.validation]
        alone = np.flatnonzero(np.bincount(training, minlength=len(self.classes)) == 1)
        if len(alone):
            raise DropbenchError(
                f"The class {self.classes[alone[0]]!r} of {self.name} has only one training example, and "
                "needs another one to validate with.",
                "Add examples, or take the class out.",
            )

    def _fault(self, split: str, inputs: np.ndarray, targets: np.ndarray) -> str:
        noun = self.noun
        fits = (
            inputs.ndim == 2 and inputs.dtype == np.float64 and inputs.shape[1] == len(self.columns)
            if self.columns
            else inputs.ndim == 4 and inputs.dtype in (np.uint8, np.float32)
        )
        if len(inputs) != len(targets):
            return f"{len(inputs)} {split} {noun} have {len(targets)} targets"
        if not fits:
            return f"the {split} {noun} have the shape {inputs.shape} and are {inputs.dtype}"
        if len(inputs) == 0:
            return f"there are no {split} {noun}"
        if self.classes and (targets.min() < 0 or targets.max() >= len(self.classes)):
            return "a label is outside the classes"
        if not np.isfinite(targets).all():
            return f"a {split} target is not finite"
        if inputs.shape[1:] != self.train_inputs.shape[1:]:
            return f"train and test {noun} differ in shape"
        return ""

    def digest(self) -> str:
        """Return 16 hexadecimal digits of the SHA-256 of the arrays and of what else a net depends on.

        Names are not part of it. Images without a validation split of their own have that of their arrays
        alone.
        """
        sha = hashlib.sha256()
        for name, array_name in zip(_DIGESTED, ARRAYS, strict=True):
            array = np.ascontiguousarray(getattr(self, array_name))
            sha.update(f"{name} {array.dtype} {array.shape}".encode())
            sha.update(array.data)
        if self.columns or self.validation:
            kinds = [len(column.categories) for column in self.columns]
            sha.update(json.dumps([kinds, self.validation]).encode())
        return sha.hexdigest()[:16]
