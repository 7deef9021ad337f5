"""Where the states of runs that have not ended are, which the engine writes and reads, and their end."""

import contextlib
from pathlib import Path

_SUFFIX = ".safetensors"


def folder_of(folder: Path) -> Path:
    """Return the path of the folder of a results folder's checkpoints, whether or not it exists."""
    return folder / "checkpoints"


def path_of(folder: Path, run_id: str) -> Path:
    """Return the path of a run's checkpoint, whether or not the file exists."""
    return folder_of(folder) / f"{run_id}{_SUFFIX}"


def run_ids(folder: Path) -> frozenset[str]:
    """Return the ids of the runs that have a checkpoint."""
    return frozenset(file.name.removesuffix(_SUFFIX) for file in folder_of(folder).glob(f"*{_SUFFIX}"))


def bytes_of(folder: Path) -> int:
    """Return the bytes that all checkpoints of a results folder take."""
    found = 0
    for file in folder_of(folder).glob("*"):
        with contextlib.suppress(OSError):  # of a run that ended just now
            found += file.stat().st_size
    return found


def remove(folder: Path, run_id: str) -> None:
    """Remove a run's checkpoint, if there is one, and with the last one their folder.

    One that cannot be removed is of no harm: the run is not asked for again, or gives the same.
    """
    path = path_of(folder, run_id)
    with contextlib.suppress(OSError):
        for file in (path, *path.parent.glob(f".{path.name}.*")):  # what was killed while it wrote
            file.unlink(missing_ok=True)
        path.parent.rmdir()
