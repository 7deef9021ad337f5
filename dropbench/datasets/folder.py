"""The user's own images: PATH/train/CLASS/* and PATH/test/CLASS/*, in any format that Pillow reads."""

import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dropbench.datasets.dataset import DataSet
from dropbench.datasets.options import NO_OPTIONS, SourceOptions, shown
from dropbench.errors import DropbenchError

_log = logging.getLogger(__name__)

_LAYOUT = "Lay it out as PATH/train/CLASS/* and PATH/test/CLASS/*."


class ImageFolder:
    """The images in one folder, called ``folder:PATH`` in results, with the path as it was told."""

    summary = "your own images: PATH/train/CLASS/* and PATH/test/CLASS/*"

    def __init__(self, path: str, options: SourceOptions = NO_OPTIONS) -> None:
        self.path = options.resolved(path)
        self.options = options
        self.name = f"folder:{shown(path)}"

    @property
    def identity(self) -> str:
        """The folder, however it was told, and the options."""
        return f"folder:{self.path.name} {self.options.told}"

    def place(self, data_dir: Path) -> str:
        """Return the folder itself; ``data_dir`` is not used."""
        return str(self.path)

    def files(self, data_dir: Path) -> Sequence[Path]:
        """Return all image files, ordered by split, class and name.

        Raises:
            DropbenchError: if the folder does not have the expected layout.

        """
        return [file for split in ("train", "test") for _, file in self._labelled_files(split)]

    def fetch(self, data_dir: Path) -> None:
        """Raise DropbenchError: the user's own images cannot be downloaded."""
        raise DropbenchError(f"The folder {self.path} holds no images.", _LAYOUT)

    def decode(self, data_dir: Path) -> DataSet:
        """Read all images, converted to the size and number of channels of the first training image.

        A warning is logged if other images differed from it.

        Raises:
            DropbenchError: if an image cannot be read.

        """
        labelled = {split: self._labelled_files(split) for split in ("train", "test")}
        first = _open(labelled["train"][0][1])
        channels = 1 if first.mode in ("1", "L", "LA") or first.mode.startswith("I") else 3
        size = first.size
        arrays: dict[str, np.ndarray] = {}
        changed = 0
        with ThreadPoolExecutor() as pool:  # Pillow releases the interpreter lock while it decodes
            for split, items in labelled.items():
                images = np.empty((len(items), channels, size[1], size[0]), dtype=np.uint8)
                decoded = pool.map(lambda item: _decode(item[1], size, channels), items)
                for index, (pixels, fitted) in enumerate(decoded):
                    images[index] = pixels
                    changed += not fitted
                arrays[f"{split}_images"] = images
                arrays[f"{split}_labels"] = np.array([label for label, _ in items], dtype=np.int64)
        if changed:
            _log.warning(
                f"{changed} images of {self.name} were converted to the first image's "
                f"{size[0]}×{size[1]} pixels and {channels} channel{'s' * (channels > 1)}."
            )
        return DataSet(
            name=self.name,
            train_inputs=arrays["train_images"],
            train_targets=arrays["train_labels"],
            test_inputs=arrays["test_images"],
            test_targets=arrays["test_labels"],
            classes=tuple(self._classes()),
        )

    def _classes(self) -> list[str]:
        train = self.path / "train"
        if not train.is_dir():
            raise DropbenchError(f"There is no folder {train}.", _LAYOUT)
        classes = sorted(entry.name for entry in train.iterdir() if entry.is_dir() and entry.name[0] != ".")
        if len(classes) < 2:
            found = f"only the class {classes[0]!r}" if classes else "no class"
            raise DropbenchError(f"The folder {train} has {found}.", f"Two or more are needed. {_LAYOUT}")
        return classes

    def _labelled_files(self, split: str) -> list[tuple[int, Path]]:
        classes = self._classes()
        folder = self.path / split
        if not folder.is_dir():
            raise DropbenchError(f"There is no folder {folder}.", _LAYOUT)
        unknown = {e.name for e in folder.iterdir() if e.is_dir() and e.name[0] != "."} - set(classes)
        if unknown:
            raise DropbenchError(
                f"{folder} has the class {min(unknown)!r}, which has no training images.",
                "Add training images, or remove the class.",
            )
        extensions = Image.registered_extensions()
        items = []
        for label, name in enumerate(classes):
            folder_files = sorted((folder / name).iterdir()) if (folder / name).is_dir() else []
            images = [f for f in folder_files if f.suffix.lower() in extensions and f.name[0] != "."]
            if not images and split == "train":
                raise DropbenchError(f"The class folder {folder / name} {_holds(folder_files)}.", _LAYOUT)
            items += [(label, file) for file in images]
        if not items:
            raise DropbenchError(f"The folder {folder} has no images.", _LAYOUT)
        return items


def _holds(files: Sequence[Path]) -> str:
    """What a folder without an image holds, so that a format that is not read is seen."""
    endings = Counter(f.suffix.lower() or "no ending" for f in files if f.is_file() and f.name[0] != ".")
    if not endings:
        return "has no images"
    named = ", ".join(f"{count} of {ending}" for ending, count in endings.most_common(3))
    return f"has no images in a format that Pillow reads here, but files: {named}"


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return ImageOps.exif_transpose(image)  # loads the pixels, so that a damaged file fails here
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise DropbenchError(
            f"Cannot read the image {file} ({str(error) or type(error).__name__}).", "Repair or remove it."
        ) from error


def _decode(file: Path, size: tuple[int, int], channels: int) -> tuple[np.ndarray, bool]:
    """Read an image as uint8 ``(channels, height, width)``, and say whether it needed no conversion."""
    image = _open(file)
    sixteen_bits = image.mode.startswith("I")
    fitted = image.size == size and (image.mode in ("1", "L", "LA") or sixteen_bits) == (channels == 1)
    if sixteen_bits:  # Pillow would clip 16-bit values at 255 instead of scaling them
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return (pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)), fitted
