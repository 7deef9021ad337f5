"""The user's own arrays: one ``.npz`` file, or a folder of ``.npy`` files."""

import contextlib
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from dropbench.datasets.arrays.data_set import WANTED, check_arrays, data_set, is_wanted
from dropbench.datasets.arrays.stored import CHUNK, Header, Stored, nameless, write
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.source import OwnSource
from dropbench.errors import DropbenchError

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,  # of numpy
    NotImplementedError,  # a way to compress
    RuntimeError,  # a password
    OSError,
)


class NpzFile(OwnSource):
    """The arrays of one file that numpy.savez wrote, called ``npz:FILE`` in results."""

    form = "npz"
    summary = "arrays in one file of numpy.savez: x_train, y_train, x_test, y_test, …"

    @property
    def identity(self) -> str:
        """The options."""
        return f"{self.form} {self.options.told}"

    def files(self, data_dir: Path) -> Sequence[Path]:
        """Return the file, after a look at what arrays it has: a large one is not read in vain.

        Raises:
            DropbenchError: if it is a folder, is damaged, or has no arrays that are a data set.

        """
        if self.path.is_dir():
            raise DropbenchError(
                f"{self.path} is a folder.", "`data=npz:FILE` is one file; .npy files are `data=npy:FOLDER`."
            )
        if not self.path.is_file():
            return []
        with self._archive() as archive:
            check_arrays(self.name, self._arrays(archive))
        return [self.path]

    def fetch(self, data_dir: Path) -> None:
        """Raise DropbenchError: the user's own arrays cannot be downloaded."""
        raise DropbenchError(f"There is no file {self.path}.", "Write the path of a .npz file.")

    def decode(self, data_dir: Path) -> DataSet:
        """Read the arrays that make the data set; each is unpacked into the cache and mapped from there.

        Raises:
            UsageError: if an option does not fit the arrays.
            DropbenchError: if the file is damaged, or its arrays are no examples with targets.

        """
        with self._archive() as archive:
            return data_set(self.name, self._arrays(archive), self.options)

    def _archive(self) -> zipfile.ZipFile:
        with _reading(self.path):
            return zipfile.ZipFile(self.path)

    def _arrays(self, archive: zipfile.ZipFile) -> list[Stored]:
        there = [self._stored(archive, member) for member in archive.infolist()]
        return [each for each in there if each is not None]

    def _stored(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Stored | None:
        name = member.filename.removesuffix(".npy")
        if name == member.filename:  # numpy.savez names all so
            return None
        with _reading(self.path, name), archive.open(member) as stream:
            header = Header.read(stream, member.file_size)

        def unpacked() -> np.ndarray:
            with nameless() as file:
                with _reading(self.path, name), archive.open(member) as stream:
                    while block := stream.read(CHUNK):
                        write(file, block)
                return header.map(file)

        return Stored(name, header.shape, header.dtype, unpacked, copied=True)


class NpyFolder(OwnSource):
    """The arrays of a folder, one file each, called ``npy:FOLDER`` in results."""

    form = "npy"
    summary = "arrays in a folder: x_train.npy, y_train.npy, x_test.npy, y_test.npy, …"

    @property
    def identity(self) -> str:
        """The options."""
        return f"{self.form} {self.options.told}"

    def files(self, data_dir: Path) -> Sequence[Path]:
        """Return the files of arrays that a data set is made of, ordered by name.

        Raises:
            DropbenchError: if it is no folder, a file is damaged, or they are no data set.

        """
        if self.path.is_file():
            raise DropbenchError(
                f"{self.path} is a file.", "`data=npy:FOLDER` is a folder with x_train.npy, y_train.npy, …."
            )
        if not self.path.is_dir():
            return []
        there = sorted(self.path.glob("*.npy"))
        found = [file for file in there if is_wanted(file.stem) and file.is_file()]
        if there and not found:
            named = ", ".join(file.name for file in there[:10])
            raise DropbenchError(f"{self.path} has {named}{' and more' * (len(there) > 10)}.", WANTED)
        if found:
            check_arrays(self.name, list(map(_in_file, found)))
        return found

    def fetch(self, data_dir: Path) -> None:
        """Raise DropbenchError: the user's own arrays cannot be downloaded."""
        missing = "has no .npy files" if self.path.is_dir() else "is not there"
        raise DropbenchError(f"The folder {self.path} {missing}.", WANTED)

    def decode(self, data_dir: Path) -> DataSet:
        """Map the arrays that make the data set.

        Raises:
            UsageError: if an option does not fit the arrays.
            DropbenchError: if a file is damaged, or its arrays are no examples with targets.

        """
        return data_set(self.name, list(map(_in_file, self.files(data_dir))), self.options)


def _in_file(file: Path) -> Stored:
    with _reading(file), file.open("rb") as stream:
        header = Header.read(stream, file.stat().st_size)
    return Stored(file.stem, header.shape, header.dtype, lambda: header.map(file))


@contextlib.contextmanager
def _reading(file: Path, name: str = "") -> Iterator[None]:
    """Say which file, and which array in it, cannot be read."""
    try:
        yield
    except _DAMAGE as error:
        where = f"{name} in {file}" if name else str(file)
        said = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
        raise DropbenchError(f"Cannot read {where} ({said.rstrip('.')}).", "Write the file again.") from error
