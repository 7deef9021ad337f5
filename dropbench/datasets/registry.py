"""The data sets by name, and the way from a name to arrays in memory."""

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
    """``$DROPBENCH_DATA_DIR``, or the place the platform keeps an application's data in."""
    return Path(os.environ.get("DROPBENCH_DATA_DIR") or user_data_path("dropbench"))


def find_source(name: str) -> Source:
    """The source that ``--data`` names.

    Raises:
        UsageError: if there is none; it names the nearest.

    """
    if name.startswith(FOLDER_PREFIX):
        path = name.removeprefix(FOLDER_PREFIX)
        if not path:
            raise UsageError("folder: names no folder.", "Write `data=folder:PATH`.")
        return ImageFolder(Path(path))
    if name not in SOURCES:
        raise unknown_name("data set", name, [*SOURCES, "folder:PATH"])
    return SOURCES[name]


def prepare(name: str, data_dir: Path | None = None) -> DataSet:
    """The data set ``name``, fetched if absent, decoded if new, and mapped from the cache.

    Raises:
        UsageError: if there is no such set.
        DropbenchError: if it is absent and cannot be fetched, or is damaged; it says what to do.

    """
    source = find_source(name)
    data_dir = data_dir or default_data_dir()
    if not source.files(data_dir):
        source.fetch(data_dir)
    fingerprint = cache.fingerprint(source.name, source.files(data_dir))
    known = cache.find(fingerprint, source.name)
    if known is not None:
        return known
    data = source.decode(data_dir)
    data.check()
    return cache.save(data, fingerprint)
