"""An NVIDIA driver, and whether this torch can use it."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dropbench.experiments.doctor.finding import Finding, State
from dropbench.experiments.doctor.installation import BUILDS, install_pair


@dataclass(frozen=True)
class Driver:
    """An NVIDIA driver: the GPUs this process is given, its version, what nvidia-smi complains of."""

    gpus: tuple[str, ...]
    version: str = ""
    complaint: str = ""


def find_driver(root: Path = Path("/")) -> Driver | None:
    """The driver as nvidia-smi tells of it, or else as Linux does; None where neither knows of one."""
    lines, complaint = _ask_nvidia_smi()
    if lines:
        names, versions = zip(*(line.rsplit(", ", 1) for line in lines), strict=True)
        return Driver(names, versions[0])
    if not (root / "proc/driver/nvidia/version").exists():
        return None
    # The kernel's driver is seen in every container, the GPUs' devices only where they are given.
    devices = sorted(file.name for file in (root / "dev").glob("nvidia[0-9]*"))
    return Driver(tuple(f"GPU {name.removeprefix('nvidia')}" for name in devices), "", complaint)


def _ask_nvidia_smi() -> tuple[list[str], str]:
    """A line ``name, driver's version`` for each GPU; none where it fails, and what it says then."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return [], ""
    try:
        done = subprocess.run(  # noqa: S603  # fixed words
            (program, "--query-gpu=name,driver_version", "--format=csv,noheader"),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], str(error)
    if done.returncode:
        return [], " ".join((done.stdout + done.stderr).split())
    return [line for line in done.stdout.splitlines() if ", " in line], ""


def judge_driver(driver: Driver | None, cuda: str | None, usable: bool, warned: str, wanted: bool) -> Finding:
    """Whether torch can use the GPUs.

    ``cuda`` is what torch was built for (None: the CPU alone), ``usable`` whether it has a device there,
    ``warned`` what it warned of when asked, ``wanted`` whether a GPU would be used at all.
    """
    if driver is None:
        return Finding("NVIDIA", "no driver")
    value = ", driver ".join(filter(None, (", ".join(driver.gpus) or "no GPU", driver.version)))
    if usable:
        return Finding("NVIDIA", value)
    if not driver.gpus:
        value += ": the machine has a driver, but gives this process no GPU"
        return Finding("NVIDIA", value, "note", "In a container of Docker: docker run --gpus all")
    state: State = "problem" if wanted else "note"
    if driver.complaint:
        mend = "Restart the machine, or install the driver again, until nvidia-smi shows the GPU."
        return Finding("NVIDIA", f"{value}; nvidia-smi: {driver.complaint}", state, mend)
    if cuda is None:
        return Finding("NVIDIA", f"{value}; this torch was built without CUDA", state, _with_cuda())
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        value += f"; hidden by CUDA_VISIBLE_DEVICES={hidden}"
        return Finding("NVIDIA", value, "note", "unset CUDA_VISIBLE_DEVICES")
    value += f"; torch, built for CUDA {cuda}, cannot use it{f': {warned}' if warned else ''}"
    mend = f"Update the NVIDIA driver, or install torch for an older CUDA: {BUILDS}"
    return Finding("NVIDIA", value, state, mend)


def _with_cuda() -> str:
    """How torch is exchanged for one with CUDA: pip would take the one without for as good."""
    remove = "pip uninstall -y torch torchvision"
    if platform.system() == "Linux":  # where PyPI has the builds with CUDA
        return f"{remove} && {install_pair().partition(' --index-url')[0]}"
    return f"{remove}, then install the build for CUDA that {BUILDS} names."
