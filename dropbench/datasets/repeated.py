"""Test examples that are training examples as well, which a net may know by heart."""

import logging
from collections.abc import Iterator

import numpy as np

from dropbench.datasets.dataset import DataSet

_log = logging.getLogger(__name__)
_AT_ONCE = 256  # examples, few enough that images of them need no memory worth naming


def repeated_test_images(data: DataSet) -> int:
    """Count the test images whose every pixel is that of some training image, whatever their labels.

    Of a table they are the rows whose every cell is; missing cells are equal.
    """
    known = set(_hashes(data.train_inputs))
    suspects = [place for place, value in enumerate(_hashes(data.test_inputs)) if value in known]
    if not suspects:
        return 0
    wanted = {_content(data.test_inputs[place]) for place in suspects}
    values = {hash(each) for each in wanted}
    there = {
        content
        for place, value in enumerate(_hashes(data.train_inputs))
        if value in values and (content := _content(data.train_inputs[place])) in wanted
    }
    return sum(_content(data.test_inputs[place]) in there for place in suspects)


def warn_of_repeated_images(data: DataSet) -> None:
    """Log how many test images are training images, too, if any are; or so of rows."""
    count = repeated_test_images(data)
    if not count:
        return
    of = f"{count:,} of the {len(data.test_inputs):,} test {data.noun} of {data.name}"
    if data.columns:  # other examples than those of training can have the same few numbers
        _log.warning(
            f"{of} {'is' if count == 1 else 'are'} equal to a training row. Where this is the same example "
            "twice, a net may know it by heart and the test error is too low: take it out of one of the two."
        )
    else:
        _log.warning(
            f"{of} {'is a training image' if count == 1 else 'are training images'}, too, which a net may "
            "know by heart: the test error is too low. Take them out of one of the two."
        )


def _hashes(inputs: np.ndarray) -> Iterator[int]:
    for start in range(0, len(inputs), _AT_ONCE):
        yield from (hash(example.tobytes()) for example in _plain(inputs[start : start + _AT_ONCE]))


def _content(example: np.ndarray) -> bytes:
    """Return the bytes of an example; equal numbers have the same, and so have missing ones."""
    return _plain(example).tobytes()


def _plain(inputs: np.ndarray) -> np.ndarray:
    """Return inputs of which equal numbers have the same bytes: there are two zeros, and many NaNs."""
    return np.where(np.isnan(inputs), np.nan, inputs + 0.0) if inputs.dtype.kind == "f" else inputs
