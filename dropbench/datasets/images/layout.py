"""The layout of a folder of images: which files there are, of which classes and splits."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from dropbench.datasets.given_splits import SPLIT_OF, TEST, TRAIN, VALIDATION, held_out, said_of, settle
from dropbench.datasets.options import SourceOptions, shown
from dropbench.errors import DropbenchError
from dropbench.run.telling import counted, listed

HOW = "Lay it out as PATH/train/CLASS/* and PATH/test/CLASS/*, or as PATH/CLASS/*."
Labelled = tuple[int, Path]

# What systems and programs leave behind, beside hidden files; @eaDir has small copies of the images.
_JUNK = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "lost+found"}
# Pillow knows these by name, and needs a program or a library of somebody else to read them.
_STUBS = {"BUFR", "GRIB", "HDF5", "MPEG"}
_NAMED = 3  # endings and names that a sentence lists


@dataclass(frozen=True)
class Layout:
    """The image files of a folder, each with the place of its class, ordered by class and name."""

    classes: tuple[str, ...]
    train: tuple[Labelled, ...]
    validation: tuple[Labelled, ...]
    test: tuple[Labelled, ...]
    dead: frozenset[Path]
    """The links among the files that lead nowhere."""
    notes: tuple[str, ...]
    """Sentences on what was made of the folder that a user should know."""

    @property
    def items(self) -> tuple[Labelled, ...]:
        """The files in the order of a data set: training, validation, test."""
        return self.train + self.validation + self.test


def find_layout(root: Path, options: SourceOptions) -> Layout:
    """Find the splits and classes of a folder, by its names alone.

    - train and test, in any letter case; val, valid or validation beside them is the validation split.
    - train and val: val is the test split.
    - a folder for each class: a share of each is the test split.

    Raises:
        DropbenchError: if it is laid out in no such way.
        UsageError: if a test share was told and there is a test split.

    """
    if not root.is_dir():
        raise DropbenchError(f"There is no folder {root}.", HOW)
    splits, notes = _split_folders(root)
    if TRAIN not in splits and splits:
        raise DropbenchError(f"There is no folder {root / 'train'}.", HOW)
    found = {split: _Folder(folder) for split, folder in splits.items()} or {TRAIN: _Folder(root)}
    classes = found[TRAIN].train_classes()
    for split, folder in found.items():
        folder.check(split, classes)
    items = {split: tuple(folder.labelled(classes)) for split, folder in found.items()}
    notes += _passed_over(found.values())
    notes += settle(f"The folder {root}", items, options)
    if TEST not in items:
        notes.append(hold_out(items, np.array([label for label, _ in items[TRAIN]]), options))
    dead = frozenset(
        file for folder in found.values() for each in folder.found.values() for file in each.dead
    )
    return Layout(
        tuple(map(shown, classes)), items[TRAIN], items.get(VALIDATION, ()), items[TEST], dead, tuple(notes)
    )


def hold_out(
    items: dict[str, tuple[Labelled, ...]], labels: np.ndarray | None, options: SourceOptions
) -> str:
    """Make some of the training items the test items, by classes if there are ``labels``; say how many."""
    every = items[TRAIN]
    test = held_out(labels, len(every), options.test_share)
    items[TRAIN] = tuple(item for item, out in zip(every, test, strict=True) if not out)
    items[TEST] = tuple(item for item, out in zip(every, test, strict=True) if out)
    return said_of(test, "images")


def _split_folders(root: Path) -> tuple[dict[str, Path], list[str]]:
    """The folders of splits, each of which has folders in it, and what is to be said of the others."""
    splits: dict[str, Path] = {}
    others = []
    for folder in _folders(root):
        split = SPLIT_OF.get(folder.name.casefold())
        if split is None or not _folders(folder):
            others.append(folder)
        elif split in splits:
            raise DropbenchError(
                f"Both {splits[split]} and {folder.name} are its {split} split.", "Rename or remove one."
            )
        else:
            splits[split] = folder
    if TRAIN in splits and len(splits) == 1:
        for folder in others:
            if SPLIT_OF.get(folder.name.casefold()) and _scan(folder).images:
                raise DropbenchError(
                    f"The images in {folder} are in no folders of classes.",
                    f"Sort them by class, or split the training images: `data=folder:{splits[TRAIN]}`.",
                )
    notes = []
    if splits and (left := [folder.name for folder in others if _scan(folder).images]):
        are = "is" if len(left) == 1 else "are"
        notes.append(f"Left out: {listed(map(shown, left), _NAMED)}, which {are} no split with classes.")
    return splits, notes


@dataclass
class _Scan:
    """The content of a folder, with that of the folders in it."""

    images: list[Path] = field(default_factory=list)
    dead: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    """The other files by their endings."""
    nested: int = 0
    """Images that are in folders within it."""


class _Folder:
    """A folder that has a folder for each class."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found = {folder.name: _scan(folder) for folder in _folders(path)}
        self.beside = _scan(path, deep=False)

    def train_classes(self) -> list[str]:
        """The classes, sorted; raises DropbenchError for one without an image, or fewer than two."""
        classes = sorted(self.found)
        for name in classes:
            if not self.found[name].images:
                raise DropbenchError(
                    f"The class folder {self.path / name} {_holds(self.found[name].others)}.",
                    "Remove it, or add images.",
                )
        if len(classes) < 2:
            found = f"only the class {shown(classes[0])!r}" if classes else "no class"
            hint = f"Two or more are needed. {HOW}"
            if classes and len(_folders(self.path / classes[0])) > 1:
                hint = f"Two or more are needed. Did you mean `data=folder:{self.path / classes[0]}`?"
            raise DropbenchError(f"The folder {self.path} has {found}.", hint)
        return classes

    def check(self, split: str, classes: Sequence[str]) -> None:
        """Raise DropbenchError for a class that is not among the classes, or if there is no image."""
        unknown = sorted(name for name, found in self.found.items() if name not in classes and found.images)
        if unknown:
            raise DropbenchError(
                f"{self.path} has the class {shown(unknown[0])!r}, which has no training images.",
                "Add training images, or remove the class.",
            )
        if not any(found.images for found in self.found.values()):
            raise DropbenchError(f"The {split} split {self.path} has no images.", HOW)

    def labelled(self, classes: Sequence[str]) -> Iterator[Labelled]:
        """Each image with the place of its class."""
        for label, name in enumerate(classes):
            if name in self.found:
                yield from ((label, file) for file in self.found[name].images)


def _passed_over(folders: Iterable[_Folder]) -> list[str]:
    """Return sentences on files that are not where they belong, or no images."""
    folders = list(folders)
    notes = []
    scans = [scan for folder in folders for scan in folder.found.values()]
    if nested := sum(scan.nested for scan in scans):
        lie = "image lies in a folder within its" if nested == 1 else "images lie in folders within their"
        notes.append(f"{nested:,} {lie} class's folder, and {'is' if nested == 1 else 'are'} used.")
    if others := sum((scan.others for scan in scans), Counter()):
        notes.append(f"Passed over, since they are no images that Pillow reads here: {_by_ending(others)}.")
    if beside := sum(len(folder.beside.images) for folder in folders):
        notes.append(f"{counted(beside, 'image')} beside the folders of classes: left out.")
    return notes


def _folders(path: Path) -> list[Path]:
    """The folders in a folder, without hidden ones and junk, sorted by name."""
    with os.scandir(path) as entries:
        return sorted(Path(entry.path) for entry in entries if _is_folder(entry) and not _is_junk(entry.name))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()  # a link may be to itself


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _JUNK


def _scan(path: Path, deep: bool = True) -> _Scan:
    """Sort the files of a folder, with those of the folders in it unless ``deep`` is False."""
    found = _Scan()
    above = tuple(map(str, Path(os.path.realpath(path)).parents))
    _scan_into(found, str(path), deep, above, image_endings())
    found.nested = sum(image.parent != path for image in found.images)
    found.images.sort()
    return found


def _scan_into(found: _Scan, path: str, deep: bool, above: tuple[str, ...], endings: frozenset[str]) -> None:
    above = (*above, os.path.realpath(path))
    with os.scandir(path) as entries:
        for entry in entries:
            if _is_junk(entry.name):
                continue
            ending = os.path.splitext(entry.name)[1].lower()
            if _is_folder(entry):
                if deep and os.path.realpath(entry.path) not in above:  # a link may lead back up
                    _scan_into(found, entry.path, deep, above, endings)
            elif ending not in endings or not (entry.is_file() or entry.is_symlink()):
                found.others[ending or "no ending"] += 1
            else:
                file = Path(entry.path)
                found.images.append(file)
                if entry.is_symlink() and not os.path.isfile(entry.path):
                    found.dead.append(file)


@cache
def image_endings() -> frozenset[str]:
    """The endings of the files that Pillow reads here, like ``.png``."""
    known: Mapping[str, str] = Image.registered_extensions()
    readable = {*Image.OPEN, "MPO"} - _STUBS  # MPO is opened as JPEG
    return frozenset(ending for ending, name in known.items() if name in readable)


def _holds(others: Counter[str]) -> str:
    """Say what a folder without an image holds, so that a format that is not read is seen."""
    if not others:
        return "has no images"
    return f"has no images in a format that Pillow reads here, but files: {_by_ending(others)}"


def _by_ending(files: Counter[str]) -> str:
    return listed((f"{count:,} of {shown(ending)}" for ending, count in files.most_common()), _NAMED)
