"""Words for figures and predictions of a trained net that are not finite."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

_SPLITS = {"train": "training", "val": "validation", "test": "test", "oob": "out-of-bag"}
_FOREIGN = "out-of-distribution"
_KINDS = {"": "", "_mc": " by Monte-Carlo dropout", "_snapshots": " by a snapshot"}
"""The arrays of a split, ``(…, examples, outputs)``, by the ends of their names."""


def what_is_not_finite(metrics: Mapping[str, float], arrays: Mapping[str, np.ndarray], noun: str) -> str:
    """Return how many examples of which splits have predictions that are not finite.

    A net may give NaN for single images, such as black ones that it divides by their deviation; NaN is
    neither right nor wrong, so that nothing can be said of the net.

    Args:
        metrics: the metrics of the splits, ``test_nll`` and others.
        arrays: the predictions of RunResult.
        noun: the word for several examples.

    Returns:
        Words without a full stop; empty if all is finite.

    """
    splits = [name for name, array in arrays.items() if _is_split(name, array)]
    if counted := [said for name in splits if (said := _counted(name, arrays, noun))]:
        return f"the predictions for {_listed(counted)} are not finite"
    of = [name for name, value in metrics.items() if not math.isfinite(value)]
    known = dict.fromkeys(_SPLITS[split] for name in of if (split := name.split("_")[0]) in _SPLITS)
    where = f" for the {_listed(known)} {noun}" if known else ""
    return f"the metrics of the trained net{where} are not finite" if of else ""


def _is_split(name: str, array: np.ndarray) -> bool:
    """Whether an array has the plain predictions of a split, not what else is kept of it, or labels."""
    return array.ndim == 2 and array.dtype.kind == "f" and not name.endswith("_mc_squares")


def _counted(name: str, arrays: Mapping[str, np.ndarray], noun: str) -> str:
    """The number of a split's examples whose predictions are not finite, in the first kind that has some."""
    for end, by in _KINDS.items():
        array = arrays.get(name + end)
        if array is None:
            continue
        finite = np.isfinite(array).all(-1)  # (…, examples)
        wrong = int((~finite.reshape(-1, finite.shape[-1]).all(0)).sum())
        if wrong:
            return f"{wrong:,} of {finite.shape[-1]:,} {_SPLITS.get(name, _FOREIGN)} {noun}{by}"
    return ""


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
