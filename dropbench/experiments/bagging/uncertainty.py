"""The uncertainty of a difference between two arms, given few repetitions and a finite test set."""

import math
from dataclasses import dataclass

import numpy as np

from dropbench.run.streams import numpy_generator

CONFIDENCE = 0.95
_RESAMPLES = 4000
_CHUNK = 200
_TIE = 1e-12


@dataclass(frozen=True)
class BootstrapDifference:
    """A mean difference, its interval, and the probability that one repetition has the lower loss."""

    mean: float
    low: float
    high: float
    p_better: float


def bootstrap_differences(
    losses: np.ndarray, references: np.ndarray | float = 0.0, root: bool = False
) -> list[BootstrapDifference]:
    """Estimate the mean of each kind of difference of losses ``(kinds, repetitions, examples)``.

    Two sources of chance are resampled with replacement, independently of each other: the repetitions
    (weights, order, masks, splits), and the test examples, which all repetitions share. This is the
    pigeonhole bootstrap for crossed factors (Owen 2007). Drawing R repetitions out of R makes the variance
    too small by the factor (R − 1)/R, so deviations are multiplied by √(R/(R − 1)). The interval spans the
    central 95 % of the draws. With a single repetition only the test examples vary, so its interval lacks
    the spread between repetitions.

    ``p_better`` is the share of pairs (repetition, drawn test set) in which the difference is negative; ties
    count half. It is the P(A > B) of Bouthillier et al. 2021. All is NaN where a loss is.

    Args:
        losses: the losses of an arm, for each kind of difference.
        references: those of what it is compared with, of the same shape; 0 for nothing.
        root: whether the loss of a repetition is the root of the mean over its examples, as the RMSE is of
            squared errors, and not the mean itself.

    """
    kinds, repetitions, examples = losses.shape
    generator = numpy_generator(0, "bootstrap")
    differences = losses - references
    if root:
        parts = [losses, np.broadcast_to(references, losses.shape)]
        differences = np.sqrt(parts[0].mean(2)) - np.sqrt(parts[1].mean(2))
        flat = np.concatenate([part.reshape(-1, examples) for part in parts]).T
    else:
        flat = differences.reshape(-1, examples).T
    means = np.empty((_RESAMPLES, kinds, repetitions))
    for start in range(0, _RESAMPLES, _CHUNK):
        drawn = generator.multinomial(examples, np.full(examples, 1 / examples), size=_CHUNK)
        of_draws = drawn @ flat / examples
        # Where both arms have equal losses the difference is exactly 0; rounding must not break the tie.
        if root:
            ours, theirs = np.split(np.sqrt(of_draws), 2, axis=1)
            of_draws = np.where(np.abs(ours - theirs) < _TIE * ours, 0, ours - theirs)
        else:
            of_draws[np.abs(of_draws) < _TIE] = 0
        means[start : start + _CHUNK] = of_draws.reshape(_CHUNK, kinds, repetitions)
    chosen = generator.integers(0, repetitions, (_RESAMPLES, 1, repetitions))
    of_all = means.mean(2)
    of_draw = np.take_along_axis(means, np.broadcast_to(chosen, means.shape), axis=2).mean(2)
    widening = math.sqrt(repetitions / (repetitions - 1)) if repetitions > 1 else 1.0
    overall = of_all + widening * (of_draw - of_all)
    tails = (1 - CONFIDENCE) / 2
    low, high = np.quantile(overall, (tails, 1 - tails), axis=0)
    better = np.where(np.isnan(means), np.nan, (means < 0) + 0.5 * (means == 0)).mean((0, 2))
    return [
        BootstrapDifference(
            float(differences[kind].mean()), float(low[kind]), float(high[kind]), float(better[kind])
        )
        for kind in range(kinds)
    ]


def mcnemar(wrong: np.ndarray, reference_wrong: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test of two predictors' errors on the same examples ``(examples,)`` (McNemar 1947).

    Returns the number of examples that only this predictor has right, the number that only the reference has
    right, and the two-sided probability of a split at least this uneven if both were equally likely.
    """
    from scipy.stats import binomtest

    only_this = int((~wrong & reference_wrong).sum())
    only_reference = int((wrong & ~reference_wrong).sum())
    if only_this + only_reference == 0:
        return 0, 0, 1.0
    return only_this, only_reference, float(binomtest(only_this, only_this + only_reference).pvalue)
