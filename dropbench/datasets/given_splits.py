"""The splits that data come with, by the names that people give them, and a test split for data without."""

from typing import Any

import numpy as np

from dropbench.datasets.options import SourceOptions
from dropbench.datasets.split import stratified_order
from dropbench.errors import DropbenchError, UsageError
from dropbench.run.streams import numpy_generator

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT_OF = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
}
"""The splits by their names, in small letters."""


def settle(name: str, splits: dict[str, Any], options: SourceOptions) -> list[str]:
    """Take the validation split for the test split if there is none; return what there is to say of it.

    Raises:
        UsageError: if a share was told, and there is a split.

    """
    notes = []
    if VALIDATION in splits and TEST not in splits:
        splits[TEST] = splits.pop(VALIDATION)
        notes.append("There is no test split: the validation split is taken for it.")
    if TEST in splits and "test_share" in options.told:
        raise UsageError(f"{name} has a test split of its own.", "Leave out `test_share`.")
    return notes


def held_out(labels: np.ndarray | None, examples: int, share: float) -> np.ndarray:
    """Return which of the ``examples`` are test examples, a boolean ``(examples,)``.

    They are drawn once, the same for all seeds, and stratified by ``labels`` ``(examples,)`` unless these are
    None. Every class keeps a training example.

    Raises:
        DropbenchError: if so few examples cannot be split.

    """
    strata = np.zeros(examples, dtype=np.int64) if labels is None else labels
    order = stratified_order(strata, numpy_generator(0, "subset", 1))  # a key that no run has
    test = np.zeros(examples, dtype=bool)
    test[order[: max(1, round(share * examples))]] = True
    for label in np.unique(strata):
        of_class = np.flatnonzero(strata == label)
        if test[of_class].all():
            test[of_class[0]] = False
    if not test.any():
        raise DropbenchError("There are too few examples for a test split.", "Add more, or a test split.")
    return test


def said_of(test: np.ndarray, noun: str) -> str:
    """Return what there is to say of examples ``test`` ``(examples,)`` that were held out; see held_out."""
    count = int(test.sum())
    are = "is" if count == 1 else "are"
    return (
        f"There is no test split: {count:,} of the {len(test):,} {noun}, drawn once and the same for all "
        f"seeds, {are} taken for it."
    )
