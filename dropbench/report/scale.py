"""The scales on which figures have one spread, so that tests and intervals hold there."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from dropbench.report.metrics import ERROR, Metric

_MOST_IMAGES = 1_000_000
_MOST = {"brier": 2.0, "ece": 1.0}
"""Bounds of metrics, by their names."""
_LEAST = 1e-9
"""The value that 0 has on the log scale; no likelihood that is computed from predictions reaches it."""
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scale:
    """Where figures are tested as they are: the scale of what has no bound that matters."""

    def forward(self, values: Any) -> _Array:
        """Values on the scale."""
        return np.asarray(values, float)

    def back(self, places: Any) -> _Array:
        """The values at places on the scale."""
        return np.asarray(places, float)

    def whole(self, values: Any) -> _Array:
        """Values in their smallest unit, where they have one, without what rounding did to them."""
        return np.asarray(values, float)

    def rounding(self, value: Any) -> _Array:
        """The variance on the scale that whole units bring about near a value; 0 where there are none."""
        return np.zeros_like(np.asarray(value, float))


@dataclass(frozen=True)
class Log(Scale):
    """log(x), for likelihoods, Brier scores and calibration errors: equal steps are equal ratios."""

    most: float = math.inf
    """The largest value that there can be."""

    def forward(self, values: Any) -> _Array:
        """Values on the scale."""
        return np.asarray(np.log(np.maximum(np.asarray(values, float), _LEAST)))

    def back(self, places: Any) -> _Array:
        """The values at places on the scale."""
        return np.asarray(np.minimum(np.exp(np.minimum(places, 700.0)), self.most))


@dataclass(frozen=True)
class Logit(Scale):
    """log((k + ½)/(n − k + ½)), for k wrong of n ``images`` (Haldane 1956, Anscombe 1956).

    Values are percentages. The half-counts keep 0 % and 100 % on the scale.
    """

    images: int

    def forward(self, values: Any) -> _Array:
        """Values on the scale."""
        wrong = np.asarray(values, float) * self.images / 100
        return np.asarray(np.log((wrong + 0.5) / (self.images - wrong + 0.5)))

    def back(self, places: Any) -> _Array:
        """The values at places on the scale, within 0 and 100."""
        odds = np.exp(-np.clip(places, -700.0, 700.0))
        wrong = (self.images + 1) / (1 + odds) - 0.5
        return np.asarray(np.clip(100 * wrong / self.images, 0, 100))

    def whole(self, values: Any) -> _Array:
        """The number of wrong images."""
        return np.round(np.asarray(values, float) * self.images / 100)

    def rounding(self, value: Any) -> _Array:
        """The variance of rounding to whole images, 1/12 of an image squared (Sheppard 1898)."""
        wrong = np.asarray(value, float) * self.images / 100
        step = 1 / (wrong + 0.5) + 1 / (self.images - wrong + 0.5)
        return np.asarray(step**2 / 12)


PLAIN, LOG = Scale(), Log()


def scale_of(metric: Metric, images: float) -> Scale:
    """The scale of a metric whose errors are of so many images."""
    return Logit(int(images)) if metric == ERROR else Log(_MOST.get(metric.name, math.inf))


def infer_images(percentages: Iterable[float]) -> int:
    """The smallest number of images of which all these errors are whole counts, one million at most.

    It is a divisor of the true number, and with a few runs nearly always the number itself.
    """
    images = 1
    for value in percentages:
        if math.isfinite(value):
            part = Fraction(value / 100).limit_denominator(_MOST_IMAGES).denominator
            images = math.lcm(images, part)
            if images > _MOST_IMAGES:
                return _MOST_IMAGES
    return images
