"""``dropbench doctor``: find what is wrong with an installation and its machine, and say how to mend it.

Packages are imported only where they are used, since any of them may be broken.
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
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import dropbench
from dropbench.errors import DropbenchError, UsageError
from dropbench.experiments.doctor_gpu import describe_gpus, describe_sharing
from dropbench.experiments.finding import BUILDS, LONGEST, Finding, State

PAIR = ("torch", "torchvision")
LEAST_FREE = 1e9  # bytes on a disk; CIFAR-10 takes half of it, downloaded and decoded


def examine(results: Path, data_dir: Path | None, device: str, precision: str) -> Iterator[Finding]:
    """Yield all findings; nothing is printed, and nothing is written except the cache of data sets.

    Raises:
        UsageError: for a device or precision that dropbench does not know.

    """
    package = Path(dropbench.__file__).parent
    yield Finding("dropbench", f"{dropbench.__version__}, in {package}; Python {platform.python_version()}")
    yield from _surviving("packages", _packages())
    yield from _surviving("machine", _machine())
    yield from _surviving("folders", _folders(results, data_dir))
    yield from _surviving("runs", _runs(results))
    reinstall = _install(PAIR, "--force-reinstall")
    # Importing torch may kill a process, by an instruction that the processor lacks: another one tries it.
    code, _, said = _python("-P", "-c", "import torch")
    if code:
        yield Finding("torch", f"cannot be imported: {said}", "problem", reinstall)
        return
    yield from _surviving("torchvision", _pair(), reinstall)
    yield from _surviving("GPU", describe_gpus(device))
    yield from _surviving("training", _training(device, precision, data_dir))


def _surviving(name: str, findings: Iterator[Finding], mend: str = "") -> Iterator[Finding]:
    """Yield ``findings``; an error while they are searched ends them with a problem called ``name``."""
    try:
        yield from findings
    except UsageError:
        raise
    except DropbenchError as error:
        yield Finding(name, error.message, "problem", error.hint or mend)
    except Exception as error:  # a broken library may raise anything
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        yield Finding(name, text[:LONGEST], "problem", mend)


def _python(*arguments: str) -> tuple[int, str, str]:
    """Run this Python: exit code, stdout, and the last line of stderr or the signal that killed it."""
    words = (sys.executable, *arguments)
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode < 0:
        return done.returncode, done.stdout, signal.Signals(-done.returncode).name
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return done.returncode, done.stdout, lines[-1][:LONGEST]


def _packages() -> Iterator[Finding]:
    """Yield the versions of dropbench's requirements, or the conflicts among them by ``pip check``."""
    ours = dict.fromkeys((*PAIR, *_required(), "dropbench"))
    code, conflicts, said = _python("-m", "pip", "check")
    without_pip = bool(code) and not conflicts  # pip prints a line for each conflict that makes it fail
    lines = list(_conflicts(ours)) if without_pip else conflicts.splitlines()
    versions = ", ".join(f"{name} {_version(name) or 'absent'}" for name in ours)
    if unfit := "\n".join(line for line in lines if line.split(" ")[0] in ours):
        parties = re.findall(r"^(\S+) \S+ (?:requires|has requirement) ([\w.-]+)", unfit, re.MULTILINE)
        names = {name for pair in parties for name in pair} - {"dropbench"}
        yield Finding("packages", unfit.replace("\n", " "), "problem", _install(names, "--upgrade"))
    elif without_pip:
        value = f"{versions}; they fit each other by their metadata, but pip does not run: {said}"
        yield Finding("packages", value, "note", f"{sys.executable} -m ensurepip")
    else:
        yield Finding("packages", versions)


def _conflicts(packages: Iterable[str]) -> Iterator[str]:
    """Yield lines like those of ``pip check`` about these packages, without the help of pip."""
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
    except (metadata.PackageNotFoundError, KeyError):  # KeyError: remains of an interrupted pip
        return None


def _required() -> dict[str, str]:
    """The requirements of dropbench without its extras, by name; empty if it runs without being installed."""
    lines = (metadata.requires("dropbench") or ()) if _version("dropbench") else ()
    return {re.split(r"[^\w.-]", line)[0]: line.split(";")[0] for line in lines if "extra ==" not in line}


def _install(names: Iterable[str], option: str) -> str:
    """The pip command for these packages as dropbench requires them, from the index that torch came from."""
    words = " ".join(f'"{_required().get(name, name)}"' for name in sorted(names))
    # The version of a wheel from an index of PyTorch ends with the name of that index: 2.9.0+cpu.
    local = (_version("torch") or "").partition("+")[2]
    index = f" --index-url URL, with the URL for {local} from {BUILDS}" if local and "torch" in words else ""
    return f"pip install {option} {words}{index}"


def _machine() -> Iterator[Finding]:
    """Yield the state of the allocator and the number of cores."""
    from joblib import cpu_count  # type: ignore[import-untyped]  # comes with scikit-learn

    from dropbench.engine.allocator import can_keep_memory

    if can_keep_memory():
        yield Finding("allocator", "keeps freed memory, which makes training faster")
    else:
        state: State = "note" if sys.platform == "linux" else "ok"
        yield Finding("allocator", "cannot keep freed memory, which would make training faster", state)
    machine, granted = os.cpu_count() or 1, cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    value = f"{usable} of the machine's {machine}"
    if granted < usable:  # a sweep starts a worker for each usable core; it does not look at quotas
        mend = f"Use `jobs={granted}`, or set DROPBENCH_JOBS={granted}."
        yield Finding("cores", f"{value}, but a container's quota grants only {granted}", "note", mend)
    else:
        yield Finding("cores", value, "ok" if usable == machine else "note")


def _folders(results: Path, data_dir: Path | None) -> Iterator[Finding]:
    """Yield the state of the folders for the cache, the results and the data, and the data sets."""
    from dropbench.datasets.cache import cache_folder
    from dropbench.datasets.registry import SOURCES, default_data_dir

    yield _folder("cache", cache_folder(), "set DROPBENCH_CACHE_DIR to another folder")
    yield _folder("results", results, "choose another folder with `out`")
    folder = data_dir or default_data_dir()
    here = [name for name, source in SOURCES.items() if source.files(folder)]
    # mnist5k comes with a package. Other sets in the folder can be used even if no more can be written to it.
    state: State = "note" if set(here) - {"mnist5k"} else "problem"
    yield _folder("data", folder, "choose another folder with `data_dir` or DROPBENCH_DATA_DIR", state)
    yield Finding("data sets", f"{', '.join(here) or 'none'}; dropbench data list shows all")


def _folder(name: str, folder: Path, elsewhere: str, otherwise: State = "problem") -> Finding:
    """The state of a folder: ok if it can be written or created on a disk with room, else ``otherwise``.

    Nothing is left in it. ``elsewhere`` says how to choose another folder.
    """
    folder = folder.absolute()
    try:
        standing = next(place for place in (folder, *folder.parents) if place.exists())
        with tempfile.TemporaryFile(dir=standing):  # permissions alone do not tell whether it can be written
            free = shutil.disk_usage(standing).free
    except OSError as error:
        value = f"{folder} cannot be written: {error.strerror or error}"
        return Finding(name, value, otherwise, f"Make it writable, or {elsewhere}.")
    value = f"{folder}{'' if standing == folder else ', created when needed'}; {free / 1e9:.1f} GB free"
    if free < LEAST_FREE:
        return Finding(name, value, otherwise, f"Make room on that disk, or {elsewhere}.")
    return Finding(name, value)


def _runs(results: Path) -> Iterator[Finding]:
    """Yield the number of runs in a results folder by status, and the rows that cannot be read."""
    from dropbench.results.csv_file import read_rows
    from dropbench.results.read import latest
    from dropbench.results.schema import RUNS

    log, damage = logging.getLogger("dropbench"), logging.handlers.BufferingHandler(1000)
    log.addHandler(damage)  # the reader logs the rows that it leaves out
    try:
        counts = Counter(row["status"] for row in latest(read_rows(results, RUNS), RUNS))
    finally:
        log.removeHandler(damage)
    value = ", ".join(f"{count} {status}" for status, count in counts.most_common()) or "none"
    value += "".join(f"; {record.getMessage()}" for record in damage.buffer)[:LONGEST]
    if counts.total() > counts["ok"] or damage.buffer:
        mend = f"Repeat the same command with `retry_failed`; {RUNS.file_name} says why runs failed."
        yield Finding("runs", value, "note", mend)
    else:
        yield Finding("runs", value)


def _pair() -> Iterator[Finding]:
    """Yield the builds of torch and torchvision; raises whatever they raise if they do not fit each other."""
    import torch

    built_for = f"CUDA {torch.version.cuda or 'no'}, ROCm {torch.version.hip or 'no'}"
    yield Finding("torch", f"{torch.__version__}, built for: {built_for}")

    import torchvision
    from torchvision.ops import nms

    # Importing torchvision hides an error in loading its compiled operators; only a call reveals it.
    nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    yield Finding("torchvision", f"{torchvision.__version__}, with its compiled operators")


def _training(device_name: str, precision_name: str, data_dir: Path | None) -> Iterator[Finding]:
    """Yield the device and precision of runs, the workers of a sweep, and the outcome of a small run."""
    from dropbench.datasets.registry import prepare
    from dropbench.engine.device import describe, resolve_device, resolve_precision
    from dropbench.kernels.ready import how_done
    from dropbench.run.blocks.optimizer import PRECISIONS
    from dropbench.run.config import RunConfig
    from dropbench.run.machine import AUTOMATIC
    from dropbench.runners.choose import shares
    from dropbench.runners.serial import SerialRunner
    from dropbench.runners.sharing import Workload

    device = resolve_device(device_name)
    yield Finding("device", f"{device.type} ({describe(device)['device_name']})")
    best = resolve_precision("auto", device)
    gpu = device.type == "cuda"
    needed = (
        f"compute capability {'8.0' if best != 'fp32' else '7.0'} or more" if gpu else "AMX or AVX512-BF16"
    )
    why = f"auto takes {best}, since the hardware {'has' if best == 'bf16' else 'lacks'} {needed}"
    try:
        precision = resolve_precision(precision_name, device)
    except UsageError as error:
        if precision_name not in PRECISIONS:
            raise
        yield Finding("precision", error.message, "problem", "Use `precision=auto`.")
        return
    fast = {"bf16": best == "bf16", "fp16": gpu and best != "fp32"}.get(precision, True)
    mend = "" if fast else f"Use `precision=auto`: {best} is faster here."
    yield Finding("precision", f"{precision}; {why}", "ok" if fast and best != "fp32" else "note", mend)
    by_kernels, value = how_done(device)
    yield Finding("kernels", value[:LONGEST], "ok" if by_kernels else "note")
    data = prepare("mnist5k", data_dir)
    config = RunConfig(
        data_key=data.key, train_size=256, batch_size=128, epochs=1, p_drop=0.5, precision=precision
    )
    workload = Workload.of([config], data)
    if device.type == "cuda":
        yield from describe_sharing(workload)
    jobs, threads = shares(10**6, device, AUTOMATIC, workload)
    yield Finding("a sweep", f"runs at a time: {jobs}; CPU threads of each: {threads}")
    (result,) = SerialRunner(device, threads).run([config], lambda worker, config, record: None)
    if result.status == "ok":
        yield Finding("a small run", f"2 steps of {config.model.name} in {result.cost['seconds']:.1f} s")
    else:
        mend = "Use `device=cpu` and `precision=fp32`; if that fails too, reinstall torch."
        yield Finding("a small run", f"{result.status}: {result.message}"[:LONGEST], "problem", mend)
