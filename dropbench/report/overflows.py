"""Words for the steps of runs in fp16 that overflowed and were skipped."""

MANY = 0.01
"""The share of a run's steps from which on a table tells that they were many."""
_TO_BEGIN = 16
"""Skipped steps that are never many: in so many the scale of the loss falls from 2¹⁶, its first, to 1."""


def are_many(overflowed: float, steps: float) -> bool:
    """Whether a run skipped more steps than it takes to find a scale; NaN, of other precisions, is not."""
    return overflowed > max(_TO_BEGIN, MANY * steps)
