"""Data sets for a call: by name, or out of arrays."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dropbench.catalog.forms import OF_ARRAYS
from dropbench.datasets import cache
from dropbench.datasets.arrays.data_set import data_set
from dropbench.datasets.arrays.stored import Stored
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.options import OPTIONS, SourceOptions
from dropbench.datasets.registry import prepare
from dropbench.errors import DropbenchError, UsageError, unknown_name
from dropbench.run.config import SETTINGS

_log = logging.getLogger(__name__)


def data(
    source: Any,
    y_train: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    *,
    x_val: Any = None,
    y_val: Any = None,
    name: str = "arrays",
    data_dir: Path | str | None = None,
    **options: Any,
) -> DataSet:
    """Return a data set that is ready to train on.

    Args:
        source: a name as ``--data`` takes it ("mnist5k", "cifar10", "npz:FILE"), or the training inputs, an
            array. Images are ``(n, height, width)`` with channels first, last or left out; uint8, numbers
            from 0 to 1, which are rounded to uint8, or any other numbers, which become float32. A table is
            ``(n, features)``.
        y_train: the targets of the training examples: labels ``(n,)``, numbers or names, or one-hot ``(n,
            classes)``; with ``task="regression"`` numbers.
        x_test: the test inputs, in the shape of the training inputs. Without them ``test_share`` of the
            training examples are held out.
        y_test: the targets of the test examples.
        x_val: the inputs of a validation split; without them each seed has one of its own.
        y_val: the targets of the validation examples.
        name: what results call arrays.
        data_dir: where torchvision's data sets are, or go when downloaded.
        options: how a data set is made of its source: ``image_size``, ``target``, …, the fields of
            dropbench.datasets.options.SourceOptions.

    Raises:
        UsageError: for an unknown name, or arrays that are no examples with targets.
        DropbenchError: if a set cannot be fetched, or is damaged.

    """
    if isinstance(source, DataSet):
        if differing := {
            name: value for name, value in options.items() if source.settings.get(name) != value
        }:
            raise UsageError(f"{source} is made already.", f"Leave out `{next(iter(differing))}`.")
        return source if source.key else _kept(source)
    if isinstance(source, str | Path):
        if any(array is not None for array in (y_train, x_test, y_test, x_val, y_val)):
            raise UsageError(f"{source} is a data set by itself.", "Leave out the arrays.")
        return prepare(str(source), None if data_dir is None else Path(data_dir), options_of(options))
    given = {"x_train": source, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    given |= {"x_val": x_val, "y_val": y_val}
    there = {called: array for called, array in given.items() if array is not None}
    if "y_train" not in there:
        raise UsageError(
            "Four arrays are needed, or two, of which some examples are held out as test split.",
            "Write data(x_train, y_train, x_test, y_test), or data(x, y); a table with words is "
            "data('csv:FILE', target=COLUMN).",
        )
    for called, array in there.items():
        if np.ma.is_masked(array):
            raise UsageError(f"{called} has masked values.", "Fill them, or take the examples out.")
    how = options_of(options)
    try:
        arrays = [Stored.of(*each) for each in there.items()]
    except (ValueError, TypeError) as error:  # lists of other lengths, or tensors on a GPU
        raise UsageError(f"The arrays are none that numpy takes: {str(error).rstrip('.')}.") from error
    for option in how.told:
        if option not in OF_ARRAYS:
            raise UsageError(f"Arrays take no `{option}`.", f"They take {' and '.join(sorted(OF_ARRAYS))}.")
    try:
        found = data_set(name, arrays, how, to_bytes=True)
        found.check()
    except DropbenchError as error:
        raise UsageError(error.message, error.hint) from error  # what is wrong is in the call
    for note in found.notes:
        _log.warning(note)
    return cache.save(found).called(name, how.told)


def _kept(data: DataSet) -> DataSet:
    """Save a data set that a caller made, since workers read it from the cache."""
    data.check()
    return cache.save(data)


def options_of(told: Mapping[str, Any]) -> SourceOptions:
    """Return options of a data set, told by their names; raise UsageError for one that there is not."""
    for name in told:
        if name not in OPTIONS:
            raise unknown_name("option of a data set", name, OPTIONS)
    values = {name: SETTINGS[name].take(value) for name, value in told.items()}
    for name, value in values.items():
        SETTINGS[name].check(value)
    return SourceOptions.of(values)
