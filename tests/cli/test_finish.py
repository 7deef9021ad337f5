"""The frame of a command that trains: what Ctrl-C and other signals do."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from dropbench.cli import ending
from dropbench.cli.console import err
from dropbench.cli.finish import working

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")


class Interrupts(io.RawIOBase):
    """A stream in the midst of whose first write the process gets a Ctrl-C."""

    def __init__(self) -> None:
        self.written = b""

    def writable(self) -> bool:
        return True

    def write(self, part: bytes) -> int:  # type: ignore[override]  # any buffer
        if not self.written:
            os.kill(os.getpid(), signal.SIGINT)
        self.written += bytes(part)
        return len(part)


def test_an_interrupt_in_the_midst_of_a_message_is_told_after_it_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stream = Interrupts()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(stream), write_through=True))
    with working(tmp_path) as watcher:
        err.print("a message")
        assert watcher.wants_to_stop()
    first, second = stream.written.decode().splitlines()
    assert first == "a message"
    assert "Ctrl-C" in second


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exit codes with which the thread that watches would have ended this process."""
    codes: list[int] = []
    monkeypatch.setattr(ending.os, "_exit", codes.append)
    return codes


def wait_for(codes: list[int]) -> None:
    end = time.monotonic() + 20
    while not codes and time.monotonic() < end:
        time.sleep(0.001)


def send(folder: Path, names: list[str], codes: list[int]) -> ending.Progress:
    """Send signals to a command whose runs never halt, until it is ended; return its watcher."""
    with working(folder) as watcher:
        for name in names:
            assert not codes
            os.kill(os.getpid(), getattr(signal, name))
        wait_for(codes)
    return watcher


@pytest.mark.parametrize(
    ("names", "code"),
    [(["SIGINT"] * 3, 130), (["SIGTERM"] * 2, 143), (["SIGINT", "SIGTERM", "SIGHUP"], 129)],
)
def test_the_last_signal_ends_at_once_whatever_the_runs_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: list[int], names: list[str], code: int
) -> None:
    monkeypatch.setattr(ending.Progress, "in_hand", True)
    with pytest.raises(typer.Exit) as end:
        send(tmp_path, names, left)
    assert left == [end.value.exit_code] == [code]


def test_a_command_that_does_not_halt_is_ended_in_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ending.Progress, "in_hand", True)
    monkeypatch.setattr(ending, "SECONDS", 0.05)
    with pytest.raises(typer.Exit):
        send(tmp_path, ["SIGTERM"], left)
    assert left == [143]
    assert "to go on: dropbench" in capfd.readouterr().err


def test_before_any_run_a_signal_interrupts(tmp_path: Path, left: list[int]) -> None:
    with pytest.raises(typer.Exit) as end:
        send(tmp_path, ["SIGHUP"], left)
    assert not left
    assert end.value.exit_code == 129
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL


def test_who_ignores_a_signal_goes_on_doing_so(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with working(tmp_path) as watcher:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not watcher.wants_to_halt()
    finally:
        signal.signal(signal.SIGHUP, before)


IN_A_TERMINAL = """
import fcntl, os, signal, sys, termios, threading
from pathlib import Path
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever this is a child of
fcntl.ioctl(0, termios.TIOCSCTTY)
import typer
from dropbench.cli.console import err, out
from dropbench.cli.ending import Progress
from dropbench.cli.finish import working
Progress.in_hand = True
try:
    with working(Path("results")) as watcher:
        assert err.is_terminal
        os.write(int(sys.argv[1]), b"ready")
        while not watcher.wants_to_halt():
            pass
        err.print("a message")
        out.print("a table")
except typer.Exit as end:
    sys.exit(end.exit_code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="terminals of other systems close in other ways")
def test_a_terminal_that_closes_ends_the_command_in_order(tmp_path: Path) -> None:
    """The kernel sends the signal, and every write to the terminal fails from then on."""
    terminal, its_end = os.openpty()
    ready, to_ready = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, str(to_ready)],
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
        pass_fds=[to_ready],
        start_new_session=True,
        cwd=tmp_path,
    )
    os.close(its_end)
    os.close(to_ready)
    assert os.read(ready, 5) == b"ready"
    os.close(ready)
    os.close(terminal)
    assert process.wait(20) == 129
