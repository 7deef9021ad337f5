"""Work in turns: a generator that yields where other work may go on, and returns a result at its end.

On a GPU a turn begins work for the device without a wait. So the device has the work of several runs at a
time, and one that waits for its own figures does not keep the others from theirs.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack
from time import monotonic
from typing import Protocol, TypeVar

Result = TypeVar("Result")
Turns = Generator[None, None, Result]
Take = Callable[[bool], Turns[Result] | None]
"""Takes the next work, or None if there is none now; the argument tells whether it may wait for one."""
Halts = Callable[[], bool]
"""Tells between two turns whether what is in progress is to stop there."""


def never() -> bool:
    """Return False: nothing is to stop before its end."""
    return False


def late(halts: Halts, seconds: float) -> Halts:
    """Return what is true so many seconds after ``halts`` was seen to be true."""
    since: list[float] = []

    def is_late() -> bool:
        if not since and halts():
            since.append(monotonic())
        return bool(since) and monotonic() - since[0] >= seconds

    return is_late


def to_its_end(work: Turns[Result]) -> Result:
    """Do all turns of a work one after another, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # the generator's result


def until_halted(work: Turns[Result], halts: Halts) -> Result | None:
    """Do the turns of a work; return its result, or None if it was to halt before, and was closed."""
    works = iter([work])
    return next(side_by_side(lambda may_wait: next(works, None), 1, halts), None)


def side_by_side(take: Take[Result], abreast: int, halts: Halts = never) -> Iterator[Result]:
    """Do up to ``abreast`` works at a time, a turn of each in turn; yield their results as they end.

    A work is taken when there is room for it, and ``take`` is told whether it may wait for one: only where
    none is in progress. If it returns None then, all is done. Once ``halts`` is true no turn is begun any
    more. The iterator then ends, and at its end, or when it is closed, it closes the works in progress.
    """
    going: list[Turns[Result]] = []
    try:
        while True:
            while len(going) < abreast and not halts() and (work := take(not going)) is not None:
                going.append(work)
            if not going:
                return
            for work in list(going):
                if halts():
                    return
                try:
                    next(work)
                except StopIteration as end:
                    going.remove(work)
                    yield end.value
    finally:
        with ExitStack() as closing:  # each is closed, whatever another one raises
            for work in going:
                closing.callback(work.close)


class Lent(Protocol):
    """The protocol of something that a work needs in each of its turns."""

    def lent(self) -> AbstractContextManager[None]:
        """Return a context in which the work has it."""


def with_lent(lender: Lent, work: Turns[Result]) -> Turns[Result]:
    """Do the turns of a work, each with what it is lent; other work does not have it in between."""
    try:
        while True:
            with lender.lent():
                try:
                    next(work)
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]  # the generator's result
            yield
    finally:
        work.close()
