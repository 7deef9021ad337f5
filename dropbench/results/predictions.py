"""The arrays that are kept beside the CSV files, one compressed file for each run."""

import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from dropbench.errors import DropbenchError
from dropbench.run.result import OOD


def path_of(folder: Path, run_id: str) -> Path:
    """Where a run's arrays are, or would be."""
    return folder / "predictions" / f"{run_id}.npz"


def names(folder: Path, run_id: str) -> frozenset[str]:
    """The arrays that a run's file holds; none where there is no file, or anything in it is damaged."""
    try:
        with zipfile.ZipFile(path_of(folder, run_id)) as file:
            whole = file.testzip() is None
            return frozenset(name.removesuffix(".npy") for name in file.namelist() if whole)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError):
        return frozenset()


def load(folder: Path, run_id: str) -> dict[str, np.ndarray]:
    """What RunResult.predictions held when it was saved.

    Raises:
        DropbenchError: if the file is missing or damaged.

    """
    path = path_of(folder, run_id)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zipfile and numpy raise many kinds on a damaged file
        raise DropbenchError(f"Cannot read {path}: {error}.", "Delete it and run again.") from error


def save(folder: Path, run_id: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a run's arrays, all or none of them.

    Predictions of other out-of-distribution images, from when the run was done before, stay beside them.

    Raises:
        DropbenchError: if they cannot be written.

    """
    path = path_of(folder, run_id)
    partial = path.with_suffix(".partial")
    others = {name for name in names(folder, run_id) - arrays.keys() if name.startswith(OOD)}
    if others:
        before = load(folder, run_id)
        arrays = {**arrays, **{name: before[name] for name in others}}
    write: Callable[..., None] = np.savez_compressed
    try:
        path.parent.mkdir(exist_ok=True)
        with partial.open("wb") as file:
            write(file, **arrays)
        os.replace(partial, path)
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error
