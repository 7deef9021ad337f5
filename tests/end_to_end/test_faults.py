"""A sweep that is killed, interrupted, starved of disk or doubled loses nothing. Through the real script."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from end_to_end.console import dropbench, rows, start, wait_for
from end_to_end.passing import PASSING
from end_to_end.processes import workers

TINY = ["--model", "mlp", "--layers", "8", "--epochs", "2", "--train-size", "200", "--no-baseline"]
SWEEP = ["sweep", "--p", "0.1..0.8", "--seeds", "5", *TINY]
RUNS = 40
LONG = ["sweep", "--p", "0.1..0.4", "--seeds", "1", *TINY[:4], "--no-baseline", "--epochs", "1000000"]
# And when members ran, and what is named after that.
MAY_DIFFER = PASSING | {"member_started_at", "difference_id"}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and limits are those of POSIX")


def lasting(folder: Path, file: str = "runs.csv") -> list[tuple[tuple[str, str], ...]]:
    """The rows of a results file, in any order, without what may differ."""
    kept = [{k: v for k, v in row.items() if k not in MAY_DIFFER} for row in rows(folder / "results" / file)]
    return sorted(tuple(row.items()) for row in kept)


def rows_so_far(folder: Path) -> int:
    path = folder / "results" / "runs.csv"
    return max(0, path.read_bytes().count(b"\n") - 1) if path.exists() else 0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    done = dropbench(*SWEEP, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert rows_so_far(folder) == RUNS
    return folder


def test_a_sweep_killed_at_ten_random_moments_ends_as_if_undisturbed(tmp_path, undisturbed):
    moments, ends = random.Random(7), []
    for _ in range(10):
        before = rows_so_far(tmp_path)
        process = start(*SWEEP, cwd=tmp_path)
        # From within the start to some rows later, wherever in a row's writing that may be.
        rows_more, after = moments.choice([0, 1, 1, 2, 3]), moments.uniform(0, 0.04)
        wait_for(lambda: rows_so_far(tmp_path) >= before + rows_more or process.poll() is not None)  # noqa: B023
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after)
        process.kill()
        process.communicate()
        ends.append(process.wait())
    assert rows_so_far(tmp_path) > 0
    assert -signal.SIGKILL in ends
    done = dropbench(*SWEEP, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert lasting(tmp_path) == lasting(undisturbed)
    found = {(row["run_id"], row["epoch"]) for row in rows(tmp_path / "results" / "epochs.csv")}
    assert len(found) == 2 * RUNS


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_killed_workers_cost_no_run(tmp_path, undisturbed):
    process = start(*SWEEP, "--jobs", "2", cwd=tmp_path)
    for wanted in (3, 12):
        wait_for(lambda: rows_so_far(tmp_path) >= wanted)  # noqa: B023
        os.kill(workers(process.pid)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.wait() == 0, errors
    assert lasting(tmp_path) == lasting(undisturbed)


def test_two_sweeps_at_once_into_one_folder_are_both_right(tmp_path, undisturbed):
    processes = [start(*SWEEP, "--jobs", "1", "--threads", "1", cwd=tmp_path) for _ in range(2)]
    for process in processes:
        output, errors = process.communicate(timeout=200)
        assert process.wait() == 0, errors
        assert output.count("0.") > 8
    assert lasting(tmp_path) == lasting(undisturbed), "every run once, whichever sweep was first"


def test_first_interrupt_finishes_the_runs_in_hand_and_names_the_command(tmp_path, undisturbed):
    process = start(*SWEEP, "--jobs", "2", cwd=tmp_path, new_session=True, scratch=True)
    wait_for(lambda: rows_so_far(tmp_path) >= 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the driver and its workers alike
    _, errors = process.communicate(timeout=60)
    assert process.wait() == 130
    assert "dropbench sweep --p 0.1..0.8" in errors
    assert "Traceback" not in errors
    assert 2 <= rows_so_far(tmp_path) < RUNS
    assert {row["status"] for row in rows(tmp_path / "results" / "runs.csv")} == {"ok"}
    assert dropbench(*SWEEP, cwd=tmp_path).returncode == 0
    assert lasting(tmp_path) == lasting(undisturbed)


def test_second_interrupt_stops_the_runs_in_hand(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\n"
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, shape, classes, config):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(784, classes))\n"
        "    def forward(self, images):\n"
        "        if self.training and len(images) > 2:  # no trial\n"
        "            Path('begun').touch()\n"
        "        return super().forward(images)\n"
    )
    long = ["train", "--epochs", "100000", "--model", "mine:Net", "--p", "0", "--train-size", "200"]
    process = start(*long, cwd=tmp_path)
    wait_for((tmp_path / "begun").exists)
    process.send_signal(signal.SIGINT)
    process.wait_to_be_told("Ctrl-C again stops them")
    (tmp_path / "begun").unlink()
    wait_for((tmp_path / "begun").exists)
    assert process.poll() is None, "the run in hand goes on"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.wait() == 130
    assert "Traceback" not in errors
    assert rows_so_far(tmp_path) == 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_a_sweep_that_is_terminated_at_random_moments_ends_in_time_and_as_if_undisturbed(
    tmp_path, undisturbed
):
    moments = random.Random(3)
    for number, code, group in (
        (signal.SIGTERM, 143, False),  # as Kubernetes sends it
        (signal.SIGHUP, 129, True),  # as a terminal does
    ):
        before = rows_so_far(tmp_path)
        process = start(*SWEEP, "--jobs", "2", cwd=tmp_path, new_session=True)
        wait_for(lambda: rows_so_far(tmp_path) > before)  # noqa: B023
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0, 0.05))
        at_work, began = workers(process.pid), time.monotonic()
        if group:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        assert process.wait(20) == code
        assert time.monotonic() - began < 10
        assert not any(Path(f"/proc/{pid}").exists() for pid in at_work)
        _, errors = process.communicate()
        assert "Traceback" not in errors
        assert f"{rows_so_far(tmp_path)} of {RUNS} runs" in errors
        assert "to go on: dropbench sweep --p 0.1..0.8" in errors
    assert 2 <= rows_so_far(tmp_path) < RUNS
    assert dropbench(*SWEEP, cwd=tmp_path).returncode == 0
    assert lasting(tmp_path) == lasting(undisturbed)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in /proc")
def test_workers_keep_their_states_and_end_with_their_driver_and_at_the_time_limit(tmp_path):
    def states():
        return {path.name for path in (tmp_path / "results" / "checkpoints").glob("*.safetensors")}

    process = start(*LONG, "--jobs", "2", "--checkpoint-every", "0", cwd=tmp_path)
    wait_for(lambda: len(states()) == 2)
    at_work = workers(process.pid)
    process.kill()
    process.communicate()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in at_work))
    kept, began = states(), time.monotonic()
    done = dropbench(*LONG, "--jobs", "2", "--time-limit", "1s", cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert time.monotonic() - began > 1
    assert "2 runs go on from" in done.stderr
    assert "--time-limit 1s is over: 0 of 4 runs have ended, 4 to go. To go on: dropbench" in done.stderr
    assert "Traceback" not in done.stderr
    assert states() >= kept


def test_a_full_disk_stops_the_sweep_and_spoils_nothing(tmp_path, undisturbed):
    dropbench("data", "prepare", "mnist5k", cwd=tmp_path)  # so that only the results meet the limit
    size = (undisturbed / "results" / "runs.csv").stat().st_size
    process = start(*SWEEP, cwd=tmp_path, largest_file=size // 2)
    _, errors = process.communicate(timeout=120)
    assert process.wait() == 1
    assert re.search(r"Error: Cannot write .*(runs|epochs)\.csv: File too large", errors)
    assert "Traceback" not in errors
    left = lasting(tmp_path)
    assert 5 < len(left) < RUNS
    assert set(left) < set(lasting(undisturbed))
    assert dropbench(*SWEEP, cwd=tmp_path).returncode == 0
    assert lasting(tmp_path) == lasting(undisturbed)


def test_a_results_folder_that_goes_away_stops_the_sweep(tmp_path):
    process = start(*SWEEP, cwd=tmp_path)
    wait_for(lambda: rows_so_far(tmp_path) >= 2)
    (tmp_path / "results").rename(tmp_path / "elsewhere")
    _, errors = process.communicate(timeout=60)
    assert process.wait() == 1
    assert "is gone" in errors or "No such file" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "results").exists()
    assert len(rows(tmp_path / "elsewhere" / "runs.csv")) >= 2


def test_failed_runs_are_left_alone_until_asked_for(tmp_path):
    bad = ["sweep", "--p", "0.5", "--seeds", "2", "--learning-rate", "1e30", *TINY]
    first = dropbench(*bad, cwd=tmp_path)
    assert first.returncode == 3
    again = dropbench(*bad, cwd=tmp_path)
    assert (again.returncode, rows_so_far(tmp_path)) == (3, 2)
    assert "--retry-failed" in again.stderr
    assert dropbench(*bad, "--retry-failed", cwd=tmp_path).returncode == 3
    assert rows_so_far(tmp_path) == 4


def test_force_does_again_what_was_done(tmp_path):
    small = ["sweep", "--p", "0.5", "--seeds", "2", *TINY]
    for flags, expected in (([], 2), ([], 2), (["--force"], 4), (["--jobs", "1"], 4), (["--epochs", "3"], 6)):
        assert dropbench(*small, *flags, cwd=tmp_path).returncode == 0
        assert rows_so_far(tmp_path) == expected, flags


def test_a_comparison_killed_at_any_moment_ends_as_if_undisturbed(tmp_path):
    command = ["compare-bagging", "--members", "3", "--mc-samples", "4", *TINY[:-1]]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    assert dropbench(*command, cwd=whole).returncode == 0
    moments, ends = random.Random(11), []
    for _ in range(5):
        before = rows_so_far(killed)
        process = start(*command, cwd=killed)
        wait_for(lambda b=before, p=process: rows_so_far(killed) > b or p.poll() is not None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0, 0.1))
        process.kill()
        process.communicate()
        ends.append(process.wait())
    assert -signal.SIGKILL in ends
    assert dropbench(*command, cwd=killed).returncode == 0
    for file in ("runs.csv", "comparisons.csv", "differences.csv", "reliability.csv"):
        assert set(lasting(killed, file)) == set(lasting(whole, file)), file
    names = [sorted(p.name for p in (f / "results" / "predictions").glob("*.npz")) for f in (whole, killed)]
    assert names[0] == names[1]
    assert len(names[0]) == 2 * 9
