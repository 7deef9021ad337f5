"""The progress of reading a data set, for whoever wants to show it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Show = Callable[[str, int, int], None]
"""Takes what is done, in words, how many are done, and how many there are."""
_show: ContextVar[Show | None] = ContextVar("show", default=None)


@contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """Have ``show`` called as data sets are read in this context."""
    before = _show.set(show)
    try:
        yield
    finally:
        _show.reset(before)


def reported(what: str, items: Iterable[T], total: int, each: Callable[[T], int]) -> Iterator[T]:
    """Yield the items, and report after each how many are done of ``total``; each counts as told."""
    done = 0
    show = _show.get()
    for item in items:
        yield item
        done += each(item)
        if show is not None:
            show(what, done, total)
