"""Messages that a worker logs and the driver tells in its place: a worker itself prints nothing."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_LIBRARY = "dropbench"


@dataclass(frozen=True)
class Said:
    """A message that a worker logged."""

    level: int
    sentence: str


class Hearing:
    """Logs what workers said: a sentence that several say once."""

    def __init__(self) -> None:
        self._heard: set[Said] = set()

    def hear(self, said: Said) -> None:
        """Log a message, unless another worker said it before."""
        if said not in self._heard:
            self._heard.add(said)
            logging.getLogger(_LIBRARY).log(said.level, "%s", said.sentence)


class _Sender(logging.Handler):
    def __init__(self, send: Callable[[Said], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record's message."""
        with suppress(OSError):  # the driver is gone, so that nobody is there to hear it
            self._send(Said(record.levelno, record.getMessage()))


@contextmanager
def saying(send: Callable[[Said], None]) -> Iterator[None]:
    """Send what the library logs in this context, in place of logging it here."""
    log, sender = logging.getLogger(_LIBRARY), _Sender(send)
    before, propagates = log.handlers[:], log.propagate
    log.handlers[:], log.propagate = [sender], False
    try:
        yield
    finally:
        log.handlers[:], log.propagate = before, propagates
