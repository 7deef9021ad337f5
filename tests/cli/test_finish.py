"""The frame of a command that trains: what Ctrl-C does."""

import io
import os
import signal
import sys
from pathlib import Path

import pytest

from dropbench.cli.console import err
from dropbench.cli.finish import working


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
