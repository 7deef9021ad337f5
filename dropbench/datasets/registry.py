"""The data sets by name, and loading one of them into memory."""

import os
from pathlib import Path

from platformdirs import user_data_path

from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.embedded import EmbeddedDigits
from dropbench.datasets.folder import ImageFolder
from dropbench.datasets.source import Source
from dropbench.datasets.torchvision_sets import TORCHVISION_SETS
from dropbench.errors import UsageError, unknown_name

SOURCES: dict[str, Source] = {source.name: source for source in (EmbeddedDigits(), *TORCHVISION_SETS)}
FOLDER_PREFIX = "folder:"


def default_data_dir() -> Path:
    """Return ``$DROPBENCH_DATA_DIR``, or the platform's folder for an application's data."""
    return Path(os.environ.get("DROPBENCH_DATA_DIR") or user_data_path("dropbench"))


def find_source(name: str) -> Source:
    """Return the source of the data set ``name``.

    Raises:
        UsageError: if there is none; it suggests the nearest name.

    """
    if name.startswith(FOLDER_PREFIX):
        path = name.removeprefix(FOLDER_PREFIX)
        if not path:
            raise UsageError("`data=folder:` has no path.", "Write `data=folder:PATH`.")
        return ImageFolder(Path(path))
    if name not in SOURCES:
        raise unknown_name("data set", name, [*SOURCES, "folder:PATH"])
    return SOURCES[name]


def prepare(name: str, data_dir: Path | None = None) -> DataSet:
    """Load the data set ``name`` from the cache, after fetching and decoding it where necessary.

    Raises:
        UsageError: if there is no such data set.
        DropbenchError: if it cannot be fetched, or is damaged; it says what to do.

    """
    source = find_source(name)
    data_dir = data_dir or default_data_dir()
    if not source.files(data_dir):
        source.fetch(data_dir)
    # The path of a folder is in those of its files, however it was told.
    cached_as = f"{FOLDER_PREFIX}{source.path.name}" if isinstance(source, ImageFolder) else source.name
    fingerprint = cache.fingerprint(cached_as, source.files(data_dir))
    known = cache.find(fingerprint, source.name)
    if known is not None:
        return known
    data = source.decode(data_dir)
    data.check()
    return cache.save(data, fingerprint)
