"""The console script as a newcomer runs it, in a folder of its own."""

import contextlib
import csv
import functools
import json
import os
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

SCRIPT = shutil.which("dropbench", path=Path(sys.executable).parent) or shutil.which("dropbench")
FORKS = sys.platform == "linux"
"""Whether commands are forked by warm.py; elsewhere each is started from scratch."""
SECONDS = 200


def dropbench(
    *arguments: str, cwd: Path, scratch: bool = False, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    process = start(*arguments, cwd=cwd, scratch=scratch, **variables)
    output, errors = process.communicate()
    return subprocess.CompletedProcess([str(SCRIPT), *arguments], process.wait(), output, errors)


def start(
    *arguments: str,
    cwd: Path,
    scratch: bool = False,
    new_session: bool = False,
    largest_file: int | None = None,
    **variables: str,
) -> "Command":
    """Start a command: ``scratch`` as a shell does, else with its imports done before.

    ``new_session`` gives it a process group of its own, ``largest_file`` is how many bytes a file that it
    writes may have.
    """
    environment = {**os.environ, "COLUMNS": "100", **variables}
    out, to_out = os.pipe()
    err, to_err = os.pipe()
    process: Process
    if FORKS and not scratch:
        request = {
            "arguments": arguments,
            "folder": str(cwd),
            "environment": environment,
            "new_session": new_session,
            "largest_file": largest_file,
        }
        process = Forked(request, to_out, to_err)
    else:
        process = subprocess.Popen(
            [str(SCRIPT), *arguments],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=to_out,
            stderr=to_err,
            start_new_session=new_session,
            preexec_fn=None if largest_file is None else functools.partial(limit_files, largest_file),  # noqa: PLW1509
        )
    os.close(to_out)
    os.close(to_err)
    return Command(process, out, err)


def limit_files(size: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def wait_for(condition: Callable[[], object], seconds: float = 100) -> None:
    """Wait until something is so; fail where it does not come to be so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


class Process(Protocol):
    """The part of subprocess.Popen that there is of a fork, too."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...


class Command:
    """A command that runs, and what it writes."""

    def __init__(self, process: Process, out: int, err: int) -> None:
        self.pid, self.poll, self.wait = process.pid, process.poll, process.wait
        self.send_signal = process.send_signal
        self._out, self._err = out, err
        self._written = {out: bytearray(), err: bytearray()}

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = SECONDS) -> tuple[str, str]:
        """Wait until all that could write have ended; what was written to stdout and to stderr.

        Raises:
            subprocess.TimeoutExpired: if that takes longer; the command is killed.

        """
        end = time.monotonic() + timeout
        try:
            self._read(end)
            self.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        output, errors = (bytes(self._written[fd]).decode() for fd in (self._out, self._err))
        return output, errors

    def wait_to_be_told(self, sentence: str, timeout: float = SECONDS) -> None:
        """Wait until ``sentence`` stands on stderr."""
        told = self._read(time.monotonic() + timeout, until=sentence.encode())
        assert told, bytes(self._written[self._err]).decode()

    def _read(self, end: float, until: bytes | None = None) -> bool:
        with selectors.DefaultSelector() as selector:
            for fd in self._written:
                with contextlib.suppress(OSError):  # closed before
                    selector.register(fd, selectors.EVENT_READ)
            while until is None or until not in self._written[self._err]:
                if not selector.get_map():
                    return until is None
                ready = selector.select(max(0.0, end - time.monotonic()))
                if not ready:
                    raise subprocess.TimeoutExpired("dropbench", SECONDS)
                for key, _ in ready:
                    part = os.read(key.fd, 1 << 16)
                    self._written[key.fd] += part
                    if not part:
                        selector.unregister(key.fd)
                        os.close(key.fd)
        return True


class Forked:
    """A process that warm.py forked, and reaps."""

    def __init__(self, request: dict[str, object], out: int, err: int) -> None:
        self.returncode: int | None = None
        nothing, (self._ends, ends) = os.open(os.devnull, os.O_RDONLY), os.pipe()
        socket.send_fds(warm_server(), [json.dumps(request).encode()], [nothing, out, err, ends])
        os.close(nothing)
        os.close(ends)
        self._told = open(self._ends)  # noqa: SIM115  # closed with the process
        self.pid = int(self._told.readline())

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._ends], [], [], 0)[0]:
            return self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._ends], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("dropbench", timeout or 0)
            self.returncode = int(self._told.readline())
            self._told.close()
        return self.returncode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)


@functools.cache
def warm_server() -> socket.socket:
    """The connection to warm.py, which this process starts once and which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        number = theirs.fileno()
        command = [sys.executable, str(Path(__file__).with_name("warm.py")), str(SCRIPT), str(number)]
        SERVERS.append(subprocess.Popen(command, pass_fds=[number], start_new_session=True))
    return ours


SERVERS: list[subprocess.Popen[bytes]] = []  # kept, since a Popen that is collected while it runs warns
