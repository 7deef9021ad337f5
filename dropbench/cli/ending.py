"""How a training command answers the signals that end it: Ctrl-C, SIGTERM and SIGHUP.

The first Ctrl-C has the runs in hand finished. The second, and the first SIGTERM (of Slurm, Kubernetes or
systemd) or SIGHUP (of a terminal that is closed), has them stopped after their step, in SECONDS at most. One
more ends the command at once. Nothing that was written is spoiled by that: it is as if the power was cut.
"""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

import typer

from dropbench.cli.console import let_go_of_closed_streams, tell
from dropbench.cli.progress import Progress

SECONDS = 9.0
"""Time from the signal to the end of the command, come what may; batch systems allow 30 or more."""
FINISH, HALT, AT_ONCE = 1, 2, 3
_NAMES = {
    getattr(signal, name): said
    for name, said in (("SIGINT", "Interrupted"), ("SIGTERM", "Terminated"), ("SIGHUP", "Hung up"))
    if hasattr(signal, name)
}
LastWords = Callable[[str], str]
"""Makes the last sentence of a command, from the word for what ended it."""


class Heard:
    """The signals so far: what they ask for, and the last of them."""

    def __init__(self) -> None:
        self.asked = 0
        self.last: int = signal.SIGINT

    def hear(self, number: int) -> int:
        """Take note of a signal, and return what is asked for now."""
        least = FINISH if number == signal.SIGINT else HALT
        self.asked, self.last = max(least, self.asked + 1), number
        return self.asked

    @property
    def name(self) -> str:
        """The word for the last signal."""
        return _NAMES[signal.Signals(self.last)]

    @property
    def exit_code(self) -> int:
        """The exit code of a command that the last signal ended, as shells have it."""
        return 128 + self.last


@contextmanager
def answering(watcher: Progress, last_words: LastWords) -> Iterator[None]:
    """Answer signals in the context, through the watcher of its runs.

    Raises:
        typer.Exit: with the exit code of the signal, if one ended what is done in the context.

    """
    heard = Heard()

    def answer(number: int, frame: FrameType | None) -> None:
        asked = heard.hear(number)
        if asked == FINISH:
            watcher.stop()
            to_tell.put("Interrupted: the runs in hand are finished first. Ctrl-C again stops them.")
        elif asked == HALT:
            watcher.halt()
            let_go_of_closed_streams()
            if not watcher.in_hand:  # but data or kernels are made, of which half is nothing
                raise KeyboardInterrupt
            to_tell.put(f"{heard.name}: the runs in hand stop after their step; once more ends at once.")

    with _teller() as to_tell, _ended_in_time(last_words), _handled_by(answer):
        try:
            yield
            if heard.asked >= HALT:
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            let_go_of_closed_streams()
            to_tell.put(last_words(heard.name))
            raise typer.Exit(heard.exit_code) from None


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Let the handler have the signals in the context; nohup and its like keep those that they ignore."""
    before = {
        number: signal.signal(number, handler)
        for number in _NAMES
        if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def _ended_in_time(last_words: LastWords) -> Iterator[None]:
    """End this process at once when signals ask for it, or SECONDS after they ask the runs to halt.

    A thread does: the handlers of signals wait for the main thread, which may be in the midst of a long step.
    """
    ours, theirs = socket.socketpair()
    heard = Heard()

    def watch() -> None:
        asked = 0
        while asked < AT_ONCE:
            try:
                numbers = ours.recv(64)
            except TimeoutError:
                break
            if not numbers:
                return
            for number in numbers:
                if number in _NAMES:
                    asked = heard.hear(number)
                    if asked == HALT:
                        end = time.monotonic() + SECONDS
            if asked >= HALT:
                ours.settimeout(max(0.001, end - time.monotonic()))
        with contextlib.suppress(OSError):  # the terminal may be closed
            show_cursor = "\x1b[?25h" if os.isatty(2) else ""
            os.write(2, f"{show_cursor}dropbench: {last_words(heard.name)}\n".encode())
        os._exit(heard.exit_code)

    theirs.setblocking(False)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        theirs.close()
        thread.join()
        ours.close()


@contextmanager
def _teller() -> "Iterator[SimpleQueue[str | None]]":
    """A queue of sentences to tell, from a signal handler too; all are told when the context ends.

    A handler may run in the midst of a message's write to stderr, which then refuses another one. It may put
    something into a SimpleQueue, even in the midst of another put.
    """
    sentences: SimpleQueue[str | None] = SimpleQueue()

    def tell_all() -> None:
        while (sentence := sentences.get()) is not None:
            tell(sentence)

    thread = threading.Thread(target=tell_all, daemon=True)
    thread.start()
    try:
        yield sentences
    finally:
        sentences.put(None)
        thread.join()
