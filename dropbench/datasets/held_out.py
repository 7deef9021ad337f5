"""The test split of data that have none of their own."""

import numpy as np

from dropbench.datasets.split import stratified_order
from dropbench.errors import DropbenchError
from dropbench.run.streams import numpy_generator


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
