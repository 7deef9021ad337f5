"""Test images that are training images as well, which a net may know by heart."""

import logging
from collections.abc import Iterator

import numpy as np

from dropbench.datasets.dataset import DataSet

_log = logging.getLogger(__name__)


def repeated_test_images(data: DataSet) -> int:
    """Count the test images whose every pixel is that of some training image, whatever their labels."""
    known = set(_hashes(data.train_inputs))
    suspects = [place for place, value in enumerate(_hashes(data.test_inputs)) if value in known]
    if not suspects:
        return 0
    wanted = {data.test_inputs[place].tobytes() for place in suspects}
    values = {hash(each) for each in wanted}
    there = {
        content
        for place, value in enumerate(_hashes(data.train_inputs))
        if value in values and (content := data.train_inputs[place].tobytes()) in wanted
    }
    return sum(data.test_inputs[place].tobytes() in there for place in suspects)


def warn_of_repeated_images(data: DataSet) -> None:
    """Log how many test images are training images, too, if any are.

    Rows of a table may be alike by chance.
    """
    if data.columns:
        return
    if count := repeated_test_images(data):
        are = "is a training image" if count == 1 else "are training images"
        _log.warning(
            f"{count:,} of the {len(data.test_inputs):,} test images of {data.name} {are}, too, which a net "
            "may know by heart: the test error is too low. Take them out of one of the two."
        )


def _hashes(images: np.ndarray) -> Iterator[int]:
    return (hash(image.tobytes()) for image in images)
