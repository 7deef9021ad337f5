"""The script of docs/cluster.md, run by bash as Slurm would run it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from end_to_end.console import FORKS, dropbench, rows, wait_for, warm_server

DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster.md"
TINY = "--model mlp --layers 8 --train-size 200 --threads 1 --jobs 1"
TASKS = ("1", "5")
RUNS = 3

pytestmark = [
    pytest.mark.skipif(not FORKS, reason="the commands of the script are forked by warm.py"),
    pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash"),
]


class Slurm:
    """Stands in for Slurm: it starts the tasks of an array, signals them, and takes those that come back."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = folder
        self.script = folder / "job.sh"
        self.script.write_text(script)
        self.again = folder / "requeued"
        self.again.touch()
        programs = folder / "bin"
        programs.mkdir()
        (programs / "dropbench").symlink_to(Path(__file__).with_name("command_of_a_script"))
        (programs / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> {self.again}\n')
        (programs / "scontrol").chmod(0o755)
        self.path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"

    def start(self, task: str) -> "subprocess.Popen[str]":
        server = warm_server().fileno()
        return subprocess.Popen(
            ["bash", str(self.script)],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": self.path,
                "SLURM_ARRAY_TASK_ID": task,
                "SLURM_JOB_ID": f"10{task}",
                "WARM_SERVER": str(server),
            },
            pass_fds=[server],
            stderr=subprocess.PIPE,
            text=True,
        )

    def requeued(self) -> list[str]:
        """The jobs that came back, and no more."""
        jobs = self.again.read_text().splitlines()
        self.again.write_text("")
        return jobs


def rows_so_far(folder: Path) -> int:
    path = folder / "results" / "runs.csv"
    return len(rows(path)) if path.exists() else 0


def test_an_array_that_puts_itself_into_the_queue_again_ends_with_every_run(tmp_path):
    (script,) = re.findall(r"^```bash\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    small = script.replace("--data cifar10 ", f"{TINY} ").replace("--seeds 5 ", f"--seeds {RUNS} ")
    assert len(small) == len(script) + len(TINY) - len("--data cifar10")
    slurm = Slurm(tmp_path, small)

    tasks = [slurm.start(task) for task in TASKS]  # both at once, into one folder
    wait_for(lambda: rows_so_far(tmp_path) >= 1)
    for task in tasks:
        task.send_signal(signal.SIGUSR1)  # B: to the script alone
    for task in tasks:
        _, errors = task.communicate(timeout=60)
        assert task.returncode == 143, errors
        assert "to go on: dropbench sweep" in errors
    assert sorted(slurm.requeued()) == [f"requeue 10{task}" for task in TASKS]
    assert rows_so_far(tmp_path) < RUNS * len(TASKS)

    for task in [slurm.start(task) for task in TASKS]:
        _, errors = task.communicate(timeout=60)
        assert task.returncode == 0, errors
    assert slurm.requeued() == []
    found = [(row["p_drop"], row["seed"], row["status"]) for row in rows(tmp_path / "results" / "runs.csv")]
    wanted = [(f"0.{task}", f"{seed}", "ok") for task in TASKS for seed in range(RUNS)]
    assert sorted(found) == wanted
    assert dropbench("report", "results", cwd=tmp_path).returncode == 0
