"""Make a data set of arrays, whether they are in files or in memory."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dropbench.datasets.arrays.inputs import Inputs
from dropbench.datasets.arrays.layout import Layout, layout_of
from dropbench.datasets.arrays.stored import Stored, check_disk
from dropbench.datasets.column import Column
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.given_splits import TEST, TRAIN, VALIDATION, held_out, said_of, settle
from dropbench.datasets.options import NO_OPTIONS, SourceOptions
from dropbench.datasets.targets import targets_of
from dropbench.errors import DropbenchError
from dropbench.run.blocks.data import REGRESSION
from dropbench.run.telling import counted, listed

_PAIRS = (
    {TRAIN: ("x_train", "y_train"), VALIDATION: ("x_val", "y_val"), TEST: ("x_test", "y_test")},
    {
        TRAIN: ("train_images", "train_labels"),
        VALIDATION: ("val_images", "val_labels"),
        TEST: ("test_images", "test_labels"),
    },
    {TRAIN: ("x", "y")},
    {TRAIN: ("data", "target")},
)
"""The names of inputs and targets; capitals do not matter."""
WANTED = (
    "Name them x_train, y_train, x_test, y_test (and x_val, y_val), or train_images, train_labels, … as "
    "MedMNIST does, or x, y alone."
)
_LISTED = 10  # arrays that a sentence names


def is_wanted(name: str) -> bool:
    """Whether an array of this name can be part of a data set."""
    return any(name.lower() in pair for pairs in _PAIRS for pair in pairs.values())


@dataclass(frozen=True)
class _Part:
    """The arrays of a split, with the layout of its inputs."""

    inputs: Stored
    targets: Stored
    layout: Layout


def data_set(
    name: str, there: Sequence[Stored], options: SourceOptions = NO_OPTIONS, to_bytes: bool = False
) -> DataSet:
    """Return the data set of arrays with names that ``is_wanted`` knows; others are told.

    Images of bytes stay bytes, and of other numbers become float32. Inputs ``(examples, features)`` are a
    table. Without a test split the validation split is taken for it; without both, examples are held out.

    Args:
        name: the name of the data set.
        there: the arrays; a large one is not read into memory at once.
        options: the task, and the share of the test split.
        to_bytes: whether images of numbers from 0 to 1 become bytes, rounded.

    Raises:
        UsageError: if an option does not fit the arrays.
        DropbenchError: if they are no examples with targets.

    """
    parts, unused = _parts_of(name, there)
    notes = [parts[TRAIN].layout.note] if parts[TRAIN].layout.note else []
    if unused:
        notes.append(f"Not used: {listed(map(str, unused), _LISTED)}.")
    notes += settle(name, parts, options)
    _check_disk(parts)
    found, classes, of_targets = targets_of(
        {part.targets.name: part.targets.load() for part in parts.values()}, options.task == REGRESSION
    )
    targets = dict(zip(parts, found, strict=True))
    inputs = Inputs(
        {part.inputs.name: part.inputs.load() for part in parts.values()},
        {part.inputs.name: part.layout for part in parts.values()},
        to_bytes,
    )
    chosen = {split: np.ones(len(found), dtype=bool) for split, found in targets.items()}
    layout = parts[TRAIN].layout
    if TEST in parts:
        tested = {parts[TEST].inputs.name: chosen[TEST]}
        test_targets = targets[TEST]
    else:
        test = held_out(targets[TRAIN] if classes else None, len(targets[TRAIN]), options.test_share)
        tested = {parts[TRAIN].inputs.name: test}
        test_targets = targets[TRAIN][test]
        chosen[TRAIN] = ~test
        of_targets.append(said_of(test, layout.noun))
    learned = [split for split in (TRAIN, VALIDATION) if split in parts]
    return DataSet(
        name=name,
        train_inputs=inputs.take({parts[split].inputs.name: chosen[split] for split in learned}),
        train_targets=np.concatenate([targets[split][chosen[split]] for split in learned]),
        test_inputs=inputs.take(tested),
        test_targets=test_targets,
        classes=classes,
        columns=tuple(Column(f"f{place}") for place in range(layout.features)),
        validation=len(targets.get(VALIDATION, ())),
        notes=(*notes, *of_targets),
    )


def check_arrays(name: str, there: Sequence[Stored]) -> None:
    """Raise DropbenchError if arrays are no data set by their names, shapes and types; none is read."""
    _parts_of(name, there)


def _parts_of(name: str, there: Sequence[Stored]) -> tuple[dict[str, _Part], list[Stored]]:
    """Return the arrays by what they are for, train first and test last, and those that are for nothing."""
    by_name = {each.name.lower(): each for each in there}
    pairs = next((pairs for pairs in _PAIRS if all(each in by_name for each in pairs[TRAIN])), None)
    if pairs is None:
        raise DropbenchError(
            f"{name} has {listed(map(str, there), _LISTED) if there else 'no arrays'}.", WANTED
        )
    parts: dict[str, _Part] = {}
    for split, (inputs, targets) in pairs.items():
        if inputs in by_name and targets in by_name:
            pair = by_name.pop(inputs), by_name.pop(targets)
            _check(*pair)
            parts[split] = _Part(*pair, layout_of(pair[0]))
        elif inputs in by_name or targets in by_name:
            is_there, lacks = (inputs, targets) if inputs in by_name else (targets, inputs)
            raise DropbenchError(f"{name} has {by_name[is_there]}, but no {lacks}.", f"Add {lacks}.")
    train = parts[TRAIN]
    for part in parts.values():
        if part.layout.shape != train.layout.shape:
            raise DropbenchError(
                f"{part.inputs} has {part.layout.noun} of another shape than {train.inputs}.",
                "Training, validation and test examples need one shape.",
            )
    return parts, list(by_name.values())


def _check(inputs: Stored, targets: Stored) -> None:
    """Refuse arrays of other lengths, and targets that are none."""
    for each in (inputs, targets):
        if each.dtype.hasobject:
            raise DropbenchError(
                f"{each.name} holds Python objects, which are never unpickled.",
                "Save it as an array of numbers, or of text with a fixed length: array.astype(str).",
            )
    if targets.dtype.kind not in "buifUS":
        raise DropbenchError(f"{targets.name} holds {targets.dtype}.", "Targets are numbers or text.")
    if len(targets.shape) not in (1, 2) or 0 in targets.shape[1:]:
        raise DropbenchError(
            f"{targets.name} has the shape {targets.shape}.",
            "Targets are (n,) or (n, 1); labels are also one-hot, (n, classes).",
        )
    examples = inputs.shape[0] if inputs.shape else 0
    if examples != targets.shape[0]:
        raise DropbenchError(
            f"{inputs.name} has {counted(examples, 'example')}, {targets.name} has {targets.shape[0]:,}.",
            "Each example needs one target.",
        )
    if not examples:
        raise DropbenchError(f"{inputs.name} is empty.", "Add examples.")


def _check_disk(parts: Mapping[str, _Part]) -> None:
    """Refuse what does not fit the disk: unpacked, made ready, and in the cache."""
    needed = 0
    for part in parts.values():
        values = part.inputs.shape[0] * math.prod(part.layout.shape)
        needed += 2 * values * part.layout.bytes_of_value(part.inputs.dtype)
        needed += sum(each.nbytes for each in (part.inputs, part.targets) if each.copied)
    check_disk(needed)
