"""The arrays that are saved beside the CSV files, one compressed file for each run."""

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from dropbench.errors import DropbenchError
from dropbench.files import write_whole
from dropbench.run.result import OOD


def path_of(folder: Path, run_id: str) -> Path:
    """Return the path of a run's arrays, whether or not the file exists."""
    return folder / "predictions" / f"{run_id}.npz"


def names(folder: Path, run_id: str) -> frozenset[str]:
    """Return the names of a run's saved arrays; none if there is no file, or if any part of it is damaged."""
    try:
        with zipfile.ZipFile(path_of(folder, run_id)) as file:
            whole = file.testzip() is None
            return frozenset(name.removesuffix(".npy") for name in file.namelist() if whole)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError):
        return frozenset()


def load(folder: Path, run_id: str) -> dict[str, np.ndarray]:
    """Return the saved RunResult.predictions of a run.

    Raises:
        DropbenchError: if the file is missing or damaged.

    """
    path = path_of(folder, run_id)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # a damaged file can make zipfile and numpy raise many types
        raise DropbenchError(
            f"Cannot read {path}: {error}.", "Delete it and run the same command again."
        ) from error


def save(folder: Path, run_id: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Save a run's arrays, all or none of them.

    Saved predictions for other out-of-distribution images, from an earlier training of the run, are kept.

    Raises:
        DropbenchError: if they cannot be written.

    """
    path = path_of(folder, run_id)
    others = {name for name in names(folder, run_id) - arrays.keys() if name.startswith(OOD)}
    if others:
        before = load(folder, run_id)
        arrays = {**arrays, **{name: before[name] for name in others}}
    write: Callable[..., None] = np.savez_compressed
    try:
        path.parent.mkdir(exist_ok=True)
        write_whole(path, lambda file: write(file, **arrays))
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error
