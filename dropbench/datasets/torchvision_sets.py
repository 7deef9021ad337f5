"""The data sets of torchvision, downloaded and read by torchvision's own classes."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dropbench.datasets.dataset import DataSet
from dropbench.errors import DropbenchError

_IDX = tuple(
    f"{split}-{kind}-ubyte" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
)

_LONGEST_REASON = 300


@dataclass(frozen=True)
class TorchvisionSet:
    """One of torchvision's data sets.

    ``needed`` are the names of its files, which are in ``folder`` of the data directory.
    """

    name: str
    summary: str
    class_name: str
    folder: str
    needed: tuple[str, ...]

    @property
    def identity(self) -> str:
        """Its name."""
        return self.name

    def place(self, data_dir: Path) -> str:
        """Return the folder where torchvision expects the files."""
        return str(data_dir / self.folder)

    def files(self, data_dir: Path) -> Sequence[Path]:
        """Return the files in the data directory; empty if one is missing."""
        files = [data_dir / self.folder / name for name in self.needed]
        return files if all(file.is_file() for file in files) else []

    def fetch(self, data_dir: Path) -> None:
        """Download the files by torchvision, which verifies their checksums.

        Raises:
            DropbenchError: if the download fails; it names the files and where they belong.

        """
        made = _missing_folders(data_dir / self.folder)
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            self._open(data_dir, download=True)
        except Exception as error:  # torchvision passes on whatever the download raised
            for folder in made:
                with contextlib.suppress(OSError):  # a folder that already has downloads in it stays
                    folder.rmdir()
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DropbenchError(
                f"The data set {self.name} is not in {self.place(data_dir)} and cannot be downloaded "
                f"({reason[:_LONGEST_REASON].rstrip('.')}).",
                f"Put {', '.join(self.needed)} there, or name another folder with `data_dir`.",
            ) from error

    def decode(self, data_dir: Path) -> DataSet:
        """Read the files by torchvision.

        Raises:
            DropbenchError: if they are damaged.

        """
        try:
            train, test = self._open(data_dir, download=False)
            return DataSet(
                name=self.name,
                train_inputs=_channels_first(train.data),
                train_targets=_labels(train),
                test_inputs=_channels_first(test.data),
                test_targets=_labels(test),
                classes=tuple(getattr(train, "classes", None) or map(str, range(10))),
            )
        except Exception as error:  # a damaged file can make torchvision raise anything
            raise DropbenchError(
                f"The data set {self.name} in {self.place(data_dir)} is corrupt or cut short "
                f"({type(error).__name__}: {error}).",
                f"Delete the files there and run: dropbench data prepare {self.name}",
            ) from error

    def _open(self, data_dir: Path, download: bool) -> tuple[Any, Any]:
        from torchvision import datasets

        make = getattr(datasets, self.class_name)
        with contextlib.redirect_stdout(io.StringIO()):  # torchvision prints each mirror that failed
            if self.class_name == "SVHN":
                return tuple(make(data_dir, split=s, download=download) for s in ("train", "test"))
            return tuple(make(data_dir, train=t, download=download) for t in (True, False))


def _missing_folders(folder: Path) -> list[Path]:
    """Return ``folder`` and its parents, as far as they do not exist, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


def _channels_first(images: Any) -> np.ndarray:
    array = np.asarray(images)
    if array.ndim == 3:
        return array[:, None]
    return array if array.shape[1] in (1, 3) else array.transpose(0, 3, 1, 2)


def _labels(data: Any) -> np.ndarray:
    return np.asarray(data.labels if hasattr(data, "labels") else data.targets, dtype=np.int64)


TORCHVISION_SETS = (
    TorchvisionSet("mnist", "60,000 + 10,000 digits, 28×28 grey", "MNIST", "MNIST/raw", _IDX),
    TorchvisionSet(
        "fashion-mnist", "60,000 + 10,000 clothes, 28×28 grey", "FashionMNIST", "FashionMNIST/raw", _IDX
    ),
    TorchvisionSet("kmnist", "60,000 + 10,000 Japanese letters, 28×28 grey", "KMNIST", "KMNIST/raw", _IDX),
    TorchvisionSet(
        "cifar10",
        "50,000 + 10,000 photos, 32×32 colour, 10 classes",
        "CIFAR10",
        "cifar-10-batches-py",
        (*(f"data_batch_{k}" for k in range(1, 6)), "test_batch", "batches.meta"),
    ),
    TorchvisionSet(
        "cifar100",
        "50,000 + 10,000 photos, 32×32 colour, 100 classes",
        "CIFAR100",
        "cifar-100-python",
        ("train", "test", "meta"),
    ),
    TorchvisionSet(
        "svhn",
        "73,257 + 26,032 house numbers, 32×32 colour",
        "SVHN",
        ".",
        ("train_32x32.mat", "test_32x32.mat"),
    ),
)
