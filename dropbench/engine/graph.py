"""CUDA graphs: a step is captured once, and from then on replayed without its Python."""

import functools
import logging
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch

_log = logging.getLogger(__name__)

WARM_UP = 3
"""Steps of a kind that are done eagerly before one is captured, in which libraries choose their kernels."""
Work = Callable[[], None]


def captured(step: Work, stream: torch.cuda.Stream, pool: Any = None) -> Work:
    """Capture a step into a CUDA graph, without doing it, and return what replays it on the current stream.

    Args:
        step: what is done on the device; it was done on ``stream`` before, so that all it needs is loaded.
        stream: the stream that it is captured on.
        pool: the memory that graphs share which are not replayed at the same time; see
            torch.cuda.graph_pool_handle.

    Raises:
        RuntimeError: if the step does what no graph can hold, such as to wait for the device.

    """
    graph = torch.cuda.CUDAGraph()
    reason: BaseException | None = None
    with torch.cuda.stream(stream):  # torch's own context stays on it where the capture fails
        try:
            with torch.cuda.graph(graph, pool=pool, stream=stream):
                try:
                    with _waits_raise():
                        step()
                except BaseException as error:
                    reason = error
                    raise
        except RuntimeError as error:
            if error is not reason:  # CUDA could not end the capture: torch may take it for going on for ever
                _Captures.broken = True
            raise reason or error from None
    return graph.replay


class _Captures:
    broken = False
    """Whether a capture of this process did not end: none may begin then, and no graph be replayed."""


@contextmanager
def _waits_raise() -> Iterator[None]:
    """Let what would wait for the device raise instead: CUDA itself would give up the whole capture."""
    before = torch.cuda.get_sync_debug_mode()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Synchronization debug mode")  # is a prototype, says torch
            torch.cuda.set_sync_debug_mode("error")
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


class Lane(Protocol):
    """The protocol of a line of work, beside others on the same device, that can be recorded and replayed."""

    def begin(self) -> None:
        """Let the lane wait, on the device, for all that was begun outside of it."""

    def end(self) -> None:
        """Let what is begun outside of it from now on wait, on the device, for the lane."""

    def working(self) -> AbstractContextManager[Any]:
        """Return a context whose work is done in the lane."""

    def record(self, step: Work) -> Work:
        """Return what does a step again, which is not done now; raise RuntimeError if that is impossible."""

    def forget(self) -> None:
        """Give up the memory of what was recorded, which nothing holds any more."""

    @property
    def records(self) -> bool:
        """Whether steps can be recorded and replayed at all."""


_idle: dict[torch.device, list[torch.cuda.Stream]] = {}
"""Streams that no lane has at the moment: cuBLAS keeps memory for each stream that it ever worked on."""


class CudaLane:
    """A CUDA stream of its own, whose recordings are CUDA graphs that share memory."""

    def __init__(self, device: torch.device) -> None:
        idle = _idle.setdefault(device, [])
        self.stream = idle.pop() if idle else torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        weakref.finalize(self, idle.append, self.stream)
        self._pool: Any = torch.cuda.graph_pool_handle()

    def begin(self) -> None:
        """Let the lane wait for the current stream."""
        self.stream.wait_stream(torch.cuda.current_stream(self.stream.device))

    def end(self) -> None:
        """Let the current stream wait for the lane."""
        torch.cuda.current_stream(self.stream.device).wait_stream(self.stream)

    def working(self) -> AbstractContextManager[Any]:
        """Return a context in which the lane's stream is the current one."""
        return torch.cuda.stream(self.stream)

    def record(self, step: Work) -> Work:
        """Capture a step; see ``captured``."""
        return captured(step, self.stream, self._pool)

    def forget(self) -> None:
        """Take other memory for the next graphs: torch knows a pool no more without a graph that uses it."""
        self._pool = torch.cuda.graph_pool_handle()

    @property
    def records(self) -> bool:
        """Whether every capture of this process has ended."""
        return not _Captures.broken


class Graphs:
    """Does the steps of a run in a lane: those of a kind eagerly at first, then by replaying a recording.

    If a step cannot be recorded, this is logged, and all steps are done eagerly.
    """

    def __init__(self, lane: Lane, warm_up: int = WARM_UP) -> None:
        self._lane = lane
        self._warm_up = warm_up
        self._replays: dict[Hashable, Work] = {}
        self._eager: Counter[Hashable] = Counter()
        self._failed = False

    def do(self, kind: Hashable, step: Work) -> None:
        """Do a step; all steps of a kind are the same work on the device."""
        with self._lane.working():
            known = kind in self._replays
            if self._failed or not self._lane.records or (not known and self._eager[kind] < self._warm_up):
                self._eager[kind] += 1
                step()
                return
            if not known:
                try:
                    self._replays[kind] = self._lane.record(step)
                except RuntimeError as error:  # an error of the step itself is raised again by doing it
                    self._failed = True
                    step()
                    _tell(" ".join(str(error).split()) or type(error).__name__)
                    return
            self._replays[kind]()

    def forget(self) -> None:
        """Forget all kinds, since the work of each has changed."""
        self._replays.clear()
        self._eager.clear()
        self._lane.forget()


@functools.cache
def _tell(reason: str) -> None:
    _log.warning("A step cannot be held by a CUDA graph (%s); steps are done one by one.", reason)
