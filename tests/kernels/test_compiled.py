"""Compiled kernels: their threads, their cache, and what happens where they cannot be."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from dropbench.kernels import compiled
from dropbench.kernels.draws import chance_of
from dropbench.kernels.mask import drop
from dropbench.kernels.pool import pool_relu
from tests.kernels.reference import DRAW, mixed

CHANCE = chance_of(0.5)


@pytest.fixture
def threads():
    """Set torch's threads back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_number_of_threads_changes_no_bit(dtype, threads):
    maps, units = mixed((8, 33, 16, 16), dtype), mixed((65, 1023), dtype)
    results = []
    for count in (1, 2, 3):
        threads(count)
        given = maps.clone().requires_grad_()
        pooled = pool_relu(given, 2, CHANCE, 2.0, DRAW)
        pooled.float().square().sum().backward()
        results.append((pooled.detach(), given.grad, drop(units, CHANCE, 2.0, DRAW)))
        assert torch.get_num_threads() == count
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


DROP = (
    "import torch; torch.set_num_threads(1); from dropbench.kernels.mask import drop;"
    "from dropbench.kernels.draws import Draw, chance_of;"
    "print(int(drop(torch.ones(1000), chance_of(0.5), 1.0, Draw(1, 2, 3)).sum()), torch.get_num_threads())"
)


def test_starting_the_kernels_leaves_torch_its_threads():
    done = run_python(DROP)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "1"


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    """A file stands where the folder would be: not even root can write there."""
    (tmp_path / "file").write_text("")
    done = run_python(DROP, DROPBENCH_CACHE_DIR=str(tmp_path / "file"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == run_python(DROP).stdout


def test_processes_that_start_at_once_share_one_cache(tmp_path):
    outputs = []

    def start() -> None:
        done = run_python(DROP, DROPBENCH_CACHE_DIR=str(tmp_path))
        outputs.append((done.returncode, done.stdout))

    starts = [threading.Thread(target=start) for _ in range(3)]
    for each in starts:
        each.start()
    for each in starts:
        each.join()
    assert len(set(outputs)) == 1
    assert outputs[0][0] == 0
    assert len(list(Path(tmp_path).rglob("*.nbi"))) == 2  # the probe, and the mask


def test_without_numba_torchs_own_operations_give_the_same_mask():
    hidden = "import sys; sys.modules['numba'] = None;"
    done = run_python(hidden + "from dropbench.kernels import compiled; assert compiled.why_not();" + DROP)
    assert done.returncode == 0, done.stderr
    assert done.stdout == run_python(DROP).stdout


@pytest.mark.parametrize(
    "environment",
    [{"NUMBA_DISABLE_JIT": "1"}, {"NUMBA_THREADING_LAYER": "tbb"}],
    ids=lambda each: next(iter(each)),
)
def test_a_numba_that_does_not_work_is_done_without(environment):
    """Where this machine has TBB, the second works after all: the mask is the same either way."""
    done = run_python(DROP, **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout == run_python(DROP).stdout


FORK = """
import os, torch
torch.set_num_threads(1)
from dropbench.kernels.draws import Draw, chance_of
from dropbench.kernels.mask import drop

def kept():
    return int(drop(torch.ones(1000), chance_of(0.5), 1.0, Draw(1, 2, 3)).sum())

mine = kept()
child = os.fork()
if child == 0:
    os._exit(0 if kept() == mine else 1)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_of_a_process_that_called_kernels_draws_by_torch():
    """OpenMP would end it."""
    done = run_python(FORK)
    assert done.returncode == 0, done.stderr


def test_threads_that_call_at_once_get_what_they_get_alone():
    units = [mixed((257, 511), torch.float32, seed=seed) for seed in range(4)]
    alone = [drop(each, CHANCE, 2.0, DRAW) for each in units]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: drop(each, CHANCE, 2.0, DRAW), units))
    assert all(map(torch.equal, alone, together))


def test_kernels_can_be_switched_off():
    units = mixed((10, 10), torch.float32).requires_grad_()
    assert "Drop" in type(drop(units, CHANCE, 2.0, DRAW).grad_fn).__name__
    with compiled.switched_off():
        assert "Drop" not in type(drop(units, CHANCE, 2.0, DRAW).grad_fn).__name__


@pytest.mark.parametrize(
    "units",
    [torch.ones(4, 4).double(), torch.ones(4, 4).half(), torch.ones(4, 8)[:, ::2], torch.ones(0, 3)],
    ids=["float64", "float16", "with gaps", "empty"],
)
def test_other_tensors_are_dropped_by_torch(units):
    dropped = drop(units, CHANCE, 2.0, DRAW)
    assert dropped.shape == units.shape
    assert dropped.dtype == units.dtype
    assert torch.equal(dropped.float(), drop(torch.ones(units.shape), CHANCE, 2.0, DRAW).float())
