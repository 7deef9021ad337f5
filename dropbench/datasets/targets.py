"""Labels and other targets, made into the numbers that a net learns."""

from collections.abc import Mapping

import numpy as np

from dropbench.errors import DropbenchError, UsageError
from dropbench.run.telling import counted, listed

MANY_NUMBERS = 20
"""The most distinct numbers of a target that are taken as classes without a word."""
_TEXT = "USO"  # kinds of types; objects are text here
_MOST_ROUNDING = 1e-3  # of the deviation of the targets
_NAMED = 3  # classes that a sentence names before it counts the others


def targets_of(
    given: Mapping[str, np.ndarray], regression: bool, from_table: bool = False
) -> tuple[list[np.ndarray], tuple[str, ...], list[str]]:
    """Return the targets of each part, the names of the classes, and what a user should know.

    Labels become int64 ``(examples,)``, counted from 0 in the order of the classes, which are the sorted
    values of the first part. The numbers of a regression become float32, and there are no classes.

    Args:
        given: targets by what they are called; the first are those of the training examples. Each is
            ``(examples,)`` or ``(examples, 1)``; labels are also one-hot, ``(examples, classes)``. Text may
            be Python's.
        regression: whether they are to be predicted as numbers.
        from_table: whether they are a column. Elsewhere integers that follow one another from 0 or 1 are
            taken for labels, however many they are.

    Raises:
        UsageError: if they do not fit the task.
        DropbenchError: if some are missing, or there are not two classes with two training examples each, or
            others have more classes.

    """
    if regression:
        return [_numbers(called, array) for called, array in given.items()], (), []
    one_hot = any(array.ndim == 2 and array.shape[1] > 1 for array in given.values())
    flat = {called: _flat(called, array) for called, array in given.items()}
    for called, values in flat.items():
        _refuse_missing(called, values)
    training, *others = flat
    is_text = {called: values.dtype.kind in _TEXT for called, values in flat.items()}
    classes, labels = np.unique(flat[training], return_inverse=True)
    _check_classes(training, classes, labels)
    found = [labels.reshape(-1).astype(np.int64)]
    for called in others:
        if is_text[called] != is_text[training]:
            text, numbers = (called, training) if is_text[called] else (training, called)
            raise DropbenchError(f"{text} holds text, and {numbers} numbers.", "Write both in one way.")
        places = np.minimum(np.searchsorted(classes, flat[called]), len(classes) - 1)
        if (lacking := classes[places] != flat[called]).any():
            (name, *_), more = class_names(np.unique(flat[called][lacking])), int(lacking.sum())
            raise DropbenchError(
                f"{training} lacks the class {name!r}, which {called} has ({counted(more, 'example')} of "
                "classes that it lacks).",
                "Add training examples, or take these out.",
            )
        found.append(places.astype(np.int64))
    notes = []
    if len(classes) > MANY_NUMBERS and not one_hot and not _are_names(classes, from_table):
        notes.append(
            f"{training} has {len(classes):,} distinct numbers, and each is taken as a class: add "
            "`task=regression` to predict the number itself."
        )
    return found, class_names(classes), notes


def class_names(classes: np.ndarray) -> tuple[str, ...]:
    """Return the values of labels as names; whole numbers have no point."""
    if classes.dtype.kind == "f":
        return tuple(f"{value:.0f}" if value.is_integer() else str(value) for value in classes.tolist())
    return tuple(map(str, classes.tolist()))


def _are_names(classes: np.ndarray, from_table: bool) -> bool:
    """Whether classes are text, or integers that follow one another, as those who number classes write."""
    if classes.dtype.kind in f"{_TEXT}b":
        return True
    numbered = classes[0] in (0, 1) and (np.diff(classes.astype(np.float64)) == 1).all()
    return bool(numbered) and not from_table


def _flat(called: str, array: np.ndarray) -> np.ndarray:
    """Return labels ``(examples,)`` of any type; one-hot labels by their place."""
    if array.ndim == 1 or array.shape[1] == 1:
        flat = array.reshape(-1)
        return np.char.decode(flat, "utf-8", "backslashreplace") if flat.dtype.kind == "S" else flat
    if array.dtype.kind in _TEXT:
        raise DropbenchError(f"{called} has {array.shape[1]} columns of text.", "One label an example.")
    _refuse_missing(called, array)
    fitting = ((array == 1).sum(axis=1) == 1) & ((array != 0).sum(axis=1) == 1)
    if not fitting.all():
        first = int(np.flatnonzero(~fitting)[0])
        raise DropbenchError(
            f"{called} has {array.shape[1]} columns and is not one-hot, as in its example {first}.",
            "Examples with several labels are not taken: give one label an example, or one 1 in each row.",
        )
    places: np.ndarray = array.argmax(axis=1)
    return places


def _refuse_missing(called: str, values: np.ndarray) -> None:
    if values.dtype.kind == "f" and (missing := int((~np.isfinite(values)).sum())):
        raise DropbenchError(
            f"{counted(missing, 'value')} of {called} {'is' if missing == 1 else 'are'} NaN or infinite.",
            "Take out the examples without a target.",
        )


def _check_classes(called: str, classes: np.ndarray, labels: np.ndarray) -> None:
    names = class_names(classes)
    if len(names) == 1:
        raise DropbenchError(
            f"{called} has only one class, {names[0]!r}.", "A classifier needs at least two classes."
        )
    alone = np.flatnonzero(np.bincount(labels.reshape(-1)) == 1)
    if len(alone):
        which = listed((repr(names[place]) for place in alone), _NAMED)
        hint = "Add examples, or take these out."
        if len(names) > MANY_NUMBERS and classes.dtype.kind not in f"{_TEXT}b":
            hint = "Add `task=regression` to predict the number itself."
        raise DropbenchError(
            f"{called} has only one example of the class{'es' * (len(alone) > 1)} {which}; a class "
            "needs two, one of them to validate with.",
            hint,
        )


def _numbers(called: str, array: np.ndarray) -> np.ndarray:
    """Return the targets of a regression, float32 ``(examples,)``."""
    if array.dtype.kind in f"{_TEXT}b":
        what = "True and False" if array.dtype.kind == "b" else f"text like {str(array.flat[0])!r}"
        raise UsageError(
            f"{called} holds {what}, which is no number to predict.",
            "Leave out `task=regression`, or name another target.",
        )
    if array.ndim == 2 and array.shape[1] != 1:
        raise UsageError(f"{called} has {array.shape[1]} columns.", "A regression has one target.")
    with np.errstate(over="ignore"):
        values = array.reshape(-1).astype(np.float32)
    _refuse_missing(called, values)
    rounding = np.abs(array.reshape(-1).astype(np.float64) - values).max(initial=0)
    if rounding > _MOST_ROUNDING * np.std(array.astype(np.float64)):
        raise DropbenchError(
            f"{called} has numbers up to {np.abs(values).max():,.7g}, which differ by too little for the "
            "seven digits that they are kept with.",
            "Subtract a number from all of them, such as their mean.",
        )
    return values
