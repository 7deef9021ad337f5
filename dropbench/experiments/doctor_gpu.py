"""The GPUs as ``dropbench doctor`` finds them: whether torch can use them, and how many runs share one.

Packages are imported only where they are used, since any of them may be broken.
"""

import os
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropbench.experiments.finding import BUILDS, LONGEST, Finding, State

if TYPE_CHECKING:
    from dropbench.runners.sharing import Workload


def describe_gpus(device: str) -> Iterator[Finding]:
    """Yield the GPUs and their driver as nvidia-smi reports them; where torch cannot use them, also why."""
    import torch

    env: Any = import_module("torch.utils.collect_env")
    with warnings.catch_warnings(record=True) as caught:  # torch warns about a GPU that it cannot use
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    gpus, driver = env.get_gpu_info(env.run), env.get_nvidia_driver_version(env.run)
    value = ", driver ".join(filter(None, (gpus, driver))).replace("\n", ", ")
    if usable:
        yield Finding("GPU", value)
    elif not (gpus or shutil.which("nvidia-smi") or Path("/proc/driver/nvidia").exists()):
        yield Finding("GPU", "none")
    else:
        _, said, complaint = env.run(env.get_nvidia_smi())
        if gpus:
            warned = " ".join(str(warning.message) for warning in caught)
            yield _unusable(value, said, warned, "note" if device == "cpu" else "problem")
        else:
            value = f"a driver, but no GPU for this process: {said or complaint}"
            mend = "In Docker: docker run --gpus all. Elsewhere restart the machine, or reinstall the driver."
            yield Finding("GPU", value[:LONGEST], "note", mend)


def _unusable(gpus: str, said: str, warned: str, state: State) -> Finding:
    """The reason why torch cannot use ``gpus``; ``said`` is from nvidia-smi, ``warned`` from torch."""
    import torch

    cuda = torch.version.cuda
    if cuda is None:
        mend = f"pip uninstall -y torch torchvision, then install the build for CUDA that {BUILDS} names."
        return Finding("GPU", f"{gpus}; this torch was built without CUDA", state, mend)
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        value = f"{gpus}; hidden by CUDA_VISIBLE_DEVICES"
        return Finding("GPU", value, "note", "unset CUDA_VISIBLE_DEVICES")
    mend = f"Update the NVIDIA driver, or install torch for an older CUDA: {BUILDS}"
    newest = re.search(r"CUDA (?:UMD )?Version: (\d+)", said)  # the newest that the driver supports
    if newest and int(newest[1]) < int(cuda.split(".")[0]):
        value = f"{gpus}, too old: it supports CUDA {newest[1]}, and torch was built for CUDA {cuda}"
        return Finding("GPU", value, state, mend)
    return Finding("GPU", f"{gpus}; torch, built for CUDA {cuda}, cannot use it. {warned}", state, mend)


def describe_sharing(workload: "Workload") -> Iterator[Finding]:
    """Yield what runs can take of each GPU, and how many of this workload share it."""
    from dropbench.engine import gpus
    from dropbench.runners.choose import cores

    found = gpus.found()
    for number, gpu in enumerate(found):
        major, minor = gpu.compute_capability
        memory = f"{gpu.memory_bytes / 1e9:.1f} GB{' free' if gpu.mps else ''}"
        parts = f"{memory}, {gpu.multiprocessors} multiprocessors, compute capability {major}.{minor}"
        yield Finding(f"GPU {number}", f"{gpu.name}: {parts}")
    each = workload.runs_on_each(found, cores())
    of = f"runs of {workload.configs[0].model.name} that share a GPU"
    if all(gpu.mps for gpu in found):
        yield Finding("MPS", f"{of}, each in a process: {each}; end MPS by: {gpus.STOP_MPS}")
        return
    value = f"not started; {of}, side by side in one process: {each}"
    if (
        sys.platform == "linux"
        and workload.runs_on_each([replace(gpu, mps=True) for gpu in found], cores()) >= each
    ):
        yield Finding("MPS", value, "note", gpus.START_MPS)
    else:  # too few cores for so many processes
        yield Finding("MPS", value)
