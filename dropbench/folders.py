"""The folder of everything that dropbench keeps for later and could make again; paths with a ~."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from dropbench.errors import DropbenchError


def cache_base() -> Path:
    """Return ``$DROPBENCH_CACHE_DIR``, or dropbench's own folder in the platform's cache folder.

    Raises:
        DropbenchError: if it is in a home folder, and there is none.

    """
    return of_home(
        os.environ.get("DROPBENCH_CACHE_DIR") or user_cache_path("dropbench"), "DROPBENCH_CACHE_DIR"
    )


def of_home(path: str | Path, instead: str = "") -> Path:
    """Return a path with ~ expanded; ``instead`` is the variable that names another folder.

    Raises:
        DropbenchError: if there is no such home folder.

    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        hint = f"Set HOME, or {instead} to a folder." if instead else "Set HOME, or write the whole path."
        raise DropbenchError(f"There is no home folder for {path}.", hint) from error
