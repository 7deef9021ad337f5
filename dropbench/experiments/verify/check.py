"""One comparison of theory and measurement."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch

STANDARD_ERRORS = 5
"""What a statistical check allows: a true property fails once in two million."""


@dataclass(frozen=True)
class Check:
    """A property, what theory says it is, what was measured, and how far the two may differ."""

    name: str
    theory: str
    expected: float
    measured: float
    tolerance: float
    unit: str = ""

    @property
    def passed(self) -> bool:
        """Whether the measurement is within the tolerance; never for one that is no number."""
        return abs(self.measured - self.expected) <= self.tolerance


def statistical(name: str, theory: str, deviations: Iterable[float]) -> Check:
    """A check of the largest of several deviations, each in its own standard errors."""
    worst = max((abs(deviation) for deviation in deviations), default=math.nan)
    return Check(name, theory, 0.0, worst, STANDARD_ERRORS, "standard errors")


def exact(
    name: str, theory: str, ours: torch.Tensor, oracle: torch.Tensor, tolerance: float = 1e-12
) -> Check:
    """A check that two tensors are equal up to rounding, relative to the oracle's largest value."""
    scale = oracle.abs().max().clamp(min=1e-300)
    return Check(name, theory, 0.0, ((ours - oracle).abs().max() / scale).item(), tolerance, "relative")
