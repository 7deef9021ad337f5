"""Data sets for a call: by name, or out of arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.options import OPTIONS, SourceOptions
from dropbench.datasets.registry import prepare
from dropbench.errors import UsageError, unknown_name
from dropbench.run.config import SETTINGS

_SHAPES = "Images are (n, height, width), (n, height, width, channels) or (n, channels, height, width)."
_CHANNELS = (1, 3)


def data(
    source: Any,
    y_train: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    *,
    name: str = "arrays",
    data_dir: Path | str | None = None,
    **options: Any,
) -> DataSet:
    """Return a data set that is ready to train on.

    Args:
        source: a name as ``--data`` takes it ("mnist5k", "cifar10", "folder:PATH"), or the training images,
            an array of uint8, or of numbers from 0 to 1, ``(n, height, width)`` with channels first, last
            or left out.
        y_train: the labels of the training images ``(n,)``, numbers or names.
        x_test: the test images, in the shape of the training images.
        y_test: the labels of the test images.
        name: what results call arrays.
        data_dir: where torchvision's data sets are, or go when downloaded.
        options: how a data set is made of its source: ``image_size``, ``target``, …, the fields of
            dropbench.datasets.options.SourceOptions.

    Raises:
        UsageError: for an unknown name, or arrays that are no images with labels.
        DropbenchError: if a set cannot be fetched, or is damaged.

    """
    if isinstance(source, DataSet):
        if differing := {
            name: value for name, value in options.items() if source.settings.get(name) != value
        }:
            raise UsageError(f"{source} is made already.", f"Leave out `{next(iter(differing))}`.")
        return source
    if isinstance(source, str | Path):
        if not (y_train is None and x_test is None and y_test is None):
            raise UsageError(f"{source} is a data set by itself.", "Leave out the arrays.")
        return prepare(str(source), None if data_dir is None else Path(data_dir), _options(options))
    if y_train is None or x_test is None or y_test is None:
        raise UsageError("Four arrays are needed.", "Write data(x_train, y_train, x_test, y_test).")
    labels = [np.asarray(each).reshape(-1) for each in (y_train, y_test)]
    for images, of, called in ((source, labels[0], "train"), (x_test, labels[1], "test")):
        if len(images) != len(of) or not len(of):
            raise UsageError(f"x_{called} has {len(images)} images, y_{called} has {len(of)} labels.")
    classes, numbers = np.unique(np.concatenate(labels), return_inverse=True)
    found = DataSet(
        name=name,
        train_inputs=_images(source, "x_train"),
        train_targets=numbers[: len(labels[0])].astype(np.int64),
        test_inputs=_images(x_test, "x_test"),
        test_targets=numbers[len(labels[0]) :].astype(np.int64),
        classes=tuple(map(str, classes)),
    )
    found.check()
    return cache.save(found, found.digest())


def _options(told: Mapping[str, Any]) -> SourceOptions:
    for name in told:
        if name not in OPTIONS:
            raise unknown_name("option of a data set", name, OPTIONS)
        SETTINGS[name].check(SETTINGS[name].take(told[name]))
    return SourceOptions(**told)


def _images(array: Any, called: str) -> np.ndarray:
    """Images as uint8 ``(n, channels, height, width)``."""
    images = np.asarray(array)
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in _CHANNELS and images.shape[3] in _CHANNELS:
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in _CHANNELS:
        raise UsageError(f"{called} has the shape {np.shape(array)}.", f"{_SHAPES} Channels are 1 or 3.")
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    if not (np.issubdtype(images.dtype, np.number) or images.dtype == bool):
        raise UsageError(f"{called} holds {images.dtype}.", "Images are uint8, or numbers from 0 to 1.")
    if images.size and not (images.min() >= 0 and images.max() <= 1):  # NaN is neither
        raise UsageError(
            f"{called} holds {images.dtype} from {images.min()} to {images.max()}.",
            "Give uint8 from 0 to 255, or numbers from 0 to 1.",
        )
    return np.ascontiguousarray(np.rint(images * 255.0).astype(np.uint8))
