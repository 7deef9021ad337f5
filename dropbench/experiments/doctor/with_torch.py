"""What only torch can tell: device, precision, workers, and two steps of training."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from dropbench.datasets.registry import prepare
from dropbench.engine.device import describe, resolve_device, resolve_precision
from dropbench.experiments.doctor.finding import Finding, heard, surviving
from dropbench.experiments.doctor.installation import install_pair
from dropbench.experiments.doctor.machine import counted, cpu_quota, gigabytes, judge_cores, memory_bytes
from dropbench.experiments.doctor.nvidia import find_driver, judge_driver
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.runners.choose import choose_runner, cores
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner

MANY = 1_000_000
"""Runs of a sweep that leaves no worker without one."""


def torch_findings(device: str, precision: str, data_dir: Path) -> Iterator[Finding]:
    """Builds, GPUs, the device and precision that these flags mean, workers, and a run in them.

    Raises:
        UsageError: if there is no such device or precision.

    """
    cuda, rocm = torch.version.cuda, torch.version.hip
    build = f"CUDA {cuda}" if cuda else f"ROCm {rocm}" if rocm else "without CUDA"
    yield Finding("torch", f"{torch.__version__}, {build}")
    yield from surviving("torchvision", _torchvision(), install_pair(again=True))
    yield from surviving("NVIDIA", _driver(cuda or rocm, device != "cpu"))
    yield from surviving("device", _carried_out(device, precision, data_dir))


def _torchvision() -> Iterator[Finding]:
    import torchvision
    from torchvision.ops import nms

    # Its compiled half is loaded without a word where it does not fit; only a call finds it missing.
    nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    yield Finding("torchvision", f"{torchvision.__version__}, with its operators")


def _driver(cuda: str | None, wanted: bool) -> Iterator[Finding]:
    with heard() as warned:
        usable = torch.cuda.is_available()
    yield judge_driver(find_driver(), cuda, usable, " ".join(warned), wanted)


def _carried_out(device_name: str, precision_name: str, data_dir: Path) -> Iterator[Finding]:
    device = resolve_device(device_name)
    yield Finding("device", f"{_taken(device_name)}{name_of(device)}{_others(device)}")
    precision = resolve_precision(precision_name, device)
    yield judge_precision(precision_name, precision, device)
    # On a GPU a sweep's workers are as many as there are GPUs, whatever time the CPU gives.
    quota = cpu_quota() if device.type == "cpu" else None
    yield judge_cores(cores(), os.cpu_count() or 1, quota)
    runner = choose_runner(MANY, device, Machine())
    threads = runner.threads if isinstance(runner, ProcessRunner | SerialRunner) else None
    each = f", {counted(threads, 'CPU thread')} each" if threads else ""
    yield Finding("a sweep", f"{counted(runner.jobs, 'run')} at a time{each}")
    yield from surviving("a small run", _run(precision, device, threads, data_dir))


def name_of(device: torch.device) -> str:
    """A device's name and memory."""
    if device.type == "cuda":
        size: int | None = torch.cuda.get_device_properties(device).total_memory
    else:
        size = memory_bytes()
    memory = f", {gigabytes(size)} of memory" if size else ""
    return f"{device.type} ({describe(device)['device_name']}{memory})"


def _others(device: torch.device) -> str:
    others = [torch.device("cpu")] if device.type == "cuda" else []
    if torch.cuda.is_available():
        first = 1 if device.type == "cuda" else 0
        others += [torch.device("cuda", number) for number in range(first, torch.cuda.device_count())]
    names = list(map(name_of, others))
    if torch.backends.mps.is_available():
        names.append("mps (which dropbench does not use)")
    return f"; there is also {', '.join(names)}" if names else ""


def judge_precision(name: str, precision: str, device: torch.device) -> Finding:
    """The precision that ``name`` means on a device, and the hardware that decides it."""
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        fast = capability >= (8, 0)
        why = f"compute capability {'.'.join(map(str, capability))}; bf16 needs 8.0"
    else:
        fast, why = _processor_units()
    value = f"{_taken(name)}{precision}; {why}"
    if precision == "bf16" and not fast:
        return Finding("precision", value, "note", "Use --precision auto: fp32 is faster here.")
    return Finding("precision", value, "ok" if fast else "note")


def _processor_units() -> tuple[bool, str]:
    """Whether the processor multiplies bf16 numbers itself, and in what words."""
    units = {
        "AMX": torch.cpu._is_amx_tile_supported(),
        "AVX512-BF16": torch.cpu._is_avx512_bf16_supported(),
    }
    if there := [name for name, supported in units.items() if supported]:
        return True, f"this processor has {' and '.join(there)}"
    # Median of images_per_second in bf16 over fp32, seed by seed, in results/speed/precision (AVX512-BF16).
    gain = "with AVX512-BF16 the lecture's CNN trains about 1.9 times as fast, in bf16"
    return False, f"this processor has neither {' nor '.join(units)} ({gain})"


def _taken(name: str) -> str:
    return "auto takes " if name == "auto" else ""


def _run(precision: str, device: torch.device, threads: int | None, data_dir: Path) -> Iterator[Finding]:
    """Two steps of SGD and their evaluation, as every run is carried out."""
    data = prepare("mnist5k", data_dir)
    config = RunConfig(
        data=data.name,
        data_key=data.key,
        train_size=256,
        batch_size=128,
        epochs=1,
        p_drop=0.5,
        precision=precision,
    )
    (result,) = SerialRunner(device, threads).run([config], lambda worker, config, record: None)
    what = f"2 steps of the {config.model.name} on {data.name}, {device.type}, {precision}"
    if result.status == "ok":
        yield Finding("a small run", f"{what}: {result.cost['seconds']:.1f} s")
        return
    mend = "--device cpu" if device.type == "cuda" else "--precision fp32" if precision != "fp32" else ""
    mend = f"Until its cause is found, use {mend}." if mend else install_pair(again=True)
    yield Finding("a small run", f"{what}: {result.status}, {result.message}", "problem", mend)
