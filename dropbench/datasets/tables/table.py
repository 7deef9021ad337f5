"""Make a data set of a table: of its frames, wherever they were read."""

from collections import Counter
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from dropbench.datasets.column import MOST_FEATURES, Column, features_of
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.given_splits import TEST, TRAIN, VALIDATION, held_out, said_of
from dropbench.datasets.memory import check_memory
from dropbench.datasets.options import SourceOptions
from dropbench.datasets.tables.cells import (
    cells_of,
    encode_column,
    inferred,
    is_number,
    numbers_of,
    otherwise_written_number,
    tells_rows_apart,
    what_keeps_from_numbers,
    words_of,
)
from dropbench.datasets.targets import targets_of
from dropbench.errors import DropbenchError, UsageError
from dropbench.run.blocks.data import REGRESSION
from dropbench.run.telling import counted, listed

_ROWS = {TRAIN: "training", VALIDATION: "validation", TEST: "test"}


def table_of(
    name: str,
    train: pd.DataFrame,
    test: pd.DataFrame | None,
    validation: pd.DataFrame | None,
    options: SourceOptions,
    *,
    keep_all: bool = False,
) -> DataSet:
    """Return the data set of a table; without test rows some of the training rows are the test split.

    Numbers stay numbers. Text, dates, and True and False are categories. A column that is constant in the
    training rows is left out, and one that tells rows apart. Rows without a target are left out. Test rows
    decide nothing of all this; only whether a column counts the rows is seen before some are held out. The
    notes say what was done.

    Args:
        name: the name of the data set.
        train: the training rows.
        test: the test rows, with the same columns.
        validation: the rows of a validation split, with the same columns.
        options: the name of the target, the task, and the share of the test split.
        keep_all: leave out no column.

    Raises:
        UsageError: if the target is not there, or does not fit the task.
        DropbenchError: if no net can be trained on the table.

    """
    given = {TRAIN: train, VALIDATION: validation, TEST: test}
    frames = {part: _plain(frame) for part, frame in given.items() if frame is not None}
    target = find_target(options.target, list(frames[TRAIN].columns))
    for part, frame in frames.items():
        _check_same_columns(frames[TRAIN], frame, part)
    columns = frames[TRAIN].columns.drop(target)
    if lacking := [each.name for each in options.columns if each.name not in columns]:
        raise UsageError(
            f"{name} lacks the column{'s' * (len(lacking) > 1)} {listed(map(repr, lacking), 5)} that the net "
            "was trained on.",
            "Add what is lacking; cells may be empty.",
        )
    keep_all = keep_all or bool(options.columns)
    apart = [] if keep_all else [each for each in columns if tells_rows_apart(frames[TRAIN][each])]
    notes = _take_rows_with_targets(name, frames, target)
    targets, classes, of_targets = _targets(target, frames, options.task)
    notes += of_targets
    if TEST not in frames:
        notes.append(_hold_out(frames, targets, classes, options.test_share))
    rows = pd.concat([frames[part] for part in (TRAIN, VALIDATION) if part in frames], ignore_index=True)
    constant = [] if keep_all else [each for each in columns if rows[each].nunique(dropna=False) <= 1]
    used = [each for each in columns if each not in {*apart, *constant}]
    if options.columns:
        used = [each.name for each in options.columns]
    if not used:
        raise DropbenchError(
            f"{name} has no column beside {target!r} that varies and does not only tell rows apart.",
            "A net needs one to predict from.",
        )
    made, train_inputs, test_inputs = _encoded(name, rows[used], frames[TEST][used], options.columns)
    found = [
        *_what_is_used(made, train_inputs, test_inputs),
        *_almost_numbers(rows[columns]),
        *_left_out(apart, constant),
    ]
    if options.columns:  # all is as the net has it
        found = []
    return DataSet(
        name=name,
        train_inputs=train_inputs,
        train_targets=np.concatenate([targets[part] for part in (TRAIN, VALIDATION) if part in targets]),
        test_inputs=test_inputs,
        test_targets=targets[TEST],
        classes=classes,
        columns=made,
        validation=len(frames.get(VALIDATION, ())),
        notes=(*found, *notes),
    )


def _take_rows_with_targets(name: str, frames: dict[str, pd.DataFrame], target: str) -> list[str]:
    """Take the rows without a target out of the frames; return what there is to say of them."""
    without = sum(int(frame[target].isna().sum()) for frame in frames.values())
    for part, frame in frames.items():
        frames[part] = frame[frame[target].notna()]
        if frames[part].empty:
            raise DropbenchError(f"{name} has no {_ROWS[part]} row with a {target!r}.", "Add some.")
    are = "was" if without == 1 else "were"
    return [f"{counted(without, 'row')} without a {target!r} {are} left out."] if without else []


def _targets(
    target: str, frames: dict[str, pd.DataFrame], task: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...], list[str]]:
    """Return the targets of each part, the classes, and what a user should know; see targets_of."""
    regression = task == REGRESSION
    numbers = regression or all(is_number(frame[target]) for frame in frames.values())
    given = {
        f"{target!r} of the {_ROWS[part]} rows": numbers_of(target, frame[target])
        if numbers and is_number(frame[target])
        else words_of(frame[target]).to_numpy(dtype=object)
        for part, frame in frames.items()
    }
    found, classes, notes = targets_of(given, regression, from_table=True)
    return dict(zip(frames, found, strict=True)), classes, notes


def _hold_out(
    frames: dict[str, pd.DataFrame],
    targets: dict[str, np.ndarray],
    classes: tuple[str, ...],
    share: float,
) -> str:
    """Make some of the training rows the test rows; return what there is to say of it."""
    rows, of_rows = frames[TRAIN], targets[TRAIN]
    chosen = held_out(of_rows if classes else None, len(rows), share)
    frames |= {TRAIN: rows[~chosen], TEST: rows[chosen]}
    targets |= {TRAIN: of_rows[~chosen], TEST: of_rows[chosen]}
    return said_of(chosen, "rows")


def find_target(target: str, names: Sequence[str]) -> str:
    """Return the name of the target column; raise UsageError if none was told, or it is not there."""
    there = f"Columns: {listed(map(repr, names), 20)}."
    if not target:
        raise UsageError("A table needs a `target`, the column to predict.", there)
    if target not in names:
        lower = {name.lower(): name for name in names}
        near = get_close_matches(target.lower(), lower, n=1, cutoff=0.5)
        hint = f"Did you mean {lower[near[0]]!r}? {there}" if near else there
        raise UsageError(f"There is no column {target!r} for `target`.", hint)
    return target


def check_names(names: Sequence[str], where: str) -> None:
    """Raise DropbenchError if two columns have the same name, or there are too many; ``where`` has them."""
    if len(names) > MOST_FEATURES:
        raise DropbenchError(
            f"{where} has {len(names):,} columns, more than the {MOST_FEATURES:,} that are read.",
            "Take out the columns that matter least.",
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise DropbenchError(f"{where} has several columns named {listed(map(repr, twice))}.", "Rename them.")


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows, counted from 0, with columns named by text and numbers as numbers."""
    names = [str(column).strip() for column in frame.columns]
    check_names(names, "The table")
    cells = {name: inferred(name, frame.iloc[:, place]) for place, name in enumerate(names)}
    return pd.DataFrame(cells).reset_index(drop=True)


def _check_same_columns(train: pd.DataFrame, frame: pd.DataFrame, part: str) -> None:
    for first, second, lacking in ((frame, train, part), (train, frame, TRAIN)):
        if absent := [column for column in second.columns if column not in first.columns]:
            named = f"column{'s' * (len(absent) > 1)} {listed(map(repr, absent))}"
            raise DropbenchError(
                f"The {_ROWS[lacking]} rows lack the {named}.",
                "All splits need the same columns.",
            )


def _encoded(
    name: str, rows: pd.DataFrame, test: pd.DataFrame, fixed: Sequence[Column]
) -> tuple[tuple[Column, ...], np.ndarray, np.ndarray]:
    """Return the columns, and the cells of training and test rows, each float64 ``(rows, columns)``.

    The columns are the ``fixed`` ones, where there are any.
    """
    check_memory(name, 3 * 8 * (len(rows) + len(test)) * len(rows.columns))
    columns = []
    cells = tuple(np.empty((len(part), len(rows.columns)), dtype=np.float64) for part in (rows, test))
    for place, column in enumerate(rows.columns):
        parts = rows[column], test[column]
        if fixed:
            found, made = fixed[place], [cells_of(fixed[place], part) for part in parts]
        else:
            found, made = encode_column(column, parts[0], parts[1:])
        cells[0][:, place], cells[1][:, place] = made
        columns.append(found)
    features = features_of(columns)
    if features > MOST_FEATURES:
        widest = max(columns, key=lambda each: each.features)
        raise DropbenchError(
            f"{name} has {features:,} features, more than {MOST_FEATURES:,}; {widest.name!r} alone has "
            f"{widest.features:,}.",
            "Take out columns.",
        )
    check_memory(name, 3 * 8 * (len(rows) + len(test)) * features)
    return tuple(columns), cells[0], cells[1]


def _what_is_used(columns: tuple[Column, ...], train: np.ndarray, test: np.ndarray) -> list[str]:
    categories = sum(bool(column.categories) for column in columns)
    kinds = ((len(columns) - categories, "of numbers"), (categories, "of categories"))
    there = [f"{counted(number, 'column')} {kind}" for number, kind in kinds if number]
    notes = [f"The table has {' and '.join(there)}."]
    missing = np.isnan(train).sum(axis=0) + np.isnan(test).sum(axis=0)
    if total := int(missing.sum()):
        where = [f"{columns[place].name!r} ({missing[place]:,})" for place in np.flatnonzero(missing)]
        are = "is" if total == 1 else "are"
        notes.append(
            f"{counted(total, 'cell')} {are} missing, in {listed(where)}: a number becomes the median of the "
            "training rows, a category none, and a feature flags where training rows lack a cell."
        )
    return notes


def _almost_numbers(rows: pd.DataFrame) -> list[str]:
    """Return what there is to say of columns that a few cells keep from being numbers."""
    notes = []
    for column in rows.columns:
        if is_number(rows[column]):
            continue
        if marked := otherwise_written_number(rows[column]):
            notes.append(
                f"The column {column!r} is text, since its numbers are written like {marked!r}: write them "
                "like 1234.5 to have numbers."
            )
        else:
            few, such = what_keeps_from_numbers(rows[column])
            if few:
                are = "is no number" if few == 1 else "are no numbers"
                cells = f"{counted(few, 'cell')} of it, like {such!r}, {are}"
                notes.append(
                    f"The column {column!r} is text, since {cells}: leave such cells empty to have numbers."
                )
    return notes


def _left_out(apart: list[str], constant: list[str]) -> list[str]:
    told = []
    if apart:
        told.append(f"Left out, since it only tells rows apart: {listed(map(repr, apart))}.")
    if constant:
        told.append(f"Left out, since it is the same in all training rows: {listed(map(repr, constant))}.")
    return told
