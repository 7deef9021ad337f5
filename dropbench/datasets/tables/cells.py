"""The cells of a table's columns: which are numbers and which categories, and each as a float64."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from pandas.api.types import (
    infer_dtype,
    is_bool_dtype,
    is_complex_dtype,
    is_datetime64_any_dtype,
    is_integer_dtype,
    is_numeric_dtype,
)

from dropbench.datasets.column import LARGEST, Column
from dropbench.errors import DropbenchError

MOST_CATEGORIES = 1000
"""The most categories of a column; one with more is as one that tells rows apart."""
ALMOST_ALL = 0.9
"""The share of distinct values among the cells of a column of text from which on it tells rows apart."""
_FEWEST_TO_TELL_APART = 20  # in fewer rows, different names are no sign of anything
_WITH_MARKS = re.compile(
    r"[+-]?[€$£]?\s?(?:\d{1,3}(?:[.,'\u2019\s]\d{3})+|\d+)(?:[.,]\d+)?\s?[%€$£]?"
)  # 1,234.5 and 1.234,5 and 12 %
_NUMBERS = {"decimal", "integer", "floating", "mixed-integer-float"}


def inferred(name: str, cells: pd.Series) -> pd.Series:
    """Return the cells of a column with numbers as numbers, where Python's objects hold these.

    Raises:
        DropbenchError: if the cells are neither numbers nor words.

    """
    if is_complex_dtype(cells):
        raise _neither(name, "complex numbers")
    if cells.dtype == object:
        if infer_dtype(cells, skipna=True) in _NUMBERS:
            return cells.astype(float)
        known = cells.dropna()
        if len(known) and isinstance(known.iloc[0], list | tuple | dict | set | np.ndarray | bytes):
            raise _neither(name, f"cells of the type {type(known.iloc[0]).__name__}")
    return cells


def _neither(name: str, held: str) -> DropbenchError:
    return DropbenchError(
        f"The column {name!r} holds {held}, which are neither numbers nor words.", "Take it out."
    )


def is_number(cells: pd.Series) -> bool:
    """Whether a column holds numbers; True and False are none."""
    return bool(is_numeric_dtype(cells) and not is_bool_dtype(cells))


def what_keeps_from_numbers(cells: pd.Series) -> tuple[int, str]:
    """Return how many cells of a column of text are no numbers, and one of them, if most cells are."""
    known = words_of(cells).dropna()
    no_numbers = known[pd.to_numeric(known, errors="coerce").isna()]
    few = 0 < len(no_numbers) < len(known) / 2
    return (len(no_numbers), str(no_numbers.iloc[0])) if few else (0, "")


def otherwise_written_number(cells: pd.Series) -> str:
    """Return a cell of a column of text whose cells are all numbers, with marks or units; else nothing."""
    known = words_of(cells).dropna()
    if not known.map(lambda word: bool(_WITH_MARKS.fullmatch(word))).all():
        return ""
    no_numbers = known[pd.to_numeric(known, errors="coerce").isna()]
    return str(no_numbers.iloc[0]) if len(no_numbers) else ""


def numbers_of(name: str, cells: pd.Series) -> np.ndarray:
    """Return cells that are numbers as float64 ``(rows,)``, NaN where they are missing.

    Raises:
        DropbenchError: if one is not a number, not finite, or too large.

    """
    if is_number(cells):
        found = cells.to_numpy(dtype=np.float64, na_value=np.nan)
    elif cells.isna().all():
        found = np.full(len(cells), np.nan)
    else:
        raise DropbenchError(
            f"The column {name!r} holds numbers in the training rows and text like "
            f"{_word(cells.dropna().iloc[0])!r} in others.",
            "Write it in one way.",
        )
    if infinite := int(np.isinf(found).sum()):
        raise DropbenchError(
            f"The column {name!r} is infinite in {infinite:,} row{'s' * (infinite > 1)}.",
            "Leave such cells empty, which is a missing value.",
        )
    if large := int((np.abs(found) > LARGEST).sum()):
        raise DropbenchError(
            f"The column {name!r} has a number beyond {LARGEST:.1e} in {large:,} row{'s' * (large > 1)}.",
            "Write it in a larger unit, or leave such cells empty.",
        )
    return found


def _word(value: object) -> str:
    """Return a cell as text; a whole number is the same, whichever type holds it."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def words_of(cells: pd.Series) -> pd.Series:
    """Return cells as text, None where they are missing."""
    if is_datetime64_any_dtype(cells):
        # Of the whole column: pandas leaves out the time where none of the dates has one.
        return cells.astype(str).astype(object).where(cells.notna(), None)
    cells = cells.astype(object)
    return cells.map(_word, na_action="ignore").where(cells.notna(), None)


def codes_of(values: pd.Series, known: Sequence[object]) -> np.ndarray:
    """Return the place of each value in the ``known`` ones, int64 ``(rows,)``; -1 where it is not there."""
    places = pd.Index(np.array(known, dtype=object))
    found: np.ndarray = places.get_indexer(pd.Index(values.to_numpy(dtype=object))).astype(np.int64)
    return found


def tells_rows_apart(cells: pd.Series) -> bool:
    """Whether the cells of a column of training rows are names or numbers of the rows.

    These are text that is different in almost all rows or has more than MOST_CATEGORIES values, and integers
    that count the rows, from 0 or 1; of many rows in any order.
    """
    if is_number(cells):
        if not is_integer_dtype(cells) or len(cells) < 2 or cells.isna().any():
            return False
        values = cells.to_numpy(dtype=np.int64)
        if len(values) >= _FEWEST_TO_TELL_APART:  # in any order, as in a table that was shuffled
            values = np.sort(values)
        return bool(values[0] in (0, 1) and (np.diff(values) == 1).all())
    known = cells.dropna()
    distinct = known.nunique()
    almost_all = len(known) >= _FEWEST_TO_TELL_APART and distinct >= ALMOST_ALL * len(known)
    return bool(almost_all or distinct > MOST_CATEGORIES)


def encode_column(
    name: str, train: pd.Series, others: Iterable[pd.Series]
) -> tuple[Column, list[np.ndarray]]:
    """Return a column, and its cells in the training rows and in others, each float64 ``(rows,)``.

    The training rows alone decide what the column is.
    """
    known = () if is_number(train) else tuple(sorted(words_of(train).dropna().unique()))
    column = Column(name, known)
    cells = [cells_of(column, part) for part in (train, *others)]
    return replace(column, missing=bool(np.isnan(cells[0]).any())), cells


def cells_of(column: Column, cells: pd.Series) -> np.ndarray:
    """Return cells of a column as it has them, float64 ``(rows,)``.

    A category that the column lacks has the number that follows the last one: it is none of them.
    """
    if not column.categories:
        return numbers_of(column.name, cells)
    codes = codes_of(words_of(cells), column.categories).astype(np.float64)
    codes[codes < 0] = len(column.categories)
    codes[cells.isna().to_numpy()] = np.nan
    return codes
