"""Kernels compiled by numba: their cache on disk, their threads, and the tensors that they can take."""

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from dropbench.errors import DropbenchError
from dropbench.kernels import cache
from dropbench.locks import check_locks

numba: Any = None
prange: Any = range
"""A range that the threads of a kernel share."""


@dataclass
class _State:
    """The state of numba in this process."""

    why_not: str = ""
    cached: bool = True
    """Every kernel that was compiled is in the cache."""
    launched_in: int = 0
    """The process that launched numba's threads; 0 where none did."""
    calls_at_once: contextlib.AbstractContextManager[object] = field(default_factory=contextlib.nullcontext)


_state = _State()
try:
    import numba

    prange = numba.prange
except Exception as error:  # numba refuses a numpy that is newer than it knows, by one error or another
    _state.why_not = " ".join(str(error).split()) or type(error).__name__

_log = logging.getLogger(__name__)

# LLVM may contract a product and a sum to one rounding, which would not be torch's result.
_OPTIONS = {"parallel": True, "fastmath": False, "boundscheck": False, "error_model": "numpy"}
_WAIT_FOR_OTHERS = 600.0  # seconds; another process that compiles takes half a minute at most
_lock = threading.Lock()
_here = threading.local()
_kernels: list["Kernel"] = []
_switched_off: ContextVar[bool] = ContextVar("kernels switched off", default=False)


class Kernel:
    """A function on numpy arrays, compiled for certain types of arguments when it is first called.

    It runs on as many threads as torch would use. ``signatures`` are numba's, one for each type.
    """

    def __init__(self, function: Callable[..., Any], signatures: list[str]) -> None:
        self._function, self._signatures = function, signatures
        self._compiled: Callable[..., Any] | None = None
        _kernels.append(self)

    def __call__(self, *arguments: Any) -> None:
        """Call the compiled function."""
        compiled = self._compiled or self.compile()
        threads = torch.get_num_threads()
        if getattr(_here, "threads", 0) != threads:  # numba has a number for each thread that calls it
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            _here.threads = threads
        with _state.calls_at_once:
            compiled(*arguments)

    def compile(self) -> Callable[..., Any]:
        """Load the function from the cache, or compile it; further calls have no effect."""
        with _lock:
            if self._compiled is None:
                _launch_threads()
                with _one_process_at_a_time() as cached:
                    self._compiled = _compiled(self._function, self._signatures, cached)
            return self._compiled


def kernel(*signatures: str) -> Callable[[Callable[..., Any]], Kernel]:
    """Make a Kernel of a function, for these numba signatures."""
    return lambda function: Kernel(function, list(signatures))


def helper(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let kernels call this function; where there is no numba it is left as it is."""
    return function if numba is None else numba.njit(error_model="numpy")(function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like helper, for the body of a loop: what LLVM is to make vector code of must not be a call."""
    return function if numba is None else numba.njit(error_model="numpy", inline="always")(function)


def compile_kernels() -> bool:
    """Compile all kernels that were imported, or load them; return whether the cache has all of them."""
    if works():
        for each in _kernels:
            each.compile()
    return works() and _state.cached


@contextlib.contextmanager
def switched_off() -> Iterator[None]:
    """Use torch's own operations in this context, for comparisons."""
    token = _switched_off.set(True)
    try:
        yield
    finally:
        _switched_off.reset(token)


def usable() -> bool:
    """Whether kernels may be called: they are allowed, and numba works in this process."""
    return allowed() and works()


def works() -> bool:
    """Whether numba compiles and calls a kernel; tried once, and not in a fork of a process that called one.

    OpenMP ends a process that calls it after such a fork.
    """
    return _works() and _state.launched_in == os.getpid()


def why_not() -> str:
    """Return why kernels cannot be called; empty where they can."""
    if works():
        return ""
    return _state.why_not or "this process was forked from one that called kernels"


@functools.cache
def _works() -> bool:
    if numba is None:
        return False
    try:
        if numba.config.DISABLE_JIT:
            raise RuntimeError("NUMBA_DISABLE_JIT is set")
        probe = np.zeros(1, np.float32)
        _add_one(probe)
        if probe[0] != 1:
            raise RuntimeError("a kernel gave a wrong number")
    except Exception as error:  # numba, LLVM and the libraries of threads raise errors of many kinds
        _state.why_not = " ".join(str(error).split()) or type(error).__name__
        _log.warning("numba does not work here (%s); torch's own operations do its work.", _state.why_not)
        return False
    return True


def allowed() -> bool:
    """Whether kernels are not switched off, and torch is not tracing the code into a graph."""
    return not _switched_off.get() and not torch.compiler.is_compiling()


def takes(tensor: torch.Tensor) -> bool:
    """Whether kernels take this tensor: plain, on the CPU, float32 or bfloat16."""
    return (
        usable()
        and type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.device.type == "cpu"
        and tensor.dtype in (torch.float32, torch.bfloat16)
        and tensor.numel() > 0
        and not tensor.is_neg()
    )


def in_memory(tensor: torch.Tensor) -> np.ndarray:
    """The elements of a dense tensor in the order of memory ``(elements,)``; bfloat16 as the bits, int16.

    It is called where no gradient is recorded.
    """
    flat = tensor.as_strided((tensor.numel(),), (1,))
    array: np.ndarray = (flat.view(torch.int16) if flat.dtype == torch.bfloat16 else flat).numpy()
    return array


def _compiled(function: Callable[..., Any], signatures: list[str], cached: bool) -> Callable[..., Any]:
    """The function compiled for ``signatures`` and for no other, from the cache if it is there."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(cache.folder())  # read when the dispatcher is made
    try:
        made: Callable[..., Any] = numba.njit(signatures, cache=cached, **_OPTIONS)(function)
    except (OSError, RuntimeError):  # the disk is full, or no folder for the cache can be written
        if not cached:
            raise
        _state.cached = False
        made = numba.njit(signatures, **_OPTIONS)(function)
    finally:
        numba.config.CACHE_DIR = before
    return made


def _launch_threads() -> None:
    """Start numba's threads, and give torch back its number of them.

    Both use the OpenMP library that torch has loaded, where it has one, and numba sets that library's default
    to all cores, which torch would then use.
    """
    threads = torch.get_num_threads()
    if numba.config.THREADING_LAYER == "default":
        # OpenMP first: its threads are torch's own. TBB's would compete with them.
        numba.config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
    parallel = numba.np.ufunc.parallel
    # Its own lock between processes is a named semaphore, which a worker that is ended leaves behind.
    parallel._backend_init_process_lock = contextlib.nullcontext()
    parallel._launch_threads()
    torch.set_num_threads(threads)
    _state.launched_in = os.getpid()
    if numba.threading_layer() == "workqueue":  # it ends a process in which two threads call it at once
        _state.calls_at_once = threading.Lock()


@contextlib.contextmanager
def _one_process_at_a_time() -> Iterator[bool]:
    """Hold the lock of the cache; yield whether there is a cache.

    numba replaces files in one step, but two processes that compile at the same time could give one file name
    to the code of two functions.
    """
    if cache.is_complete():  # perhaps of a folder that cannot be written
        yield True
        return
    folder = cache.folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_locks(folder / "lock", "the compiled kernels")
        lock = FileLock(folder / "lock", timeout=_WAIT_FOR_OTHERS)
        lock.acquire()
    except (OSError, Timeout, DropbenchError):  # the last where a file system knows no locks
        _state.cached = False
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@kernel("void(float32[::1])")
def _add_one(values):  # type: ignore[no-untyped-def]
    for i in prange(len(values)):
        values[i] += np.float32(1)
