"""Signals that end a command, in the processes that carry out its runs: only the driver answers them."""

import contextlib
import signal
from collections.abc import Iterator

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that terminals, batch systems and containers send to end a command, often to all its processes."""
_HAS_MASKS = hasattr(signal, "pthread_sigmask")  # Windows has none, nor process groups that get these


@contextlib.contextmanager
def signals_blocked(*signals: signal.Signals) -> Iterator[None]:
    """Block signals for the context; one that comes meanwhile is delivered at its end.

    They stay blocked in the processes that are started within.
    """
    if not _HAS_MASKS:
        yield
        return
    from multiprocessing import resource_tracker  # here, since Windows has none

    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        # Whoever starts a process starts this one first, and unblocks signals then.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_to_driver() -> None:
    """Ignore from now on the signals that end a command, in a process that was started with them blocked."""
    for each in ENDING:
        signal.signal(each, signal.SIG_IGN)
    if _HAS_MASKS:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
