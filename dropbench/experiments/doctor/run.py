"""All findings, and the process of its own in which torch is tried."""

import multiprocessing
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from dropbench.errors import DropbenchError
from dropbench.experiments.doctor.finding import BROKEN, Finding, heard, said, surviving
from dropbench.experiments.doctor.machine import judge_allocator

Message = Finding | DropbenchError


def examine(results: Path, data_dir: Path | None, device: str, precision: str) -> Iterator[Finding]:
    """Everything that is found, one thing after another; prints nothing.

    Nothing but the cache of data sets is written.

    Raises:
        UsageError: if there is no such device or precision.

    """
    yield from surviving("installation", _installation())
    yield judge_allocator()
    yield from surviving("folders", _folders(data_dir, results))
    yield from surviving("worker", in_a_process(device, precision, data_dir))


def _installation() -> Iterator[Finding]:
    from dropbench.experiments.doctor.installation import installation

    yield from installation()


def _folders(data_dir: Path | None, results: Path) -> Iterator[Finding]:
    from dropbench.datasets.registry import default_data_dir
    from dropbench.experiments.doctor.folders import folders

    yield from folders(data_dir or default_data_dir(), results)


def in_a_process(device: str, precision: str, data_dir: Path | None) -> Iterator[Finding]:
    """What torch tells, from a process that may die of it: the processor may lack an instruction."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, device, precision, data_dir), daemon=True)
    process.start()
    theirs.close()  # so that the process's death reads as the end of the connection
    last = ""
    try:
        while True:
            message: Message = ours.recv()
            if isinstance(message, DropbenchError):
                raise message
            last = message.name
            yield message
    except EOFError:
        process.join()
        if process.exitcode:
            yield _death(process.exitcode, last)
    finally:
        process.terminate()
        process.join()
        ours.close()


def _death(code: int, last: str) -> Finding:
    from dropbench.experiments.doctor.installation import install_pair

    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    when = f"after it had found: {last}" if last else "while it imported torch"
    mend = "Free memory: a system that runs out of it ends processes so." if how == "SIGKILL" else ""
    value = f"a process that tried torch ended with {how}, {when}"
    return Finding("torch", value, "problem", mend or install_pair(again=True))


def _work(connection: Connection, device: str, precision: str, data_dir: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    try:
        for finding in _with_torch(device, precision, data_dir):
            connection.send(finding)
    except DropbenchError as error:
        connection.send(error)
    except Exception as error:  # whatever else a broken torch does, it is a finding
        connection.send(Finding("torch", said(error), "problem"))


def _with_torch(device: str, precision: str, data_dir: Path | None) -> Iterator[Finding]:
    try:
        with heard() as warned:
            import torch  # noqa: F401
    except BROKEN as error:
        from dropbench.experiments.doctor.installation import install_pair

        yield Finding("torch", f"cannot be imported. {said(error)}", "problem", install_pair(again=True))
        return
    for text in warned:
        yield Finding("torch", text, "note")

    from dropbench.datasets.registry import default_data_dir
    from dropbench.experiments.doctor.with_torch import torch_findings

    yield from torch_findings(device, precision, data_dir or default_data_dir())
