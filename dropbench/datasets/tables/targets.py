"""The targets of a table: labels of classes, or numbers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dropbench.datasets.tables.cells import codes_of, is_number, numbers_of, words_of
from dropbench.errors import DropbenchError, UsageError

MANY_NUMBERS = 20
"""The most distinct numbers of a target that are taken as classes without a word."""


def labels_of(target: str, parts: Sequence[pd.Series]) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Return the labels of the training rows and of others, each int64 ``(rows,)``, and the classes.

    Classes are the sorted values in the training rows, numbers as such and all else as text.

    Args:
        target: the name of the column.
        parts: its cells, of which none is missing; the first are those of the training rows.

    Raises:
        DropbenchError: if there are not two classes with two training rows each, or others have more classes.

    """
    if all(map(is_number, parts)):
        cells = [pd.Series(numbers_of(target, part), dtype=object) for part in parts]
        values = sorted(cells[0].unique())
    else:
        cells = [words_of(part) for part in parts]
        values = sorted(cells[0].unique())
    names = tuple(words_of(pd.Series(values, dtype=object)))
    if len(values) == 1:
        raise DropbenchError(
            f"All training rows are of the class {names[0]!r} of {target!r}.",
            "A classifier needs at least two classes.",
        )
    counts = cells[0].value_counts()
    if (alone := counts[counts == 1]).size:
        which = words_of(pd.Series(sorted(alone.index)[:1], dtype=object)).iloc[0]
        of = f"The class {which!r} of {target!r} has only one training row"
        if len(alone) > 1:
            of = f"{len(alone):,} classes of {target!r} have only one training row, like {which!r}"
        hint = "Leave out such rows, or name another `target`."
        if is_number(parts[0]) and len(values) > MANY_NUMBERS:
            hint = "Add `task=regression` to predict the number itself."
        raise DropbenchError(f"{of}; a class needs two.", hint)
    labels = []
    for part in cells:
        codes = codes_of(part, values)
        if (codes < 0).any():
            lacking = words_of(part[codes < 0]).iloc[0]
            raise DropbenchError(
                f"The class {lacking!r} of {target!r} has test rows but no training rows.",
                "Add training rows, or take the test rows out.",
            )
        labels.append(codes)
    return labels, names


def values_of(target: str, parts: Sequence[pd.Series]) -> list[np.ndarray]:
    """Return the targets of a regression in the training rows and in others, each float32 ``(rows,)``.

    Raises:
        UsageError: if the column has text, or True and False.
        DropbenchError: if a target is infinite.

    """
    for part in parts:
        if not is_number(part):
            raise UsageError(
                f"The target {target!r} holds text like {words_of(part).iloc[0]!r}, which is no number.",
                "Leave out `task=regression`, or name another `target`.",
            )
    return [numbers_of(target, part).astype(np.float32) for part in parts]
