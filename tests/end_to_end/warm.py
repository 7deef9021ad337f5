"""A process that has imported everything once and then forks the console script as often as it is asked to.

Run as a script by ``console.py``. A command that is forked differs from one that a shell starts in this
alone: the modules outside ``dropbench.cli`` are imported already, and at the end nothing of them is taken
apart. Words, folder, environment, streams, limits, signals, process group and exit code are those of a
process of its own. So is its pool: where the command would start a Python that imports torch and then forks
workers, a child of the command does so that has torch already.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import os
import pkgutil
import resource
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
import types
from multiprocessing import util
from pathlib import Path
from typing import Annotated, Any, NoReturn

LATE = (  # what commands import where they need it
    "PIL.Image",
    "matplotlib.pyplot",
    "pandas",
    "plotext",
    "plotly.offline",
    "rich.progress",
    "rich.table",
    "scipy.stats",
    "sklearn",
    "statsmodels.stats.multitest",
)
LARGEST = 1 << 20  # bytes of a message: an environment, at most
STREAMS = (0, 1, 2)
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def import_everything() -> None:
    """Import what the commands import, but nothing that looks at the streams, as dropbench.cli does."""
    for name in LATE:
        importlib.import_module(name)
    import dropbench

    for module in pkgutil.walk_packages(dropbench.__path__, "dropbench."):
        if not module.name.startswith(("dropbench.cli", "dropbench.__main__", "dropbench.runners.ray")):
            importlib.import_module(module.name)
    parse_something()


def parse_something() -> None:
    """Let typer import what it imports at its first command."""
    import typer

    app = typer.Typer()

    @app.command()
    def nothing(number: Annotated[int, typer.Option(min=1)] = 1) -> None:
        pass

    typer.main.get_command(app)([], standalone_mode=False)


def serve(client: socket.socket) -> dict[str, Any]:
    """Fork for every request that comes; return it, in the fork. The server ends with its client.

    A request comes with its three streams and a pipe, on which the pid is told at once, and at the end the
    exit code.
    """
    running: dict[int, tuple[int, int]] = {}  # by pidfd: pid and pipe
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not client:
                    selector.unregister(key.fd)
                    tell_end(key.fd, *running.pop(key.fd))
                    continue
                message, received, _, _ = socket.recv_fds(client, LARGEST, 4)
                if not message:
                    os._exit(0)
                *streams, pipe = received
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    client.close()
                    for fd in (pipe, *running, *(each for _, each in running.values())):
                        os.close(fd)
                    return {**json.loads(message), "streams": streams}
                for fd in streams:
                    os.close(fd)
                os.write(pipe, f"{pid}\n".encode())
                watch = os.pidfd_open(pid)
                running[watch] = pid, pipe
                selector.register(watch, selectors.EVENT_READ)


def tell_end(watch: int, pid: int, pipe: int) -> None:
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):  # whoever asked went away
        os.write(pipe, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os.close(pipe)
    os.close(watch)


def become(script: str, request: dict[str, Any]) -> None:
    """Make of this fork what a shell makes of a new process, up to the script's first line."""
    if request["new_session"]:
        os.setsid()
    for fd, stream in zip(request["streams"], STREAMS, strict=True):
        os.dup2(fd, stream)
        os.close(fd)
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__ = (
        open(0, closefd=False),  # noqa: SIM115  # theirs for good
        open(1, "w", closefd=False),  # noqa: SIM115
        open(2, "w", closefd=False, buffering=1, errors="backslashreplace"),  # noqa: SIM115
    )
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"], request["largest_file"]))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    sys.argv = [script, *request["arguments"]]
    sys.path[0] = str(Path(script).parent)


def carry_out(script: str) -> NoReturn:
    """Run the script and end as an interpreter does, except that the modules stay whole."""
    code = 1
    try:
        runpy.run_path(script, run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # these three are what Py_FinalizeEx begins with
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code & 0xFF)


def keep_a_spare() -> None:
    """Fork a child that waits to be the server of the command's workers."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        ours.close()
        be_a_spare(theirs)
    theirs.close()
    start = util.spawnv_passfds

    def start_or_hand_over(path: bytes, arguments: list[str], fds: list[int]) -> int:
        if ours.fileno() < 0 or "multiprocessing.forkserver" not in arguments[-1]:
            return start(path, arguments, fds)
        blocked = [int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())]
        wanted = {"code": arguments[-1], "fds": fds, "folder": os.getcwd(), "blocked": blocked}
        socket.send_fds(ours, [json.dumps({**wanted, "environment": dict(os.environ)}).encode()], fds)
        ours.close()
        return pid

    util.spawnv_passfds = start_or_hand_over


def be_a_spare(command: socket.socket) -> None:
    """Wait for the code that a new Python would be started with, and run it; or end with the command."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    message, received, _, _ = socket.recv_fds(command, LARGEST, 8)
    command.close()
    if not message:
        os._exit(0)
    wanted = json.loads(message)
    apart = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in received]  # out of the way of one another
    for fd in received:
        os.close(fd)
    for fd, number in zip(apart, wanted["fds"], strict=True):
        os.dup2(fd, number, inheritable=False)
        os.close(fd)
    signal.pthread_sigmask(signal.SIG_SETMASK, wanted["blocked"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.argv = ["-c"]
    if not os.environ.get("PYTHONSAFEPATH"):
        sys.path.insert(0, "")
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        exec(wanted["code"], vars(main))  # noqa: S102  # multiprocessing's own
    finally:
        os._exit(0)


if __name__ == "__main__":
    _, script_path, socket_number = sys.argv
    import_everything()
    gc.collect()
    gc.freeze()
    become(script_path, serve(socket.socket(fileno=int(socket_number))))
    keep_a_spare()
    carry_out(script_path)
