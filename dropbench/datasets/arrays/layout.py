"""The layout of an array of inputs: where the channels of images are, or that it is a table."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dropbench.datasets.arrays.stored import Stored
from dropbench.datasets.column import MOST_FEATURES
from dropbench.errors import DropbenchError

_SHAPES = (
    "Images are (n, height, width), (n, height, width, channels) or (n, channels, height, width); a table is "
    "(n, features)."
)
_USUAL = (1, 3)  # channels


@dataclass(frozen=True)
class Layout:
    """The meaning of the axes of an array of inputs."""

    shape: tuple[int, ...]
    """The shape of an example: ``(channels, height, width)``, or ``(features,)``."""
    channels_last: bool = False
    note: str = ""
    """A sentence on how it was found, where a user should know."""

    @property
    def features(self) -> int:
        """The columns of a table; 0 for images."""
        return self.shape[0] if len(self.shape) == 1 else 0

    @property
    def noun(self) -> str:
        """The word for several examples."""
        return "rows" if self.features else "images"

    def bytes_of_value(self, dtype: np.dtype[Any]) -> int:
        """How many bytes a value of the data set takes whose array has this type."""
        return 8 if self.features else 1 if dtype == np.uint8 else 4

    def is_ready(self, array: np.ndarray) -> bool:
        """Whether the values of an array lie as those of a data set do."""
        return array.flags.c_contiguous and not self.channels_last

    def arranged(self, examples: np.ndarray) -> np.ndarray:
        """Return examples in the shape of a data set's."""
        if self.channels_last:
            return examples.transpose(0, 3, 1, 2)
        return examples.reshape(len(examples), *self.shape)


def layout_of(inputs: Stored) -> Layout:
    """Return the layout of an array, as its shape tells it.

    One axis with 1 or 3 entries, the second or the last, has the channels; the second where both have. Else
    the shorter one of the two, which is told.

    Raises:
        DropbenchError: if it is no array of images or of the rows of a table.

    """
    name, shape = inputs.name, inputs.shape
    if inputs.dtype.kind not in "buif":
        what = "text" if inputs.dtype.kind in "US" else inputs.dtype
        raise DropbenchError(f"{name} holds {what}.", "Inputs are numbers.")
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise DropbenchError(f"{name} has the shape {shape}.", _SHAPES)
    if len(shape) == 2:
        if shape[1] > MOST_FEATURES:
            raise DropbenchError(
                f"{name} has {shape[1]:,} features, more than the {MOST_FEATURES:,} that are taken.",
                "Take out the features that matter least.",
            )
        return Layout(shape[1:])
    if len(shape) == 3:
        return Layout((1, *shape[1:]))
    first, last = shape[1], shape[3]
    if (first in _USUAL) != (last in _USUAL):
        is_last, note = last in _USUAL, ""
    elif first == last and first not in _USUAL:
        raise DropbenchError(
            f"{name} has the shape {shape}, and which axis has the channels is not to be seen.",
            f"{_SHAPES} Volumes are not taken.",
        )
    else:
        is_last = last < first and last not in _USUAL
        channels, axis = (last, "last") if is_last else (first, "second")
        note = f"{name} {shape} is taken as images with {channels} channels, which the {axis} axis has."
    found = (last, *shape[1:3]) if is_last else shape[1:]
    return Layout(found, channels_last=is_last, note=note.replace(" 1 channels", " 1 channel"))
