"""How sure a difference between two arms is, given few repetitions and a finite test set."""

import math
from dataclasses import dataclass

import numpy as np

from dropbench.run.streams import numpy_generator

CONFIDENCE = 0.95
_RESAMPLES = 4000
_CHUNK = 200


@dataclass(frozen=True)
class BootstrapDifference:
    """A mean difference, its interval, and the chance that one repetition is on the better (lower) side."""

    mean: float
    low: float
    high: float
    p_better: float


def bootstrap_differences(losses: np.ndarray) -> list[BootstrapDifference]:
    """For each of some differences of losses ``(kinds, repetitions, examples)`` what is known of its mean.

    Two things would come out otherwise another time: the repetition (weights, order, masks, splits), and the
    test images. Both are drawn again with replacement, independently, the same images for all repetitions:
    the pigeonhole bootstrap (Owen 2007) for crossed factors. A draw of R repetitions out of R varies too
    little by (R − 1)/R, so its deviations are widened by the root of the inverse. The interval is the
    percentiles of 95 %. One repetition alone leaves its own share out.

    ``p_better`` is the share of (repetition, drawn test set) pairs in which the difference is negative, ties
    counted half: the P(A > B) of Bouthillier et al. 2021.
    """
    kinds, repetitions, examples = losses.shape
    generator = numpy_generator(0, "bootstrap")
    flat = losses.reshape(-1, examples).T
    means = np.empty((_RESAMPLES, kinds, repetitions))
    for start in range(0, _RESAMPLES, _CHUNK):
        drawn = generator.multinomial(examples, np.full(examples, 1 / examples), size=_CHUNK)
        means[start : start + _CHUNK] = (drawn @ flat / examples).reshape(_CHUNK, kinds, repetitions)
    # A mean of losses that are equal is 0, not the rounding of the sum.
    means[np.abs(means) < 1e-12] = 0
    chosen = generator.integers(0, repetitions, (_RESAMPLES, 1, repetitions))
    of_all = means.mean(2)
    of_draw = np.take_along_axis(means, np.broadcast_to(chosen, means.shape), axis=2).mean(2)
    widening = math.sqrt(repetitions / (repetitions - 1)) if repetitions > 1 else 1.0
    overall = of_all + widening * (of_draw - of_all)
    tails = (1 - CONFIDENCE) / 2
    low, high = np.quantile(overall, (tails, 1 - tails), axis=0)
    better = ((means < 0) + 0.5 * (means == 0)).mean((0, 2))
    return [
        BootstrapDifference(
            float(losses[kind].mean()), float(low[kind]), float(high[kind]), float(better[kind])
        )
        for kind in range(kinds)
    ]


def mcnemar(wrong: np.ndarray, reference_wrong: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test of two predictors' errors on the same examples ``(examples,)`` (McNemar 1947).

    How many examples only this one has right, how many only the reference, and the two-sided probability
    of so uneven a split if each were as likely.
    """
    from scipy.stats import binomtest

    only_here = int((~wrong & reference_wrong).sum())
    only_there = int((wrong & ~reference_wrong).sum())
    if only_here + only_there == 0:
        return 0, 0, 1.0
    return only_here, only_there, float(binomtest(only_here, only_here + only_there).pvalue)
