"""The columns of a table, as they are stored and as a net sees them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

LARGEST = float(np.finfo(np.float32).max)
"""The largest number that is taken: the square of one beyond the root of float64 is infinite."""
MOST_FEATURES = 100_000
"""The most columns of a table, and the most features that a net sees of it."""


@dataclass(frozen=True)
class Column:
    """A column of a table, whose cells are float64.

    A number is itself. A category is its place in ``categories``, counted from 0; one that the training rows
    lack is ``len(categories)``. A missing cell is NaN.
    """

    name: str
    categories: tuple[str, ...] = ()
    """The values of a column of text; empty for a column of numbers."""
    missing: bool = False
    """Whether a cell is missing in any training row."""

    @property
    def features(self) -> int:
        """How many values a net sees of it: one, or one a category; one more where cells are missing."""
        return max(1, len(self.categories)) + self.missing


def features_of(columns: Iterable[Column]) -> int:
    """Return the number of features of a table with these columns."""
    return sum(column.features for column in columns)
