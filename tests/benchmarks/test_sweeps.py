"""What a sweep costs beyond its training. Run on request, on a quiet machine.

pytest tests/benchmarks/test_sweeps.py -n0 -s --timeout 900
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from dropbench.cli.progress import Progress
from dropbench.experiments.workbench import Workbench, carry_out
from dropbench.results.read import finished_runs
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine

TINY = ["--model", "mlp", "--layers", "8", "--epochs", "1", "--train-size", "100"]
ROUNDS = 5


class Clock(Progress):
    """Notes when runs end."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def planned(self, plan, jobs):
        pass

    def progress(self, worker, config, record):
        pass

    def finished(self, result):
        self.ends.append(perf_counter())


def test_driver_overhead_of_a_tiny_run_is_under_20_ms():
    """Wall time from row to row in a pool of one worker, less what the run itself took in it."""
    runner = Machine(runner="process", jobs=1, threads=1)
    bench = Workbench.set_up("mnist5k", None, "cpu", "fp32", runner)
    base = RunConfig(model="mlp", layers=(8,), epochs=1, train_size=100, p_drop=0.5)
    overheads = []
    for round_ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            clock = Clock()
            configs = [base.replace(seed=200 * round_ + seed) for seed in range(200)]
            outcome = carry_out(bench.bind(configs), bench, Store(Path(folder)), clock)
        wall = (clock.ends[-1] - clock.ends[0]) / (len(clock.ends) - 1)
        overheads.append(1e3 * (wall - statistics.mean(result.cost["seconds"] for result in outcome.ok[1:])))
    print(f"\noverhead of a run: {statistics.median(overheads):.1f} ms {sorted(overheads)}")
    assert statistics.median(overheads) < 20


def test_ten_of_ten_thousand_runs_resume_in_under_3_s(tmp_path):
    """From the command to its first row, when 9,990 runs are done; the start of Python and torch included."""
    sweep = ["sweep", "--p", "0.01..0.99:0.01", "--seeds", "100", *TINY, "--out", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "dropbench", *sweep], check=True, capture_output=True)
    whole = (tmp_path / "runs.csv").read_bytes()
    assert len(finished_runs(tmp_path)) == 10_000
    taken = []
    for _ in range(ROUNDS):
        lines = whole.splitlines(keepends=True)[:-10]
        (tmp_path / "runs.csv").write_bytes(b"".join(lines))
        start = perf_counter()
        command = [sys.executable, "-m", "dropbench", *sweep]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stderr is not None
            begun = next(perf_counter() for line in process.stderr if "runs to do" in line)
            process.stderr.read()
        assert process.returncode == 0
        taken.append(begun - start)
    print(f"\nresumed after {statistics.median(taken):.2f} s {sorted(taken)}")
    assert statistics.median(taken) < 3
