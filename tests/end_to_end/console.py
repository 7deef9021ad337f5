"""The console script as a newcomer runs it, in a folder of its own."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = shutil.which("dropbench", path=Path(sys.executable).parent) or shutil.which("dropbench")


def dropbench(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "100", **variables}
    return subprocess.run(
        [str(SCRIPT), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
