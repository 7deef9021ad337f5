"""The three folders: data, cache and results. Whether they can be written, and what is in them."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dropbench.datasets.cache import cache_folder
from dropbench.datasets.registry import SOURCES
from dropbench.datasets.torchvision_sets import TORCHVISION_SETS
from dropbench.experiments.doctor.finding import Finding, surviving
from dropbench.experiments.doctor.machine import gigabytes
from dropbench.results.csv_file import read_rows
from dropbench.results.read import latest
from dropbench.results.schema import RUNS

LEAST_FREE = 1e9
"""Bytes; below, a disk is nearly full. CIFAR-10 takes half of it, downloaded and decoded."""


def folders(data_dir: Path, results: Path) -> Iterator[Finding]:
    """The data folder and the sets in it, the cache, the results folder and the runs in it."""
    yield from surviving("data sets", _data(data_dir))
    yield judge_folder("cache", cache_folder(), "set DROPBENCH_CACHE_DIR to another folder")
    yield judge_folder("results", results, "name another folder with --out")
    if (results / RUNS.file_name).exists():
        yield from surviving("runs", _runs(results))


def judge_folder(name: str, folder: Path, elsewhere: str) -> Finding:
    """Whether ``folder`` can be written, or made, and how much room is there; nothing is left in it.

    ``elsewhere`` is how another one is named, as the end of a sentence.
    """
    folder = folder.absolute()
    try:
        standing = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryFile(dir=standing):  # tried, since permissions are not all that can forbid it
            pass
        free = shutil.disk_usage(standing).free
    except OSError as error:
        mend = f"Make it writable, or {elsewhere}."
        return Finding(name, f"{folder} cannot be written: {error.strerror or error}", "problem", mend)
    value = f"{folder}{'' if standing == folder else ', made when needed'}; {gigabytes(free)} free"
    if free < LEAST_FREE:
        return Finding(name, value, "problem", f"Make room on that disk, or {elsewhere}.")
    return Finding(name, value)


def _data(data_dir: Path) -> Iterator[Finding]:
    here = [name for name, source in SOURCES.items() if source.files(data_dir)]
    absent = [name for name in SOURCES if name not in here]
    found = judge_folder("data", data_dir, "name another folder with --data-dir or DROPBENCH_DATA_DIR")
    if found.state == "problem" and any(source.name in here for source in TORCHVISION_SETS):
        found = replace(found, value=f"{found.value}; the sets in it can be used", state="note")
    yield found
    value = "; ".join(
        f"{state}: {', '.join(names)}" for state, names in (("here", here), ("absent", absent)) if names
    )
    yield Finding("data sets", value)


def _runs(results: Path) -> Iterator[Finding]:
    counts = Counter(row["status"] for row in latest(read_rows(results, RUNS), RUNS))
    value = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    value = f"{results / RUNS.file_name}: {value or 'none'}."
    if counts.total() > counts["ok"]:
        mend = "Its column message says why; the same command with --retry-failed does them again."
        yield Finding("runs", value, "note", mend)
    else:
        yield Finding("runs", value, "ok")
