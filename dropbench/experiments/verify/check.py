"""A check: one comparison of theory and measurement."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

STANDARD_ERRORS = 5
"""The tolerance of a statistical check; where a property holds, one deviation in two million exceeds it."""


@dataclass(frozen=True)
class Check:
    """A property: its value in theory, its measured value, and the tolerance of their difference."""

    name: str
    theory: str
    expected: float
    measured: float
    tolerance: float
    unit: str = ""

    @property
    def passed(self) -> bool:
        """Whether the measured value is within the tolerance; NaN never is."""
        return abs(self.measured - self.expected) <= self.tolerance


def statistical(name: str, theory: str, deviations: Iterable[float]) -> Check:
    """Check the largest of several deviations, each in its own standard errors; without any, it fails."""
    worst = max((abs(deviation) for deviation in deviations), default=math.nan)
    return Check(name, theory, 0.0, worst, STANDARD_ERRORS, "standard errors")


def exact(
    name: str, theory: str, ours: torch.Tensor, oracle: torch.Tensor, tolerance: float = 1e-12
) -> Check:
    """Check that two tensors are equal within ``tolerance``, relative to the oracle's largest value."""
    scale = oracle.abs().max().clamp(min=1e-300)
    return Check(name, theory, 0.0, ((ours - oracle).abs().max() / scale).item(), tolerance, "relative")
