"""Shared fixtures: a data set small enough for a test, and the real embedded one."""

import logging
import os
from pathlib import Path

# Read when torch is loaded: threads that wait yield their core, since several processes test at a time.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
import torch

from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.registry import prepare
from dropbench.folders import cache_base
from dropbench.kernels.ready import make_ready

KERNELS = cache_base() / "kernels"
"""Compiled kernels, which take half a minute to compile and are the same for all."""


def pytest_configure(config):
    """Compile the kernels once, before workers begin: so no test waits for what another compiles."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        make_ready()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skip what needs a CUDA device where there is none."""
    if item.get_closest_marker("cuda") and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_ones_own():
    """Take away the variables of whoever runs the tests, which commands would obey or tell of."""
    places = {"DROPBENCH_CACHE_DIR", "DROPBENCH_DATA_DIR"}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("DROPBENCH_")]:
            if name not in places:
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def with_kernels_of_all():
    """Make of a folder that is not there a cache with the compiled kernels and nothing else."""

    def make(base: Path) -> str:
        if not base.exists():
            base.mkdir()
            KERNELS.mkdir(parents=True, exist_ok=True)
            (base / "kernels").symlink_to(KERNELS, target_is_directory=True)
        return str(base)

    return make


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch, with_kernels_of_all):
    """A cache that is shared by a test process and by nobody else, but for the kernels."""
    base = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("DROPBENCH_CACHE_DIR", with_kernels_of_all(base))
    monkeypatch.setenv("DROPBENCH_DATA_DIR", str(base / "absent"))


@pytest.fixture
def blobs() -> DataSet:
    """Three classes of 8×8 grey images, each bright in a place of its own: easy to learn."""
    generator = np.random.default_rng(5)

    def make(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 3
        images = generator.integers(0, 120, (count, 1, 8, 8))
        for label in range(3):
            images[labels == label, :, 2 * label : 2 * label + 3] += 130
        return images.astype(np.uint8), labels.astype(np.int64)

    data = DataSet("blobs", *make(240), *make(90), classes=("a", "b", "c"))
    data.check()
    return cache.save(data)


@pytest.fixture
def digits() -> DataSet:
    """The embedded digits."""
    return prepare("mnist5k")


class _Kept(logging.Handler):
    def __init__(self, sentences: list[str]) -> None:
        super().__init__()
        self.sentences = sentences

    def emit(self, record: logging.LogRecord) -> None:
        self.sentences.append(record.getMessage())


@pytest.fixture
def told():
    """The sentences that the library logs, as they come."""
    log, sentences = logging.getLogger("dropbench"), []
    handlers, level = log.handlers, log.level
    log.handlers = [_Kept(sentences)]  # without that of a command which ran in this process before
    log.setLevel(logging.INFO)
    yield sentences
    log.handlers = handlers
    log.setLevel(level)
