"""The scales on which figures have one spread, so that tests and intervals hold there."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from dropbench.report.metrics import ERROR, Metric

_MOST_EXAMPLES = 1_000_000
_MOST = {"brier": 2.0, "ece": 1.0, "coverage": 0.5}
"""Bounds of metrics, by their names."""
_LEAST = 1e-9
"""The value that 0 has on the log scale; no likelihood that is computed from predictions reaches it."""
_TINY = 1e-300
"""The same where the unit may be any, so that no value is near it."""
DOUBLED = 2.0
"""A figure this many times another is far from it."""
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scale:
    """Where figures are tested as they are: the scale of what has no bound that matters."""

    ratios: ClassVar[bool] = True
    """Whether one figure is so many times another: 0 means that there is nothing of it."""

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
    """log(x), for likelihoods, Brier scores, calibration errors and RMSE: equal steps are equal ratios.

    Figures in another unit are all moved by one step, so that a unit changes no test and no ratio.
    """

    most: float = math.inf
    """The largest value that there can be."""
    least: float = _LEAST
    """The value that 0 is taken as."""

    def forward(self, values: Any) -> _Array:
        """Values on the scale."""
        return np.asarray(np.log(np.maximum(np.asarray(values, float), self.least)))

    def back(self, places: Any) -> _Array:
        """The values at places on the scale."""
        return np.asarray(np.minimum(np.exp(np.minimum(places, 700.0)), self.most))


@dataclass(frozen=True)
class LogDensity(Scale):
    """Negative logarithms of densities as they are: a difference is that of two log-densities already.

    Such an NLL may be below 0, and another unit of the target moves all of them alike, by the logarithm of
    the units' ratio. So differences alone mean something, and there are no ratios. In place of twice a figure
    stand log 2 nats more: of calibrated Gaussian predictions the NLL is log RMSE plus a constant, so that it
    is what twice the RMSE comes to.
    """

    ratios: ClassVar[bool] = False


@dataclass(frozen=True)
class Logit(Scale):
    """log((k + ½)/(n − k + ½)), for k wrong of n ``examples`` (Haldane 1956, Anscombe 1956).

    Values are percentages. The half-counts keep 0 % and 100 % on the scale.
    """

    examples: int

    def forward(self, values: Any) -> _Array:
        """Values on the scale; what is beyond 0 or 100 is taken as that."""
        wrong = np.clip(np.asarray(values, float), 0, 100) * self.examples / 100
        return np.asarray(np.log((wrong + 0.5) / (self.examples - wrong + 0.5)))

    def back(self, places: Any) -> _Array:
        """The values at places on the scale, within 0 and 100."""
        odds = np.exp(-np.clip(places, -700.0, 700.0))
        wrong = (self.examples + 1) / (1 + odds) - 0.5
        return np.asarray(np.clip(100 * wrong / self.examples, 0, 100))

    def whole(self, values: Any) -> _Array:
        """The number of wrong examples."""
        return np.round(np.asarray(values, float) * self.examples / 100)

    def rounding(self, value: Any) -> _Array:
        """The variance of rounding to whole examples, 1/12 of one squared (Sheppard 1898)."""
        wrong = np.asarray(value, float) * self.examples / 100
        step = 1 / (wrong + 0.5) + 1 / (self.examples - wrong + 0.5)
        return np.asarray(step**2 / 12)


PLAIN, LOG, LOG_DENSITY = Scale(), Log(), LogDensity()


def scale_of(metric: Metric, examples: float) -> Scale:
    """The scale of a metric whose errors are of so many examples."""
    if metric == ERROR:
        return Logit(int(examples))
    if metric.of_density:
        return LOG_DENSITY
    return Log(_MOST.get(metric.name, math.inf), _TINY if metric.of_target else _LEAST)


def infer_examples(percentages: Iterable[float]) -> int:
    """The smallest number of examples of which all these errors are whole counts, one million at most.

    It is a divisor of the true number, and with a few runs nearly always the number itself.
    """
    examples = 1
    for value in percentages:
        if math.isfinite(value):
            part = Fraction(value / 100).limit_denominator(_MOST_EXAMPLES).denominator
            examples = math.lcm(examples, part)
            if examples > _MOST_EXAMPLES:
                return _MOST_EXAMPLES
    return examples
