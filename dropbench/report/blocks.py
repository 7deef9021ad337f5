"""Randomised blocks: the test of pairs of rows of a table of settings × seeds, on one scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_ODD = 0.25
"""The level of the tests that look for a setting whose spread is larger than the others'."""
_TRUSTED = 0.8
"""The part of the pooled variance up to which a pair's own variance speaks for pooling."""
_FEW_SEEDS = (3, 4)
_ROUNDING = 1e-12
"""The size of a difference that the computer's rounding may make, as a share of the values."""
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Judged:
    """Differences on the scale with their standard errors, degrees of freedom and p-values."""

    effect: Any
    error: Any
    degrees: Any
    p: Any
    tested_error: Any
    """The standard error and the degrees of freedom that p is from; of few seeds the interval has others."""
    tested_degrees: Any


def judge(table: _Array, pairs: Sequence[tuple[int, int]], rounding: Any = 0.0) -> Judged:
    """Test the pairs of rows of a table of settings × seeds; each has two seeds in common, at least.

    ``table`` is ``(…, settings, seeds)``. One table may lack values (NaN); many are judged at once where
    nothing lacks. ``rounding``, one for all rows or one for each, is the least variance of a value.

    Under one spread for all, it is the t-test of randomised blocks: the residuals of the additive model give
    one variance, with (settings − 1)(seeds − 1) degrees of freedom where nothing lacks (Fisher 1935; least
    squares otherwise). A spread is odd where the residuals of a setting are larger than those of all others,
    by an F-test at 25 %: of the reference, or of any setting (Bonferroni). In a table with an odd spread, or
    for a pair of odd reference, it is the paired t-test. Elsewhere the variance is the pooled one, or that of
    the pair's own differences if it is larger; and from 0.8 times the pooled variance on, the degrees of
    freedom fall to seeds − 1, linearly over (seeds − 3)/4 times the pooled variance more, at most once.
    These numbers were found by simulation (tests/benchmarks/families.py).

    With 3 or 4 seeds neither an odd spread nor a pair's own variance tells much. There the test takes the
    larger of each setting's own variance and the pooled one (_of_few). The interval stays as said, since that
    variance would cover too often.
    """
    from scipy.special import stdtr

    ones, others = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    differences = table[..., ones, :] - table[..., others, :]
    common = (~np.isnan(differences)).sum(-1)
    own_degrees = common - 1
    paired_effect = np.nanmean(differences, -1)
    least = (np.broadcast_to(rounding, table.shape[:-1])[..., [ones, others]]).sum(-2)
    own = np.maximum(np.nanvar(differences, -1, ddof=1), least) / common
    if np.isnan(table).any():
        effect, weights, rest, degrees, unlike = _unbalanced(table, ones, others)
    else:
        effect, weights, rest, degrees, unlike = _balanced(table, ones, others)
    pooled = np.maximum(rest / degrees, least / 2) * weights
    odd = (unlike.min(-1, keepdims=True) * unlike.shape[-1] < _ODD) | (unlike[..., others] < _ODD)
    odd = odd | (common < 3)  # two seeds tell no spread: blocks would err in up to 8 %
    with np.errstate(divide="ignore", invalid="ignore"):
        excess = np.maximum(own / pooled - _TRUSTED, 0)
        allowed = np.clip((common - 3) / 4, 0, 1)
        trust = np.where(excess > 0, np.clip(1 - excess / allowed, 0, 1), 1.0)
    variance = np.where(odd, own, np.maximum(pooled, own))
    degrees = np.where(odd, own_degrees, own_degrees + (degrees - own_degrees) * trust)
    effect, error = np.where(odd, paired_effect, effect), np.sqrt(variance)
    tested = error, degrees
    if table.shape[-2] > 2 and table.shape[-1] in _FEW_SEEDS and not np.isnan(table).any():
        tested = _of_few(table, ones, others, rounding)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(tested[0] > 0, 2 * stdtr(tested[1], -np.abs(effect / tested[0])), math.nan)
    return Judged(effect, error, degrees, p, *tested)


def _of_few(table: _Array, ones: _Array, others: _Array, rounding: Any) -> tuple[_Array, _Array]:
    """Standard errors and degrees of freedom (Satterthwaite 1946) with a variance for each setting.

    It is estimated from the setting's residuals (Grubbs 1948), and never taken as less than the pooled one.
    """
    variance, degrees = own_variances(table, rounding=rounding)
    seeds, most = table.shape[-1], (table.shape[-2] - 1) * (table.shape[-1] - 1)
    both = variance[..., ones] + variance[..., others]
    freedom = satterthwaite(
        variance[..., ones], degrees[..., ones], variance[..., others], degrees[..., others]
    )
    return np.sqrt(both / seeds), np.clip(freedom, seeds - 1, most)


def own_variances(table: _Array, there: Any = True, rounding: Any = 0.0) -> tuple[_Array, _Array]:
    """Return a variance for each setting of a table ``(…, settings, seeds)``, and its degrees of freedom.

    It is estimated from the setting's residuals (Grubbs 1948), and never taken as less than the pooled one,
    that of all settings. Of two settings both are half the variance of their differences. ``there`` marks the
    settings ``(…, settings)`` that are in the table; the others have no part in it.
    """
    seeds = table.shape[-1]
    inside = np.broadcast_to(there, table.shape[:-1])
    settings = inside.sum(-1, keepdims=True)
    centred = np.where(inside[..., None], table - table.mean(-1, keepdims=True), 0.0)
    residuals = centred - centred.sum(-2, keepdims=True) / settings[..., None]
    by_row = np.where(inside, np.square(residuals).sum(-1), 0.0) / (seeds - 1)
    total = by_row.sum(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = np.maximum(total / (settings - 1), np.broadcast_to(rounding, table.shape[:-1]))
        own = settings / (settings - 2) * (by_row - total / (settings * (settings - 1)))
    own = np.where(settings > 2, own, pooled)
    degrees = np.where(own > pooled, seeds - 1, (settings - 1) * (seeds - 1))
    return np.maximum(own, pooled), degrees


def varies(table: _Array, there: Any = True) -> _Array:
    """Whether settings and seeds leave any residuals but those of the computer's rounding.

    Of tables ``(…, settings, seeds)`` with the settings that ``there`` marks, as in own_variances.
    """
    inside = np.broadcast_to(there, table.shape[:-1])[..., None]
    steps = table - table[..., :1]
    unlike = np.where(inside, steps, -math.inf).max(-2) - np.where(inside, steps, math.inf).min(-2)
    size = np.where(inside, np.abs(table), 0.0).max((-2, -1))
    return np.asarray(unlike.max(-1) > _ROUNDING * size)


def satterthwaite(one: _Array, degrees: _Array, other: _Array, other_degrees: _Array) -> _Array:
    """Return the degrees of freedom of a sum of two variances (Satterthwaite 1946); 1 where both are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.square(one + other) / (np.square(one) / degrees + np.square(other) / other_degrees)
    return np.asarray(np.nan_to_num(found, nan=1.0))


def _balanced(table: _Array, ones: _Array, others: _Array) -> tuple[_Array, Any, _Array, Any, _Array]:
    """Differences, their variance per residual variance, residuals, degrees of freedom, and oddities."""
    settings, seeds = table.shape[-2:]
    centred = table - table.mean(-1, keepdims=True)
    by_row = np.square(centred - centred.mean(-2, keepdims=True)).sum(-1)
    rest = by_row.sum(-1, keepdims=True)
    means = table.mean(-1)
    unlike = np.ones_like(by_row)
    if settings > 2:
        # Without a row, the residuals of the others lose settings/(settings − 1) times what the row has.
        share = by_row * settings / (settings - 1) / np.where(rest > 0, rest, 1)
        unlike = _larger(share, seeds - 1, (settings - 2) * (seeds - 1))
    return means[..., ones] - means[..., others], 2 / seeds, rest, (settings - 1) * (seeds - 1), unlike


def _unbalanced(table: _Array, ones: _Array, others: _Array) -> tuple[_Array, _Array, Any, Any, _Array]:
    """Return the same as _balanced, of one table, by least squares."""
    rest, degrees, effects, spread = least_squares(table)
    unlike = np.ones(len(table))
    for row in range(len(table)):
        fewer, left, *_ = least_squares(np.delete(table, row, 0))
        if 0 < left < degrees and rest > 0:
            unlike[row] = _larger(np.clip(1 - fewer / rest, 0, 1), degrees - left, left)
    weights = spread[ones, ones] + spread[others, others] - 2 * spread[ones, others]
    return effects[ones] - effects[others], weights, rest, degrees, unlike


def _larger(share: Any, degrees: float, others: float) -> Any:
    """The p-value of the F-test that a share of a sum of squares is no larger than its degrees of freedom."""
    from scipy.special import betaincc

    return betaincc(degrees / 2, others / 2, np.clip(share, 0, 1))


def least_squares(table: _Array) -> tuple[float, int, _Array, _Array]:
    """Settings + seeds fitted to what is there: residuals, degrees of freedom, effects, their covariance."""
    there = ~np.isnan(table)
    values = np.where(there, table, 0.0)
    settings = len(table)
    corner = there.astype(float)
    normal = np.block([[np.diag(corner.sum(1)), corner], [corner.T, np.diag(corner.sum(0))]])
    inverse = np.linalg.pinv(normal, hermitian=True)
    fit = inverse @ np.concatenate([values.sum(1), values.sum(0)])
    residuals = np.where(there, table - fit[:settings, None] - fit[None, settings:], 0.0)
    degrees = int(there.sum() - np.linalg.matrix_rank(normal, hermitian=True))
    return float(np.square(residuals).sum()), degrees, fit[:settings], inverse[:settings, :settings]
