"""The encoding of a table, from its columns to the features that a net sees."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dropbench.datasets.column import Column

_FARTHEST = 1e6
"""The most deviations from the mean that a number has, so that outputs are finite whatever a cell holds."""


class TableEncoder:
    """The transformers of a table's columns, fitted on some rows alone.

    A missing number is the median of the rows; then numbers have mean 0 and variance 1 there. A category is
    one-hot, and all 0 where it is missing. A column that has missing cells has a feature that flags them
    with a 1. What is constant in the rows tells nothing of them and is 0 in all others: a category that none
    of the rows has, say, is as one that is not known. All is done by scikit-learn's transformers.

    Args:
        columns: the columns of the table.
        rows: float64 ``(rows, columns)``; see Column.

    """

    def __init__(self, columns: Sequence[Column], rows: np.ndarray) -> None:
        self._transformer = _transformer(columns).fit(rows)
        features = self._transformer.transform(rows)
        self._informative = np.ptp(features, axis=0) > 0

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of rows ``(rows, columns)`` of the same table, float32 ``(rows, features)``."""
        features = self._transformer.transform(rows)
        features = np.where(self._informative, features, 0).clip(-_FARTHEST, _FARTHEST)
        return features.astype(np.float32)


def _transformer(columns: Sequence[Column]) -> Any:
    # Here: scikit-learn takes a second to import, and runs on images do without.
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = [place for place, column in enumerate(columns) if not column.categories]
    categories = [place for place, column in enumerate(columns) if column.categories]
    missing = [place for place, column in enumerate(columns) if column.missing]
    known = [np.arange(len(columns[place].categories), dtype=float) for place in categories]
    standardise = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    one_hot = OneHotEncoder(categories=known, handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer(
        [
            ("numbers", standardise, numbers),
            ("categories", one_hot, categories),
            ("missing", MissingIndicator(features="all"), missing),
        ]
    )
