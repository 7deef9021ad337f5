"""The inputs and targets in a data set of Hugging Face's, found by the types of its columns."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd

from dropbench.datasets.arrays.data_set import data_set
from dropbench.datasets.arrays.stored import Stored
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.given_splits import TEST, TRAIN, VALIDATION, settle
from dropbench.datasets.images.folder import ImageFolder
from dropbench.datasets.images.layout import Labelled, Layout, hold_out
from dropbench.datasets.options import SourceOptions
from dropbench.datasets.tables.table import find_target, table_of
from dropbench.datasets.targets import targets_of
from dropbench.errors import DropbenchError, UsageError
from dropbench.run.blocks.data import REGRESSION
from dropbench.run.telling import counted, listed

_TARGETS = ("label", "labels", "target")
_IMAGES = ("image", "img")
_OF_IMAGES = ("image_size", "fit", "skip_unreadable")
_WORDS = ("string", "large_string", "bool")
_NAMED = 20  # columns that a sentence names


def made_of(name: str, splits: Mapping[str, Any], options: SourceOptions, notes: Sequence[str]) -> DataSet:
    """Return the data set of the splits, each a ``datasets.Dataset``; train is the first, test the last.

    Without a test split the validation split is taken for it; without both, examples are held out.

    Raises:
        UsageError: if the target is open, or an option does not fit.
        DropbenchError: if there are no inputs with targets.

    """
    features = splits[TRAIN].features
    for split, rows in splits.items():
        if set(rows.features) != set(features):
            odd = sorted(set(rows.features) ^ set(features))
            raise DropbenchError(
                f"The {split} split of {name} has other columns than train: {_listed(odd)}.",
                "All splits need the same columns.",
            )
    target = _target_of(name, features, options)
    said = list(notes)
    used = {}
    for split, rows in splits.items():
        of_split = _targets(rows, target)
        if split != TRAIN and of_split.isna().all():
            said.append(f"Not used: the split {split}, which has no targets.")
        else:
            used[split] = rows, of_split
    said += settle(name, used, options)
    splits = {split: rows for split, (rows, _) in used.items()}
    targets = {split: of_split for split, (_, of_split) in used.items()}
    inputs = {column: feature for column, feature in features.items() if column != target}
    images = [column for column, feature in inputs.items() if _kind(feature) == "Image"]
    if images:
        made = _images(name, _one_of(name, images), splits, targets, replace(options, target=target))
    else:
        for option in _OF_IMAGES:
            if option in options.told:
                raise UsageError(f"{name} has no images for `{option}`.", f"Leave out `{option}`.")
        arrays = [column for column, feature in inputs.items() if _kind(feature).startswith("Array")]
        made = (
            _arrays(name, arrays[0], splits, targets, options)
            if len(arrays) == 1 == len(inputs)
            else _table(name, inputs, splits, targets, replace(options, target=target))
        )
    return replace(made, notes=(*said, *made.notes))


def _kind(feature: Any) -> str:
    return type(feature).__name__


def _listed(columns: Iterable[str]) -> str:
    return listed(map(repr, columns), _NAMED)


def _target_of(name: str, features: Mapping[str, Any], options: SourceOptions) -> str:
    """Return the column of the targets: the one that was told, or the one that is of classes, or by name."""
    if options.target:
        return find_target(options.target, list(features))
    of_classes = [column for column, feature in features.items() if _kind(feature) == "ClassLabel"]
    if len(of_classes) == 1:
        return of_classes[0]
    named = [column for column in features if column.lower() in _TARGETS]
    if len(named) == 1:
        return named[0]
    raise UsageError(
        f"Which column of {name} is to be predicted is open: {_listed(features)}.",
        "Name it with `target`.",
    )


def _targets(rows: Any, target: str) -> pd.Series:
    """Return the targets of a split: names of classes, other words, or numbers; missing ones are None."""
    feature = rows.features[target]
    if _kind(feature) not in ("ClassLabel", "Value"):
        raise UsageError(
            f"The target {target!r} has the type {_kind(feature)}, no label and no number.",
            "Name another `target`.",
        )
    cells = rows.select_columns([target]).with_format("pandas")[:][target]
    return _in_words(cells, feature) if _kind(feature) == "ClassLabel" else cells


def _in_words(cells: pd.Series, feature: Any) -> pd.Series:
    """Return the names of classes; −1 stands for none."""
    names = dict(enumerate(feature.names))
    return cells.map(names).astype(object).where(cells.isin(names), None)


def _one_of(name: str, images: Sequence[str]) -> str:
    found = [column for column in images if column.lower() in _IMAGES] if len(images) > 1 else images
    if len(found) != 1:
        raise DropbenchError(
            f"{name} has several columns of images: {_listed(images)}.",
            "A net sees one: take the others out with remove_columns.",
        )
    return found[0]


@dataclass(frozen=True, eq=False)
class _Encoded:
    """An image in a data set, which stands where the file of a photo does."""

    split: str
    rows: Any
    column: str
    place: int

    def __str__(self) -> str:
        return f"{self.split}[{self.place}]"

    def _content(self) -> bytes:
        cell = self.rows[self.place][self.column] or {}
        if cell.get("bytes") is None and cell.get("path"):
            with open(cell["path"], "rb") as file:
                return file.read()
        return cell.get("bytes") or b""

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Return the bytes of its file."""
        return io.BytesIO(self._content())

    def stat(self) -> SimpleNamespace:
        """Return how many bytes there are, as a file's."""
        return SimpleNamespace(st_size=len(self._content()))

    def is_symlink(self) -> bool:
        """Return False: it is no link."""
        return False


class _Images(ImageFolder):
    """Images that are in no folder, and are read as those of one."""

    def __init__(self, name: str, layout: Layout, options: SourceOptions) -> None:
        self.path = cast(Any, name)
        self.name = name
        self.options = options
        self.layout = layout

    def _within(self, file: Any) -> str:
        return str(file)


def _images(
    name: str,
    column: str,
    splits: Mapping[str, Any],
    targets: Mapping[str, pd.Series],
    options: SourceOptions,
) -> DataSet:
    """Return the data set of a column of images, made by the rules for a folder of them."""
    from datasets import Image

    there = {split: np.flatnonzero(cells.notna()) for split, cells in targets.items()}
    without = sum(int(cells.isna().sum()) for cells in targets.values())
    notes = [f"{counted(without, 'image')} without a target left out."] if without else []
    regression = options.task == REGRESSION
    given = {f"{options.target!r} of the split {split}": _values(targets[split]) for split in splits}
    found, classes, of_targets = targets_of(given, regression)
    of_split = dict(zip(splits, found, strict=True))
    items: dict[str, tuple[Labelled, ...]] = {}
    for split, rows in splits.items():
        encoded = rows.select_columns([column]).cast_column(column, Image(decode=False))
        labels = of_split[split].tolist() if classes else range(len(there[split]))
        items[split] = tuple(
            (label, cast(Any, _Encoded(split, encoded, column, int(place))))
            for label, place in zip(labels, there[split], strict=True)
        )
    if TEST not in splits:
        notes.append(hold_out(items, of_split[TRAIN] if classes else None, options))
    layout = Layout(
        classes,
        items[TRAIN],
        items.get(VALIDATION, ()),
        items[TEST],
        frozenset(),
        (*notes, *of_targets),
    )
    made = _Images(name, layout, options).decode(cast(Any, None))
    if not regression:
        return made
    numbers = {split: of_split[split if split in of_split else TRAIN] for split in items}
    learned = np.split(made.train_targets, [len(made.train_targets) - made.validation])
    parts = zip((TRAIN, VALIDATION), learned, strict=True)
    return replace(
        made,
        train_targets=np.concatenate([numbers[split][of] for split, of in parts if len(of)]),
        test_targets=numbers[TEST][made.test_targets],
    )


def _values(cells: pd.Series) -> np.ndarray:
    """Return targets that are there as an array of text or of numbers."""
    known = cells[cells.notna()]
    if known.dtype == object or isinstance(known.dtype, pd.StringDtype):
        return known.astype(str).to_numpy().astype(str)
    return known.to_numpy()


def _arrays(
    name: str,
    column: str,
    splits: Mapping[str, Any],
    targets: Mapping[str, pd.Series],
    options: SourceOptions,
) -> DataSet:
    """Return the data set of a column of arrays of one shape, such as images that are not encoded."""
    there = []
    for split, rows in splits.items():
        part = {TRAIN: "train", VALIDATION: "val", TEST: "test"}[split]
        chosen = targets[split].notna().to_numpy()
        inputs = rows.select_columns([column]).with_format("numpy")[:][column]
        there += [Stored.of(f"x_{part}", inputs[chosen]), Stored.of(f"y_{part}", _values(targets[split]))]
    return data_set(name, there, replace(options, target=""))


def _table(
    name: str,
    inputs: Mapping[str, Any],
    splits: Mapping[str, Any],
    targets: Mapping[str, pd.Series],
    options: SourceOptions,
) -> DataSet:
    """Return the data set of a table: numbers, words, classes, and lists of one length of numbers."""
    left = [column for column, feature in inputs.items() if not _is_of_table(feature)]
    used = {column: feature for column, feature in inputs.items() if column not in left}
    if not used:
        raise DropbenchError(
            f"{name} has neither images nor numbers nor words as inputs, but {_listed(left)}.",
            "Inputs have the types Image, Value, ClassLabel or List.",
        )
    lengths: dict[str, int] = {}
    frames = {
        split: _frame(rows, used, lengths).assign(**{options.target: targets[split].to_numpy()})
        for split, rows in splits.items()
    }
    made = table_of(name, frames[TRAIN], frames.get(TEST), frames.get(VALIDATION), options)
    notes = []
    if left:
        notes.append(f"Left out, since it is neither images nor numbers nor words: {_listed(left)}.")
    return replace(made, notes=(*notes, *made.notes))


def _is_of_table(feature: Any) -> bool:
    kind = _kind(feature)
    if kind in ("List", "LargeList", "Sequence"):
        return _kind(feature.feature) == "Value" and _is_number(feature.feature.dtype)
    return kind == "ClassLabel" or (
        kind == "Value" and (feature.dtype in _WORDS or _is_number(feature.dtype))
    )


def _is_number(dtype: str) -> bool:
    return dtype.startswith(("int", "uint", "float", "decimal"))


def _frame(rows: Any, used: Mapping[str, Any], lengths: dict[str, int]) -> pd.DataFrame:
    """Return the rows of a table; a list of numbers has a column for each."""
    whole = rows.select_columns(list(used)).with_format("pandas")[:]
    columns: dict[str, Any] = {}
    for column, feature in used.items():
        cells = whole[column]
        if _kind(feature) == "ClassLabel":
            columns[column] = _in_words(cells, feature)
        elif _kind(feature) == "Value":
            columns[column] = cells
        else:
            found = {len(cell) if cell is not None else -1 for cell in cells}
            length = lengths.setdefault(column, max(found, default=0))
            if found != {length}:
                raise DropbenchError(
                    f"The lists in the column {column!r} have {min(found):,} to {max(found):,} numbers.",
                    "Rows need as many each: make them so, or take the column out.",
                )
            numbers = np.stack(cells.to_list()).astype(np.float64)
            columns |= {f"{column}_{place}": numbers[:, place] for place in range(length)}
    return pd.DataFrame(columns)
