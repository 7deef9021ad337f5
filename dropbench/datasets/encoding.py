"""The encoding of a table, from its columns to the features that a net sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from dropbench.datasets.column import Column, features_of

_FARTHEST = 1e6
"""The most deviations from the mean that a number has, so that outputs are finite whatever a cell holds."""


@dataclass(frozen=True)
class TableEncoder:
    """The encoding of a table's columns, fitted on some rows alone.

    A missing number is the median of the rows; then numbers have mean 0 and variance 1 there. A category is
    one-hot, and all 0 where it is missing. A column that has missing cells has a feature that flags them
    with a 1. What is constant in the rows tells nothing of them and is 0 in all others: a category that none
    of the rows has, say, is as one that is not known. Features are in this order: numbers, categories, flags.

    Its fields are plain numbers, so that it can be kept with a net.
    """

    columns: tuple[Column, ...]
    medians: np.ndarray
    """The medians of the columns of numbers, ``(numbers,)``, as are their means and deviations."""
    means: np.ndarray
    deviations: np.ndarray
    informative: np.ndarray
    """Whether each feature varies in the rows, ``(features,)``."""

    @classmethod
    def fitted(cls, columns: Sequence[Column], rows: np.ndarray) -> Self:
        """Return the encoder fitted by scikit-learn's transformers on ``rows`` ``(rows, columns)``."""
        transformer = _transformer(columns).fit(rows)
        medians = means = deviations = np.empty(0)
        if any(not column.categories for column in columns):
            imputer, scaler = (step for _, step in transformer.named_transformers_["numbers"].steps)
            medians, means, deviations = imputer.statistics_, scaler.mean_, scaler.scale_
        everything = np.ones(features_of(columns), dtype=bool)
        made = cls(tuple(columns), medians, means, deviations, everything)
        return cls(made.columns, medians, means, deviations, np.ptp(made._features(rows), axis=0) > 0)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of rows ``(rows, columns)`` of the same table, float32 ``(rows, features)``."""
        features = np.where(self.informative, self._features(rows), 0).clip(-_FARTHEST, _FARTHEST)
        return features.astype(np.float32)

    def stored(self) -> dict[str, list[float]]:
        """Return the fitted numbers as JSON can hold them, to the last bit."""
        return {
            "medians": self.medians.tolist(),
            "means": self.means.tolist(),
            "deviations": self.deviations.tolist(),
            "informative": self.informative.tolist(),
        }

    @classmethod
    def of_stored(cls, columns: Sequence[Column], stored: Mapping[str, Any]) -> Self:
        """Return the encoder of what ``stored`` returned; raise KeyError or ValueError if it does not fit."""
        names, lengths = ("medians", "means", "deviations"), sum(not each.categories for each in columns)
        numbers = {name: np.array(stored[name], dtype=np.float64) for name in names}
        informative = np.array(stored["informative"], dtype=bool)
        if any(each.shape != (lengths,) for each in numbers.values()):
            raise ValueError("there are not as many numbers as columns of numbers")
        if informative.shape != (features_of(columns),):
            raise ValueError("there are not as many features as the columns have")
        return cls(tuple(columns), **numbers, informative=informative)

    def _features(self, rows: np.ndarray) -> np.ndarray:
        """Return all features of rows, float64 ``(rows, features)``."""
        places = range(len(self.columns))
        numbers = rows[:, [place for place in places if not self.columns[place].categories]]
        standardised = np.where(np.isnan(numbers), self.medians, numbers)
        standardised = (standardised - self.means) / self.deviations
        one_hot = [
            rows[:, [place]] == np.arange(len(self.columns[place].categories))
            for place in places
            if self.columns[place].categories
        ]
        missing = np.isnan(rows[:, [place for place in places if self.columns[place].missing]])
        return np.concatenate([standardised, *one_hot, missing], axis=1, dtype=np.float64)


def _transformer(columns: Sequence[Column]) -> Any:
    # Here: scikit-learn takes a second to import, and runs on images do without.
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    numbers = [place for place, column in enumerate(columns) if not column.categories]
    standardise = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    return ColumnTransformer([("numbers", standardise, numbers)])
