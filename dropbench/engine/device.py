"""Device, precision, threads and memory: every setting that affects the whole process."""

import contextlib
import functools
import platform
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from dropbench import __version__
from dropbench.engine.allocator import keep_memory
from dropbench.errors import DropbenchError, UsageError, unknown_name
from dropbench.run.blocks.data import CLASSIFICATION, REGRESSION
from dropbench.run.blocks.optimizer import PRECISIONS
from dropbench.run.machine import DEVICES


def resolve_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` is CUDA if there is a CUDA device, else the CPU.

    Raises:
        UsageError: if the name is unknown.
        DropbenchError: if it is ``cuda`` and there is no CUDA device.

    """
    if name not in DEVICES:
        raise unknown_name("device", name, DEVICES)
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        reason = "torch was built without CUDA" if torch.version.cuda is None else "no usable GPU"
        raise DropbenchError(
            f"There is no CUDA device here ({reason}).", "Use `device=cpu` or `device=auto`."
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def resolve_precision(name: str, device: torch.device, task: str = CLASSIFICATION) -> str:
    """Return one of PRECISIONS; ``auto`` is bf16 if the hardware computes it faster than fp32.

    Where a GPU does not, ``auto`` is fp16 from compute capability 7.0 on, which has tensor cores for it. Most
    older GPUs compute fp16 no faster than fp32, and CPUs slower. Told by name, fp16 is for all devices.

    For a regression ``auto`` is fp32: numbers in bf16 have three digits, and rounded predictions would be off
    by more than a small noise level. The classes that a classifier tells apart do not need more.

    Raises:
        UsageError: if the name is unknown, or if it is tf32 and the device does not have it.

    """
    if name not in ("auto", *PRECISIONS):
        raise unknown_name("precision", name, ("auto", *PRECISIONS))
    if name == "tf32" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 0)):
        raise UsageError(
            "`precision=tf32` needs a CUDA GPU of compute capability 8.0 or more.", "Use `precision=auto`."
        )
    if name != "auto":
        return name
    if task == REGRESSION:
        return "fp32"
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability >= (8, 0):
            return "bf16"
        return "fp16" if capability >= (7, 0) else "fp32"
    # Other processors emulate bf16, which is several times slower than fp32.
    return "bf16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "fp32"


def dtype_of(precision: str) -> torch.dtype:
    """Return the dtype of what goes into matrix products in a precision; in tf32 it is float32, too."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Return a context in which matrix products have ``precision``; weights, optimizer and loss stay fp32."""
    dtype = dtype_of(precision)
    narrow = dtype != torch.float32
    return torch.autocast(device.type, dtype=dtype if narrow else torch.bfloat16, enabled=narrow)


def allow_tf32(allowed: bool) -> None:
    """Allow or forbid TF32 for fp32 products on CUDA; torch's own default allows it in convolutions only."""
    # Where torch's newer ``fp32_precision`` was set of one kind of product, the older getters raise.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32")  # of torch 2.9
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed


def prepare_device(device: torch.device, precision: str) -> torch.device:
    """Make a device ready for a run: allow TF32 or not, and measure its peak memory from now on.

    If other runs of this process are in progress, the peak is that of all. Return the device with its index,
    as its tensors have it: without one it is the current GPU.
    """
    if device.type == "cuda":
        # Until then there are no generators, and resetting the statistics of memory raises.
        torch.cuda.init()  # type: ignore[no-untyped-call]
        device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
    allow_tf32(precision == "tf32")
    if not _Runs.in_progress:
        reset_peak_memory(device)
    return device


class _Runs:
    in_progress = 0
    """Runs of this process."""
    flushed_before = False
    """Whether denormal numbers were 0 before the first of them."""


@contextlib.contextmanager
def in_progress(device: torch.device) -> Iterator[None]:
    """Let a run be in progress on ``device`` in this context.

    If that ends before the run does, this waits for the device: what it is still at must not write into
    memory that is given to others.

    Meanwhile the CPU takes numbers below 1.2e-38, the smallest normal one of fp32, as 0. The momentum of a
    unit that has died decays into them, where arithmetic is so slow that a net whose units had all died took
    four times as long. Threads that torch has started before keep their own setting.
    """
    if not _Runs.in_progress:
        _Runs.flushed_before = sys.float_info.min / 2 == 0.0
        torch.set_flush_denormal(True)
    _Runs.in_progress += 1
    try:
        yield
    except BaseException:
        with contextlib.suppress(RuntimeError):  # the device itself may be lost, which is told elsewhere
            synchronise(device)
        raise
    finally:
        _Runs.in_progress -= 1
        if not _Runs.in_progress:
            torch.set_flush_denormal(_Runs.flushed_before)


def prepare_process(threads: int | None = None, device: torch.device | None = None) -> None:
    """Set the device, the threads and the allocator of a process before it trains; may be called again.

    Some calls of CUDA, such as those about memory, fail before it is initialised, and others act on the
    current device, which is the first GPU unless another is set.

    Raises:
        UsageError: if ``threads`` is less than 1.

    """
    if device is not None and device.type == "cuda":
        torch.cuda.init()  # type: ignore[no-untyped-call]
        if device.index is not None:
            torch.cuda.set_device(device)
    if threads is not None:
        if threads < 1:
            raise UsageError(f"`threads` is {threads}.", "Write 1 or more.")
        torch.set_num_threads(threads)
    keep_memory()


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all it was given, and raise the error that it came upon, if any.

    An error in a kernel, such as an address outside its tensors, is one that CUDA raises at every later call:
    the process can no longer use its GPUs. One that a call refused, such as memory that is not there, leaves
    nothing behind.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe(device: torch.device) -> dict[str, Any]:
    """Return the device, its threads and the software versions, as CSV cells."""
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name(),
        "threads": torch.get_num_threads(),
        "torch_version": torch.__version__,
        "dropbench_version": __version__,
    }


@functools.cache
def processor_name() -> str:
    """Return the processor's model name, or its architecture where the platform has no name for it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def reset_peak_memory(device: torch.device) -> None:
    """Reset the measurement of peak memory, where the platform allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):  # Linux only; elsewhere the peak since the process started is reported
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_bytes(device: torch.device) -> int | None:
    """Return peak memory since the reset: the device's on CUDA, else the process's; None if not available."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(ImportError):  # Windows has no such module
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return None


def free_memory_bytes(device: torch.device) -> int:
    """Return the memory of a CUDA device that no process has.

    What torch keeps for later is left out: graphs and streams may have it to themselves.
    """
    free, _ = torch.cuda.mem_get_info(device)
    return free


def private_memory_bytes(pid: int) -> int | None:
    """Return the memory that a process does not share with others; None where this is not Linux."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
    return None
