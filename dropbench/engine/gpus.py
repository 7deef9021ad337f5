"""The GPUs of this machine, and whether NVIDIA's Multi-Process Service lets processes share them."""

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import torch

START_MPS = (
    "export CUDA_MPS_PIPE_DIRECTORY=/tmp/mps-$USER CUDA_MPS_LOG_DIRECTORY=/tmp/mps-$USER; "
    "mkdir -p /tmp/mps-$USER; nvidia-cuda-mps-control -d"
)
"""Start the daemon for one's own processes; no root is needed, and what is exported is for dropbench, too."""
STOP_MPS = "echo quit | nvidia-cuda-mps-control"


@dataclass(frozen=True)
class Gpu:
    """A GPU, as it is known before anything runs on it."""

    name: str
    memory_bytes: int
    """Free memory; without MPS, under which no other run shares it, all of its memory."""
    multiprocessors: int
    compute_capability: tuple[int, int]
    mps: bool
    """Whether the kernels of several processes run at the same time; otherwise the processes take turns."""


def found() -> list[Gpu]:
    """Return the GPUs that torch can use here, in the order of their numbers."""
    mps = mps_answers()
    return [_gpu(number, mps) for number in range(torch.cuda.device_count())]


def _gpu(number: int, mps: bool) -> Gpu:
    properties = torch.cuda.get_device_properties(number)
    # To ask for free memory is to take a part of the GPU, which some clusters grant to one process only.
    memory = torch.cuda.mem_get_info(number)[0] if mps else properties.total_memory
    return Gpu(
        properties.name,
        memory,
        properties.multi_processor_count,
        (properties.major, properties.minor),
        mps,
    )


def mps_answers() -> bool:
    """Return whether the control daemon of MPS listens where processes of this environment would look for it.

    The socket stays when the daemon has ended, and a container sees the socket but not the process: so this
    connects to it, as CUDA does, and sends nothing.
    """
    if not hasattr(socket, "AF_UNIX"):
        return False
    folder = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY") or "/tmp/nvidia-mps")  # noqa: S108  # NVIDIA's
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(str(folder / "control"))
        except OSError as error:
            return error.errno == errno.EPROTOTYPE  # something listens, for messages instead of a stream
    return True
