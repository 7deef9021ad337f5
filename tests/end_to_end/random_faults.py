"""Commands and faults at random, on one results folder, of which nothing may be lost, doubled or wrong.

``test_random_faults.py`` tries a few. As a script it tries as many as it is told, and prints a table of them:

    python tests/end_to_end/random_faults.py --steps 300 --seed 1
"""

import argparse
import contextlib
import csv
import functools
import io
import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as under pytest, whose root is the folder of tests
    sys.path.insert(0, str(Path(__file__).parents[1]))

from end_to_end.console import Command, dropbench, start, wait_for
from end_to_end.passing import PASSING
from end_to_end.processes import workers

from dropbench.results.csv_file import read_rows
from dropbench.results.schema import RUNS

TINY = ["--model", "mlp", "--layers", "8", "--epochs", "3", "--train-size", "200", "--threads", "1"]
SWEEP = ["sweep", "--p", "0.2,0.5,0.8", "--seeds", "2", *TINY]
COMPARISON = ["compare-bagging", "--members", "2", "--mc-samples", "2", "--seeds", "1", *TINY]
TRAIN = ["train", "--p", "0.5", "--seed", "1", *TINY]
ALL = (SWEEP, COMPARISON)
"""The commands that together have every run; ``TRAIN`` has one of theirs."""
STATES = ["--checkpoint-every", "0"]
REPORTS = (
    ["report"],
    ["report", "--html", "page.html"],
    ["report", "--export", "tables", "--format", "csv"],
    ["report", "--export", "-", "--format", "json"],
)
WRONG = (
    ["sweep", "--p", "1.5", *TINY],
    ["sweep", "--p", "0.5", "--epochs", "many"],
    ["train", "--data", "folder:nowhere", *TINY],
    ["train", "--layer", "8"],
    ["compare-bagging", "--arms", "everything", *TINY],
    ["report", "nowhere"],
)
ENDS = {0, 1, 2, 3, 4, 129, 130, 143, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP}
# But for one that ends before dropbench begins: then Python itself traces Ctrl-C.
TRACEBACK = re.compile(r"Exception ignored|Traceback[^\0]*/dropbench/(?!__init__|cli/__init__|cli/start)")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

Row = tuple[tuple[str, str], ...]


def lasting(row: dict[str, Any]) -> Row:
    """The cells of a row that every training of its run has."""
    return tuple((name, repr(cell)) for name, cell in row.items() if name not in PASSING)


@dataclass
class Folder:
    """A results folder that is mistreated, and what must be in it.

    - ``truth``: the rows that every run may have, from folders that nothing happened to.
    - ``there``: the runs whose rows have been on disk and were left alone since.
    - ``damaged``: the runs some row of which was changed, so that it may say something else.
    - ``spare``: for each run how often it may have been trained again, for good reasons.
    - ``tried`` and ``failed``: how often each fault was tried, and what was wrong afterwards.
    """

    root: Path
    truth: dict[str, set[Row]]
    chance: random.Random
    there: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    spare: Counter[str] = field(default_factory=Counter)
    tried: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    @property
    def results(self) -> Path:
        """The folder."""
        return self.root / "results"

    @property
    def runs(self) -> Path:
        """The file of runs."""
        return self.results / "runs.csv"

    def step(self) -> None:
        """Do something at random, and see that the folder is as it must be."""
        name = self.chance.choice(list(DEEDS))
        self.tried[name] += 1
        before = len(self.failed)
        DEEDS[name](self)
        self.check()
        self.failed[before:] = [f"{name}: {what}" for what in self.failed[before:]]

    def command(self) -> list[str]:
        """A command at random that trains, or goes on with what another began."""
        base = self.chance.choice([SWEEP, SWEEP, COMPARISON, TRAIN])
        if base is TRAIN:
            return [*TRAIN, *STATES]  # as it always trains, unless it goes on from a state
        how = self.chance.choice([["--jobs", "2"], ["--jobs", "1"], ["--runner", "serial"]])
        return [*base, *how, *STATES]

    def begin(self, command: list[str], largest_file: int | None = None) -> Command:
        """Start a command."""
        if command[0] == "train":
            self.spare.update(list(self.truth))
        return start(*command, cwd=self.root, new_session=True, largest_file=largest_file)

    def end(self, process: Command, command: list[str], expected: set[int] = ENDS) -> None:
        """Wait for a command, and see that it ended well, or as it should where it could not."""
        output, errors = process.communicate(timeout=120)
        code = process.wait()
        if TRACEBACK.search(output + errors):
            self.failed.append(f"a traceback of {' '.join(command)}: {errors[-2000:]}")
        if code not in expected:
            self.failed.append(f"{' '.join(command)} ended with {code}: {errors[-2000:]}")

    def rows(self) -> list[dict[str, Any]]:
        """The runs that dropbench reads; none where the header was cut off, until a command mends it."""
        if not self.runs.exists() or b"\n" not in self.runs.read_bytes():
            return []
        return read_rows(self.results, RUNS)

    def check(self) -> None:
        """Note what is lost, doubled or wrong in what dropbench reads."""
        read = [(row["run_id"], lasting(row)) for row in self.rows()]
        found = Counter(run_id for run_id, row in read if row in self.truth.get(run_id, ()))
        self.failed += [f"run {run_id} is lost" for run_id in self.there - found.keys()]
        for run_id, count in found.items():
            if count > 1 + self.spare[run_id]:
                self.failed.append(f"run {run_id} is there {count} times")
        for run_id, row in read:
            if run_id in self.truth.keys() - self.damaged and row not in self.truth[run_id]:
                different = dict(set(row).difference(*self.truth[run_id]))
                self.failed.append(f"run {run_id} is wrong: {different}")
        self.there = set(found)

    def lose(self, run_ids: set[str]) -> None:
        """Note that rows of these runs are no longer what they were."""
        self.there -= run_ids
        self.damaged |= run_ids
        self.spare.update(run_ids)

    def finish(self) -> None:
        """Give all commands undisturbed, and see that everything is there."""
        for command in ALL:
            self.end(self.begin(command), command, {0})
        self.check()
        if missing := self.truth.keys() - self.there:
            self.failed.append(f"runs {missing} are not there at the end")


def a_whole_command(folder: Folder) -> None:
    command = folder.command()
    folder.end(folder.begin(command), command)


def a_report(folder: Folder) -> None:
    command = folder.chance.choice(REPORTS)
    folder.end(folder.begin(command), command)


def a_wrong_command(folder: Folder) -> None:
    command = folder.chance.choice(WRONG)
    folder.end(folder.begin(command), command, {1, 2})


def a_signal(folder: Folder, sent: signal.Signals, again: bool = False) -> None:
    command = folder.command()
    process = folder.begin(command)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(folder.chance.uniform(0, 1.5))
    process.send_signal(sent)
    if again:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(folder.chance.uniform(0, 0.3))
        process.send_signal(sent)
    folder.end(process, command)


def a_worker_killed(folder: Folder) -> None:
    command = [*SWEEP, "--jobs", "2", *STATES]
    process = folder.begin(command)
    wait_for(lambda: workers(process.pid) or process.poll() is not None)
    for worker in workers(process.pid)[:1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    folder.end(process, command)


def a_full_disk(folder: Folder) -> None:
    command = folder.command()
    size = folder.runs.stat().st_size if folder.runs.exists() else 0
    folder.end(folder.begin(command, largest_file=size + folder.chance.randrange(4_000)), command)


def two_at_once(folder: Folder) -> None:
    commands = [[*folder.chance.choice([SWEEP, COMPARISON]), *STATES] for _ in range(2)]
    processes = [folder.begin(command) for command in commands]
    for process, command in zip(processes, commands, strict=True):
        folder.end(process, command)


def a_line_cut_off(folder: Folder) -> None:
    """The last line of a file, as by a machine that lost its power."""
    for path in _some(folder, _tables(folder)):
        content = path.read_bytes()
        last = content.rstrip(b"\n").rfind(b"\n") + 1
        path.write_bytes(content[: folder.chance.randint(last, len(content))])
        _loses(folder, path, [content[last:]])


def a_cell_of_something_else(folder: Folder) -> None:
    """A cell that is blank, or has what does not belong there."""
    for path in _some(folder, _tables(folder)):
        lines = list(csv.reader(path.read_text(errors="surrogateescape").splitlines()))
        if len(lines) < 2:
            return
        number = folder.chance.randrange(1, len(lines))
        column = folder.chance.randrange(len(lines[number]))
        before = _text([lines[number]])
        lines[number][column] = folder.chance.choice(["", "x", "-7", "nan", "1e999", "=cmd()", "../..", "\0"])
        path.write_text(_text(lines), errors="surrogateescape")
        _loses(folder, path, [before.encode(errors="surrogateescape")])


def a_line_of_anything(folder: Folder) -> None:
    """A line of bytes that are no row."""
    for path in _some(folder, _tables(folder)):
        lines = path.read_bytes().splitlines(keepends=True)
        anything = (
            bytes(folder.chance.randrange(256) for _ in range(40)).replace(b"\n", b"").replace(b"\r", b"")
        )
        lines.insert(folder.chance.randint(1, len(lines)), anything + b"\n")
        path.write_bytes(b"".join(lines))


def a_file_gone(folder: Folder) -> None:
    """Any file but that of the runs themselves."""
    for path in _some(folder, [each for each in _files(folder) if each != folder.runs]):
        path.unlink()
        folder.spare.update(
            list(folder.truth)
        )  # runs that lack what is kept beside their rows are done again


def a_file_cut_short(folder: Folder) -> None:
    """Predictions or a state that are not whole."""
    for path in _some(folder, [each for each in _files(folder) if each.suffix in (".npz", ".safetensors")]):
        content = path.read_bytes()
        path.write_bytes(content[: folder.chance.randrange(len(content))])
        folder.spare.update(list(folder.truth))


def saved_by_a_spreadsheet(folder: Folder) -> None:
    """A byte order mark, semicolons, decimal commas and other line ends."""
    if folder.there and folder.runs.read_bytes().startswith(b"run_id,"):
        lines = list(csv.reader(folder.runs.read_text(errors="surrogateescape").splitlines()))
        lines = [
            [cell.replace(".", ",") if _NUMBER.fullmatch(cell) else cell for cell in line] for line in lines
        ]
        text = "\ufeff" + _text(lines, delimiter=";", lineterminator="\r\n")
        folder.runs.write_text(text, errors="surrogateescape", newline="")


def _tables(folder: Folder) -> list[Path]:
    """The CSV files whose header is whole: the first command after that was cut off writes it anew."""
    return [path for path in folder.results.glob("*.csv") if b"\n" in path.read_bytes()]


def _files(folder: Folder) -> list[Path]:
    return sorted(path for path in folder.results.rglob("*") if path.is_file() and path.name[0] != ".")


def _some(folder: Folder, paths: object) -> list[Path]:
    """One of the paths at random, if there is any."""
    found = sorted(paths)  # type: ignore[call-overload]
    return [folder.chance.choice(found)] if found else []


_NUMBER = re.compile(r"^(-?\d+)\.(\d+(?:e[-+]?\d+)?)$")


def _text(lines: list[list[str]], **form: Any) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, **{"lineterminator": "\n", **form}).writerows(lines)
    return buffer.getvalue()


def _loses(folder: Folder, path: Path, lines: list[bytes]) -> None:
    """Note the runs that stood on these lines of a file."""
    if path == folder.runs:
        folder.lose({run_id for run_id in folder.truth if any(run_id.encode() in line for line in lines)})
    else:
        folder.spare.update(list(folder.truth))


DEEDS: dict[str, Callable[[Folder], None]] = {
    "a whole command": a_whole_command,
    "a report": a_report,
    "a wrong command": a_wrong_command,
    **{each.name: functools.partial(a_signal, sent=each) for each in SIGNALS},
    **{f"{each.name} twice": functools.partial(a_signal, sent=each, again=True) for each in SIGNALS[1:]},
    "a worker killed": a_worker_killed,
    "a full disk": a_full_disk,
    "two commands at once": two_at_once,
    "a line cut off": a_line_cut_off,
    "a cell of something else": a_cell_of_something_else,
    "a line of anything": a_line_of_anything,
    "a file gone": a_file_gone,
    "a file cut short": a_file_cut_short,
    "saved by a spreadsheet": saved_by_a_spreadsheet,
}


def rows_of(command: list[str], folder: Path) -> list[dict[str, Any]]:
    """The rows of a command that nothing happens to."""
    folder.mkdir(parents=True)
    done = dropbench(*command, cwd=folder)
    assert done.returncode == 0, done.stderr
    return read_rows(folder / "results", RUNS)


def mistreated(root: Path, seed: int, steps: int) -> Folder:
    """A folder after so many steps at random and an end without any."""
    folder = Folder(root / "mistreated", {}, random.Random(seed))
    folder.root.mkdir()
    for number, command in enumerate(ALL):
        for row in rows_of(command, root / str(number)):
            # A run that both have is trained again where the one that was first keeps less. Without dropout,
            # it also has that command's settings of dropout.
            folder.spare[row["run_id"]] += row["run_id"] in folder.truth
            folder.truth.setdefault(row["run_id"], set()).add(lasting(row))
    for _ in range(steps):
        folder.step()
    folder.finish()
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.getLogger("dropbench").addHandler(logging.NullHandler())  # each row that was damaged is told
    with tempfile.TemporaryDirectory() as root:
        folder = mistreated(Path(root), given.seed, given.steps)
    print("| fault | tried | runs lost, doubled or wrong, tracebacks |\n|---|---:|---:|")
    for name, count in sorted(folder.tried.items()):
        wrong = sum(what.startswith(f"{name}: ") for what in folder.failed)
        print(f"| {name} | {count} | {wrong} |")
    print(f"| all, and at the end | {given.steps} | {len(folder.failed)} |")
    for what in folder.failed:
        print(re.sub(r"\n", "\n    ", what), file=sys.stderr)
    return int(bool(folder.failed))


if __name__ == "__main__":
    sys.exit(main())
