"""The arrays that are kept beside the CSV files, one compressed file for each run."""

import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from dropbench.errors import DropbenchError


def path_of(folder: Path, run_id: str) -> Path:
    """Where a run's arrays are, or would be."""
    return folder / "predictions" / f"{run_id}.npz"


def names(folder: Path, run_id: str) -> frozenset[str]:
    """What a run's file holds, without reading it; nothing where there is none, or a damaged one."""
    try:
        with zipfile.ZipFile(path_of(folder, run_id)) as file:
            return frozenset(name.removesuffix(".npy") for name in file.namelist())
    except (OSError, zipfile.BadZipFile):
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

    Raises:
        DropbenchError: if they cannot be written.

    """
    path = path_of(folder, run_id)
    partial = path.with_suffix(".partial")
    write: Callable[..., None] = np.savez_compressed
    try:
        path.parent.mkdir(exist_ok=True)
        with partial.open("wb") as file:
            write(file, **arrays)
        os.replace(partial, path)
    except OSError as error:
        raise DropbenchError(f"Cannot write {path}: {error.strerror or error}.") from error
