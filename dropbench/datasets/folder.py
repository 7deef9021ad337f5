"""A folder of images: PATH/train/CLASS/* and PATH/test/CLASS/*, in any format that Pillow reads."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dropbench.datasets.dataset import DataSet
from dropbench.errors import DropbenchError

_log = logging.getLogger(__name__)

_LAYOUT = "Lay it out as PATH/train/CLASS/* and PATH/test/CLASS/*."


class ImageFolder:
    """The images below one folder, called ``folder:NAME`` in results: where it lies is nobody's business."""

    summary = "your own images: PATH/train/CLASS/* and PATH/test/CLASS/*"

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self.name = f"folder:{self.path.name}"

    def place(self, data_dir: Path) -> str:
        """The folder itself; the data directory plays no part."""
        return str(self.path)

    def files(self, data_dir: Path) -> Sequence[Path]:
        """All image files, by split, class and name."""
        return [file for split in ("train", "test") for _, file in self._labelled_files(split)]

    def fetch(self, data_dir: Path) -> None:
        """Raise: nobody can fetch a user's own images."""
        raise DropbenchError(f"The folder {self.path} holds no images.", _LAYOUT)

    def decode(self, data_dir: Path) -> DataSet:
        """Read all images in the size and number of channels of the first, and tell if others differed."""
        labelled = {split: self._labelled_files(split) for split in ("train", "test")}
        first = _open(labelled["train"][0][1])
        channels = 1 if first.mode in ("1", "L", "LA") or first.mode.startswith("I") else 3
        size = first.size
        arrays: dict[str, np.ndarray] = {}
        changed = 0
        with ThreadPoolExecutor() as pool:  # Pillow decodes outside the interpreter lock
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
                f"{changed} images of {self.name} were brought to the first image's "
                f"{size[0]}×{size[1]} pixels and {channels} channel{'s' * (channels > 1)}."
            )
        return DataSet(
            name=self.name,
            train_images=arrays["train_images"],
            train_labels=arrays["train_labels"],
            test_images=arrays["test_images"],
            test_labels=arrays["test_labels"],
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
        strange = {e.name for e in folder.iterdir() if e.is_dir() and e.name[0] != "."} - set(classes)
        if strange:
            raise DropbenchError(
                f"{folder} has the class {min(strange)!r}, which the training images lack.",
                "Every test class needs training images.",
            )
        extensions = Image.registered_extensions()
        items = []
        for label, name in enumerate(classes):
            folder_files = sorted((folder / name).iterdir()) if (folder / name).is_dir() else []
            images = [f for f in folder_files if f.suffix.lower() in extensions and f.name[0] != "."]
            if not images and split == "train":
                raise DropbenchError(f"The class folder {folder / name} has no images.", _LAYOUT)
            items += [(label, file) for file in images]
        if not items:
            raise DropbenchError(f"The folder {folder} has no images.", _LAYOUT)
        return items


def _open(file: Path) -> Image.Image:
    try:
        with Image.open(file) as image:
            return ImageOps.exif_transpose(image)  # loads the pixels, so that a damaged file ends here
    except Exception as error:  # Pillow's plugins raise nearly anything on a damaged file
        raise DropbenchError(
            f"Cannot read the image {file} ({str(error) or type(error).__name__}).", "Mend or remove it."
        ) from error


def _decode(file: Path, size: tuple[int, int], channels: int) -> tuple[np.ndarray, bool]:
    """The image as uint8 ``(channels, height, width)``, and whether it had that size and kind already."""
    image = _open(file)
    sixteen_bits = image.mode.startswith("I")
    fitted = image.size == size and (image.mode in ("1", "L", "LA") or sixteen_bits) == (channels == 1)
    if sixteen_bits:  # Pillow would clip 16 bits at 255 instead of scaling them
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return (pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)), fitted
