"""Scripts that call dropbench: workers never run them a second time."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dropbench

SCRIPT = """
import dropbench as db

print("once")
done = db.sweep(
    "mnist5k", p=0.5, seeds=1, out="results", model="mlp", layers=(4,), epochs=1, train_size=100,
    runner="process", jobs=1,
)
print(sorted(done.frame["status"]))
"""


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_script_without_a_main_guard_sweeps(tmp_path, way):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(dropbench.__file__).parents[1])}
    words, text = (["script.py"], None) if way == "file" else (["-"], SCRIPT)
    done = subprocess.run(
        [sys.executable, *words], input=text, cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=200, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["once", "['ok', 'ok']"], done.stderr
