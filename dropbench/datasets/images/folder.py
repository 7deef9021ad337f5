"""The user's own images: a folder for each class, in any format that Pillow reads."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from dropbench.datasets.dataset import DataSet
from dropbench.datasets.images.layout import HOW, Layout, find_layout
from dropbench.datasets.images.photos import (
    WIDE,
    Made,
    Photo,
    UnreadableError,
    Wanted,
    look,
    make,
    pillow_is_quiet,
)
from dropbench.datasets.images.rescaling import Range
from dropbench.datasets.memory import available_memory_bytes, too_much
from dropbench.datasets.options import SourceOptions, shown
from dropbench.datasets.progress import reported
from dropbench.datasets.source import OwnSource
from dropbench.errors import DropbenchError, UsageError
from dropbench.run.telling import listed

_KEPT = 1 << 29  # bytes of small images that are kept from the look at them, so that no file is opened twice
_AT_A_TIME = 32  # images that a thread reads before it asks for more
_SUGGESTED = 64
_NO_PIXELS = np.empty(0, dtype=np.uint8)
T = TypeVar("T")
R = TypeVar("R")


class ImageFolder(OwnSource):
    """The images in one folder, called ``folder:PATH`` in results, with the path as it was told.

    They are colour if one of them is, and have the size that was asked for, else that of most of them.
    """

    form = "folder"
    summary = "your own images, a folder for each class"

    @cached_property
    def layout(self) -> Layout:
        """The files by class and split; raises DropbenchError as find_layout does."""
        return find_layout(self.path, self.options)

    @property
    def identity(self) -> str:
        """The options, and what of the folder is told or refused beside its files, wherever it is."""
        dead = sorted(map(self._within, self.layout.dead))
        return f"{self.form} {self.options.told} {self.layout.notes} {dead}"

    def files(self, data_dir: Path) -> Sequence[Path]:
        """Return all image files, without links that lead nowhere, ordered by split, class and name.

        Raises:
            DropbenchError: if the folder is laid out in no known way.

        """
        return [file for _, file in self.layout.items if file not in self.layout.dead]

    def fetch(self, data_dir: Path) -> None:
        """Raise DropbenchError: the user's own images cannot be downloaded."""
        dead = len(self.layout.dead)
        what = f"{dead:,} links to images, which lead nowhere" if dead else "no images"
        raise DropbenchError(f"The folder {self.path} holds {what}.", HOW)

    def decode(self, data_dir: Path) -> DataSet:
        """Read all images.

        Raises:
            UsageError: if they have many sizes and none was asked for, or would not fit into memory.
            DropbenchError: if an image cannot be read, unless such images are to be skipped.

        """
        with pillow_is_quiet():
            return self._decode()

    def _decode(self) -> DataSet:
        items = self.layout.items
        photos = _look_at([file for _, file in items])
        wanted = self._wanted([photo for photo in photos if isinstance(photo, Photo)])
        self._check_memory(len(items), wanted)
        width, height = wanted.size
        images = np.empty((len(items), wanted.channels, height, width), dtype=np.uint8)

        def read(place: int) -> Made | str:
            photo = photos[place]
            if isinstance(photo, str):
                return photo
            try:
                made = make(items[place][1], photo, wanted)
            except UnreadableError as error:
                return str(error)
            pixels = made.pixels
            images[place] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
            return made._replace(pixels=_NO_PIXELS)  # from now on only what was done to it is wanted

        made = list(_in_threads("reading images", read, range(len(items))))
        unread = {place: reason for place, reason in enumerate(made) if isinstance(reason, str)}
        notes = self._unread_notes(unread)
        labels = np.array([label for label, _ in items], dtype=np.int64)
        splits = np.repeat(
            np.arange(3), [len(self.layout.train), len(self.layout.validation), len(self.layout.test)]
        )
        if unread:
            there = np.array([place not in unread for place in range(len(items))])
            images, labels, splits = images[there], labels[there], splits[there]
            self._check_complete(labels, splits)
        train = int((splits < 2).sum())
        notes += _notes([each for each in made if isinstance(each, Made)], photos, wanted, self.options)
        if all((image == images[0]).all() for image in images):
            notes.append("All images are alike, so there is nothing to learn from them.")
        return DataSet(
            name=self.name,
            train_inputs=images[:train],
            train_targets=labels[:train],
            test_inputs=images[train:],
            test_targets=labels[train:],
            classes=self.layout.classes,
            validation=int((splits == 1).sum()),
            notes=(*self.layout.notes, *notes),
        )

    def _within(self, file: Path) -> str:
        return shown(str(file.relative_to(self.path)))

    def _wanted(self, photos: Sequence[Photo]) -> Wanted:
        """Decide on size, channels and ranges of the images; raise UsageError if the size is open."""
        if not photos:
            raise DropbenchError(
                f"None of the {len(self.layout.items):,} images of {self.path} can be read.", HOW
            )
        told = self.options.height_and_width
        if told is None:
            sizes = Counter(photo.size for photo in photos)
            size, most = sizes.most_common(1)[0]
            if 2 * most <= len(photos):
                first, last = (
                    size_text(each(sizes, key=lambda size: size[0] * size[1])) for each in (min, max)
                )
                shorter = sorted(min(photo.size) for photo in photos)[len(photos) // 2]
                raise UsageError(
                    f"The images of {self.path} have {len(sizes):,} sizes, from {first} to {last} pixels "
                    "(height × width), and no net takes more than one.",
                    f"Write `image_size={min(_SUGGESTED, 1 << shorter.bit_length() - 1)}`, or another size.",
                )
        else:
            size = told[1], told[0]
        ranges = {
            kind: Range.around(photo.range for photo in photos if photo.wide == kind and photo.range)
            for kind in {photo.wide for photo in photos if photo.wide}
        }
        return Wanted(size, 3 if any(photo.colour for photo in photos) else 1, self.options.fit, ranges)

    def _check_memory(self, images: int, wanted: Wanted) -> None:
        """Raise UsageError if the arrays would not fit into memory."""
        needed = images * wanted.channels * wanted.size[0] * wanted.size[1]
        if told := too_much(needed, available_memory_bytes()):
            raise UsageError(
                f"{images:,} images of {size_text(wanted.size)} pixels take {told}.",
                f"Write a smaller `image_size`, like `image_size={_SUGGESTED}`.",
            )

    def _unread_notes(self, unread: dict[int, str]) -> list[str]:
        """Return sentences on images that cannot be read; raise DropbenchError unless they are skipped."""
        if not unread:
            return []
        items = self.layout.items
        named = listed(f"{self._within(items[place][1])} ({reason})" for place, reason in unread.items())
        which = f"{len(unread):,} of the {len(items):,} images"
        if self.options.skip_unreadable:
            are = "is" if len(unread) == 1 else "are"
            return [f"{which} cannot be read and {are} left out: {named}."]
        raise DropbenchError(
            f"{which} of {self.path} cannot be read: {named}.",
            "Repair or remove them, or leave them out with `skip_unreadable=True`.",
        )

    def _check_complete(self, labels: np.ndarray, splits: np.ndarray) -> None:
        """Raise DropbenchError if no image of a class or a split can be read."""
        for label, name in enumerate(self.layout.classes):
            if not ((labels == label) & (splits == 0)).any():
                raise DropbenchError(
                    f"No training image of the class {name!r} of {self.path} can be read.",
                    "Repair some of them, or remove the class.",
                )
        for split, name, items in ((1, "validation", self.layout.validation), (2, "test", self.layout.test)):
            if items and not (splits == split).any():
                raise DropbenchError(f"No {name} image of {self.path} can be read.", "Repair some of them.")


def size_text(size: tuple[int, int]) -> str:
    """Width and height as text, the height first, as `` `image_size` `` has them."""
    return f"{size[1]}×{size[0]}"


def _look_at(files: Sequence[Path]) -> list[Photo | str]:
    """Look at all images; of one that cannot be read the result is the reason."""
    lock, left = threading.Lock(), _KEPT

    def look_at(file: Path) -> Photo | str:
        nonlocal left
        try:
            photo = look(file, keep=left > 0)
        except UnreadableError as error:
            return str(error)
        if photo.kept is not None:
            with lock:
                left -= photo.kept.nbytes
        return photo

    return list(_in_threads("looking at images", look_at, files))


def _in_threads(what: str, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Yield what a function makes of each item, in their order; Pillow releases the interpreter lock."""
    parts = [items[start : start + _AT_A_TIME] for start in range(0, len(items), _AT_A_TIME)]
    with ThreadPoolExecutor() as pool:
        try:
            done = pool.map(lambda part: [function(item) for item in part], parts)
            for part in reported(what, done, len(items), len):
                yield from part
        except BaseException:  # such as Ctrl-C: what is not begun is not wanted any more
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _notes(
    made: Sequence[Made], photos: Sequence[Photo | str], wanted: Wanted, options: SourceOptions
) -> list[str]:
    """Return sentences on what was done to images."""
    notes = []
    for kind, range_ in wanted.ranges.items():
        if not (kind == "I;16" and range_.divisor == 256):  # which is what everybody expects
            notes.append(
                f"Images hold {WIDE[kind]} from {range_.low:,.10g} to {range_.high:,.10g}: {range_.said()}."
            )
    grey = sum(isinstance(photo, Photo) and not photo.colour for photo in photos)
    if wanted.channels == 3 and 2 * grey > len(photos):
        notes.append(f"{_images(grey)} grey, but not all are, so every image has three channels.")
    resized = sum(each.resized for each in made)
    enlarged = sum(each.resized and each.enlarged for each in made)
    if resized and not options.image_size:
        notes.append(
            f"{_images(resized)} not of the {size_text(wanted.size)} pixels (height × width) that most have, "
            f"and {_are(resized)} fitted to these by `fit={wanted.fit}`; `image_size` is for another size."
        )
    if enlarged:
        notes.append(f"{_images(enlarged)} smaller than {size_text(wanted.size)} pixels, and enlarged.")
    if transparent := sum(each.transparent for each in made):
        notes.append(f"{_images(transparent)} transparent in part, and {_have(transparent)} white there.")
    return notes


def _images(number: int) -> str:
    return f"{number:,} image{'' if number == 1 else 's'} {_are(number)}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"
