"""``dropbench doctor``: how an installation and its machine stand, and how what is wrong is mended.

Packages are imported where they are used, for any of them may be what is broken.
"""

import logging.handlers
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Literal

import dropbench
from dropbench.errors import DropbenchError, UsageError

State = Literal["ok", "note", "problem"]
PAIR = ("torch", "torchvision")
BUILDS = "https://pytorch.org/get-started/locally/"  # names the builds of torch and the index of each
LEAST_FREE = 1e9  # bytes; CIFAR-10 takes half of it, downloaded and decoded
_LONGEST = 300  # characters of what others say


@dataclass(frozen=True)
class Finding:
    """How one thing stands: ``ok``, a ``note`` that costs something, a ``problem``; ``mend`` makes it ok."""

    name: str
    value: str
    state: State = "ok"
    mend: str = ""


def examine(results: Path, data_dir: Path | None, device: str, precision: str) -> Iterator[Finding]:
    """Yield everything that is found; print nothing, and write nothing but the cache of data sets.

    Raises:
        UsageError: if there is no such device or precision.

    """
    place = Path(dropbench.__file__).parent
    yield Finding("dropbench", f"{dropbench.__version__}, in {place}; Python {platform.python_version()}")
    yield from _surviving("packages", _packages())
    yield from _surviving("machine", _machine())
    yield from _surviving("folders", _folders(results, data_dir))
    yield from _surviving("runs", _runs(results))
    again = _install(PAIR, "--force-reinstall")
    # Importing torch may end the process, by an instruction that the processor lacks: another one tries.
    code, _, said = _python("-P", "-c", "import torch")
    if code:
        yield Finding("torch", f"cannot be imported. {said}", "problem", again)
        return
    yield from _surviving("torchvision", _pair(), again)
    yield from _surviving("GPU", _gpu(device))
    yield from _surviving("training", _training(device, precision, data_dir))


def _surviving(name: str, findings: Iterator[Finding], mend: str = "") -> Iterator[Finding]:
    """``findings``; where finding them fails, that is the last one, a problem called ``name``."""
    try:
        yield from findings
    except UsageError:
        raise
    except DropbenchError as error:
        yield Finding(name, error.message, "problem", error.hint or mend)
    except Exception as error:  # there is no telling what a broken library raises
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        yield Finding(name, text[:_LONGEST], "problem", mend)


def _python(*arguments: str) -> tuple[int, str, str]:
    """Call this Python: exit code, stdout, and the last line of stderr or what the process died of."""
    words = (sys.executable, *arguments)
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode < 0:
        return done.returncode, done.stdout, signal.Signals(-done.returncode).name
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return done.returncode, done.stdout, lines[-1][:_LONGEST]


def _packages() -> Iterator[Finding]:
    """Versions, and what ``pip check`` says of dropbench's requirements; of other packages, nothing."""
    ours = dict.fromkeys((*PAIR, *_required(), "dropbench"))
    code, conflicts, said = _python("-m", "pip", "check")
    without_pip = bool(code) and not conflicts
    lines = list(_conflicts(ours)) if without_pip else conflicts.splitlines()
    versions = ", ".join(f"{name} {_version(name) or 'absent'}" for name in ours)
    if unfit := "\n".join(line for line in lines if line.split(" ")[0] in ours):
        parties = re.findall(r"^(\S+) \S+ (?:requires|has requirement) ([\w.-]+)", unfit, re.MULTILINE)
        names = {name for pair in parties for name in pair} - {"dropbench"}
        yield Finding("packages", unfit.replace("\n", " "), "problem", _install(names, "--upgrade"))
    elif without_pip:
        value = f"{versions}; they fit by their metadata, while pip does not run: {said}"
        yield Finding("packages", value, "note", f"{sys.executable} -m ensurepip")
    else:
        yield Finding("packages", versions)


def _conflicts(packages: Iterable[str]) -> Iterator[str]:
    """Lines as those of ``pip check`` about these packages, for where there is no pip."""
    from packaging.requirements import Requirement

    for package in filter(_version, packages):
        for wanted in map(Requirement, metadata.requires(package) or ()):
            here = _version(wanted.name)
            fits = here is not None and wanted.specifier.contains(here, prereleases=True)
            if not fits and (wanted.marker is None or wanted.marker.evaluate({"extra": ""})):
                needs = f"{package} {_version(package)} requires {wanted.name}{wanted.specifier}"
                yield f"{needs}, but you have {here or 'none'}."


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except (metadata.PackageNotFoundError, KeyError):  # KeyError: what an interrupted pip left behind
        return None


def _required() -> dict[str, str]:
    """What dropbench requires without its extras, by name; nothing if it runs without being installed."""
    lines = (metadata.requires("dropbench") or ()) if _version("dropbench") else ()
    return {re.split(r"[^\w.-]", line)[0]: line.split(";")[0] for line in lines if "extra ==" not in line}


def _install(names: Iterable[str], option: str) -> str:
    """The command for these packages as dropbench requires them, from the index that torch came from."""
    words = " ".join(f'"{_required().get(name, name)}"' for name in sorted(names))
    # A wheel from an index of PyTorch has that index's name as the local part of its version: 2.9.0+cpu.
    local = (_version("torch") or "").partition("+")[2]
    index = f" --index-url URL, with the URL for {local} from {BUILDS}" if local and "torch" in words else ""
    return f"pip install {option} {words}{index}"


def _machine() -> Iterator[Finding]:
    """The allocator and the cores."""
    from joblib import cpu_count  # type: ignore[import-untyped]  # comes with scikit-learn

    from dropbench.engine.allocator import can_keep_memory

    state: State = "note" if sys.platform == "linux" and not can_keep_memory() else "ok"
    keeps = "made to keep" if can_keep_memory() else "cannot be made to keep"
    yield Finding("allocator", f"{keeps} freed memory, which training is faster with", state)
    machine, granted = os.cpu_count() or 1, cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    value = f"{usable} of the machine's {machine}"
    if granted < usable:  # a sweep starts a worker for each usable core, and knows of no quota
        mend = f"Use `jobs={granted}`, or set DROPBENCH_JOBS={granted}."
        yield Finding("cores", f"{value}, but time for {granted} only (a container's quota)", "note", mend)
    else:
        yield Finding("cores", value, "ok" if usable == machine else "note")


def _folders(results: Path, data_dir: Path | None) -> Iterator[Finding]:
    from dropbench.datasets.cache import cache_folder
    from dropbench.datasets.registry import SOURCES, default_data_dir

    yield _folder("cache", cache_folder(), "set DROPBENCH_CACHE_DIR to another folder")
    yield _folder("results", results, "name another folder with `out`")
    folder = data_dir or default_data_dir()
    here = [name for name, source in SOURCES.items() if source.files(folder)]
    # mnist5k is in a package. Other sets that are there can be used even if no more can be written.
    state: State = "note" if set(here) - {"mnist5k"} else "problem"
    yield _folder("data", folder, "name another folder with `data_dir` or DROPBENCH_DATA_DIR", state)
    yield Finding("data sets", f"{', '.join(here) or 'none'}; dropbench data list tells of all")


def _folder(name: str, folder: Path, elsewhere: str, otherwise: State = "problem") -> Finding:
    """A folder that can be written or made on a disk with room, or ``otherwise``; nothing is left in it."""
    folder = folder.absolute()
    try:
        standing = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryFile(dir=standing):  # tried, since permissions are not all that can forbid it
            free = shutil.disk_usage(standing).free
    except OSError as error:
        value = f"{folder} cannot be written: {error.strerror or error}"
        return Finding(name, value, otherwise, f"Make it writable, or {elsewhere}.")
    value = f"{folder}{'' if standing == folder else ', made when needed'}; {free / 1e9:.1f} GB free"
    if free < LEAST_FREE:
        return Finding(name, value, otherwise, f"Make room on that disk, or {elsewhere}.")
    return Finding(name, value)


def _runs(results: Path) -> Iterator[Finding]:
    """The runs in a results folder, by how they ended, and the rows that cannot be read."""
    from dropbench.results.csv_file import read_rows
    from dropbench.results.read import latest
    from dropbench.results.schema import RUNS

    log, damage = logging.getLogger("dropbench"), logging.handlers.BufferingHandler(1000)
    log.addHandler(damage)  # rows that have to be left out are logged
    try:
        counts = Counter(row["status"] for row in latest(read_rows(results, RUNS), RUNS))
    finally:
        log.removeHandler(damage)
    value = ", ".join(f"{count} {status}" for status, count in counts.most_common()) or "none"
    value += "".join(f"; {record.getMessage()}" for record in damage.buffer)[:_LONGEST]
    if counts.total() > counts["ok"] or damage.buffer:
        mend = f"The same command with `retry_failed` does them again; {RUNS.file_name} says why they failed."
        yield Finding("runs", value, "note", mend)
    else:
        yield Finding("runs", value)


def _pair() -> Iterator[Finding]:
    """The builds of torch and torchvision as they are imported, and that they fit each other."""
    import torch

    built_for = f"CUDA {torch.version.cuda or 'no'}, ROCm {torch.version.hip or 'no'}"
    yield Finding("torch", f"{torch.__version__}, built for: {built_for}")

    import torchvision
    from torchvision.ops import nms

    # Its compiled half is loaded without a word where it does not fit; only a call finds it missing.
    nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    yield Finding("torchvision", f"{torchvision.__version__}, with its operators")


def _gpu(device: str) -> Iterator[Finding]:
    """GPUs and their driver by nvidia-smi, and why torch cannot use them where it cannot."""
    import torch

    env: Any = import_module("torch.utils.collect_env")
    with warnings.catch_warnings(record=True) as caught:  # so torch tells of a GPU that it cannot use
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    gpus, driver = env.get_gpu_info(env.run), env.get_nvidia_driver_version(env.run)
    _, said, complaint = env.run(env.get_nvidia_smi())
    value = ", driver ".join(filter(None, (gpus, driver))).replace("\n", ", ")
    newest = re.search(r"CUDA (?:UMD )?Version: (\d+)", said)  # that the driver knows
    cuda = torch.version.cuda
    state: State = "note" if device == "cpu" else "problem"
    mend = f"Update the NVIDIA driver, or install torch for an older CUDA: {BUILDS}"
    if usable:
        yield Finding("GPU", value)
    elif not (gpus or shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists()):
        yield Finding("GPU", "none")
    elif not gpus:
        value = f"a driver, but no GPU for this process. {said or complaint}"
        mend = "In Docker: docker run --gpus all. Elsewhere restart the machine, or install the driver again."
        yield Finding("GPU", value[:_LONGEST], "note", mend)
    elif cuda is None:
        mend = f"pip uninstall -y torch torchvision, then install the build for CUDA that {BUILDS} names."
        yield Finding("GPU", f"{value}; this torch was built without CUDA", state, mend)
    elif os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        yield Finding("GPU", f"{value}; hidden by CUDA_VISIBLE_DEVICES", "note", "unset CUDA_VISIBLE_DEVICES")
    elif newest and int(newest[1]) < int(cuda.split(".")[0]):
        yield Finding("GPU", f"{value}, too old: for CUDA {newest[1]}, and torch for {cuda}", state, mend)
    else:
        reason = " ".join(str(warning.message) for warning in caught)
        yield Finding("GPU", f"{value}; torch, built for CUDA {cuda}, cannot use it. {reason}", state, mend)


def _training(device_name: str, precision_name: str, data_dir: Path | None) -> Iterator[Finding]:
    """The device and precision that the flags mean, a sweep's workers, and two steps of training."""
    from dropbench.datasets.registry import prepare
    from dropbench.engine.device import describe, resolve_device, resolve_precision
    from dropbench.run.blocks.optimizer import PRECISIONS
    from dropbench.run.config import RunConfig
    from dropbench.run.machine import AUTOMATIC
    from dropbench.runners.choose import shares
    from dropbench.runners.serial import SerialRunner

    device = resolve_device(device_name)
    yield Finding("device", f"{device.type} ({describe(device)['device_name']})")
    best = resolve_precision("auto", device)
    units = "compute capability 8.0 or more" if device.type == "cuda" else "AMX or AVX512-BF16"
    why = f"auto takes {best}, for {units} is {'here' if best == 'bf16' else 'absent'}"
    try:
        precision = resolve_precision(precision_name, device)
    except UsageError as error:
        if precision_name not in PRECISIONS:
            raise
        yield Finding("precision", error.message, "problem", "Use `precision=auto`.")
        return
    mend = "Use `precision=auto`: fp32 is faster here." if precision == "bf16" != best else ""
    yield Finding("precision", f"{precision}; {why}", "ok" if best == "bf16" else "note", mend)
    jobs, threads = shares(10**6, device, AUTOMATIC)
    yield Finding("a sweep", f"runs at a time: {jobs}; CPU threads of each: {threads}")
    data_key = prepare("mnist5k", data_dir).key
    config = RunConfig(
        data_key=data_key, train_size=256, batch_size=128, epochs=1, p_drop=0.5, precision=precision
    )
    (result,) = SerialRunner(device, threads).run([config], lambda worker, config, record: None)
    if result.status == "ok":
        yield Finding("a small run", f"{result.cost['seconds']:.1f} s for 2 steps of the {config.model.name}")
    else:
        mend = "Use `device=cpu` and `precision=fp32`; if that fails too, install torch again."
        yield Finding("a small run", f"{result.status}: {result.message}"[:_LONGEST], "problem", mend)
