"""The cache has a size, shrinks when told to, and is no place for a stranger's data."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dropbench.cli.main import run
from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.pruning import Entry, entries, remove, to_prune
from dropbench.kernels import cache as kernels

DAY = 86400.0


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own, since its sets are removed; without the kernels that all tests share."""
    monkeypatch.setenv("DROPBENCH_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def small(first: int, name: str = "small") -> DataSet:
    images = np.arange(first, first + 4 * 64).reshape(4, 1, 8, 8).astype(np.uint8)
    labels = np.array([0, 1, 0, 1])
    return DataSet(name, images, labels, images[::-1].copy(), labels, ("a", "b"))


def data_sets() -> list[Entry]:
    return [each for each in entries() if each.kind == "data"]


def aged(key: str, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(cache.cache_folder() / key / "meta.json", (then, then))


def test_the_oldest_go_until_the_size_is_reached_and_the_rest_stays():
    saved = [cache.save(small(first, f"set {first}")).key for first in range(3)]
    for days, key in enumerate(saved, start=1):
        aged(key, days)
    found = data_sets()
    assert {each.name for each in found} == {"set 0", "set 1", "set 2"}
    size = found[0].size
    assert size > 1000
    assert {each.path.name for each in to_prune(found, to_size=2 * size + 100)} == {saved[2]}
    assert {each.path.name for each in to_prune(found, to_size=0)} == set(saved)
    assert {each.path.name for each in to_prune(found, older_than=1.5 * DAY)} == set(saved[1:])
    assert to_prune(found) == []


def test_a_set_that_a_process_uses_stays(own_cache):
    data = cache.save(small(0))
    (entry,) = data_sets()
    assert not remove(entry)
    assert cache.load(data.key).digest() == data.key
    code = (
        "from dropbench.datasets import cache; "
        f"data = cache.load({data.key!r}); print('here', flush=True); input()"
    )
    key = data.key
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"here\n"
        del data
        assert not remove(entry), "used by another process alone"
        other.communicate(b"\n")
    assert remove(entry)
    assert key not in cache.saved_keys()


def test_what_cannot_be_used_goes_and_links_are_left_alone(own_cache, tmp_path):
    cache.save(small(0))
    of_us, of_others = kernels.folder(), own_cache / "kernels" / "0123456789abcdef"
    for folder in (of_us, of_others, own_cache / "datasets" / "abc.partial"):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 10)
    then = time.time() - 2 * DAY
    os.utime(own_cache / "datasets" / "abc.partial", (then, then))
    outside = tmp_path / "outside"
    outside.mkdir()
    (own_cache / "datasets" / ("f" * 64)).symlink_to(outside)
    (own_cache / "kernels" / ("e" * 16)).symlink_to(outside)
    assert {each.path.name for each in to_prune(entries())} == {of_others.name, "abc.partial"}
    for each in to_prune(entries(), everything=True):
        remove(each)
    assert entries() == []
    assert outside.is_dir()


def test_list_and_prune_say_how_much_there_is(own_cache, capsys):
    key = cache.save(small(0)).key
    aged(key, 40)
    assert run(["data", "list", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["tables"][2]["rows"]
    assert row["bytes"] == data_sets()[0].size
    for arguments, left in (
        (["--older-than", "50d"], 1),
        (["--older-than", "28d", "--dry-run"], 1),
        (["--to", "0"], 0),
    ):
        assert run(["data", "prune", *arguments]) == 0
        assert len(data_sets()) == left, arguments
    assert "would remove small" in capsys.readouterr().out
    for wrong in (["--to", "much"], ["--to", "5"], ["--older-than", "5"], ["--all", "--to", "1GB"]):
        assert run(["data", "prune", *wrong]) == 2


@pytest.mark.parametrize("way", ["arrays", "folder", "key"])
def test_a_strangers_folder_of_the_right_name_is_not_used(own_cache, way, tmp_path):
    """Its own sums of pixels agree with it: only its name tells that it is not what it says."""
    mine = cache.save(small(0))
    cache.remember("source", mine)
    assert cache.find("source").key == mine.key
    theirs = cache.save(small(7))
    folder, other = (cache.cache_folder() / each.key for each in (mine, theirs))
    if way == "arrays":
        (folder / "train_inputs.npy").write_bytes((other / "train_inputs.npy").read_bytes())
        (folder / "pixel_sums.npy").unlink()
    elif way == "folder":
        folder.rename(tmp_path / "away")
        other.rename(folder)
    else:
        note = cache.cache_folder() / "sources" / "source"
        other.rename(tmp_path / "elsewhere")
        note.write_text(json.dumps({**json.loads(note.read_text()), "key": "../../elsewhere"}))
    assert cache.find("source") is None
    again = cache.save(small(0))
    cache.remember("source", again)
    assert np.array_equal(cache.find("source").train_inputs, small(0).train_inputs)


def test_a_cache_that_was_copied_is_checked_once(monkeypatch):
    data = cache.save(small(0))
    cache.remember("source", data)
    file = cache.cache_folder() / data.key / "train_inputs.npy"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content)
    checked = []
    digest = DataSet.digest
    monkeypatch.setattr(DataSet, "digest", lambda self: checked.append(1) or digest(self))
    for _ in range(3):
        assert cache.find("source").key == data.key
    assert len(checked) == 1
    assert replace(small(0), name="x").digest() == data.key
