"""GPUs are described without being used, and MPS is noticed by its socket."""

import contextlib
import socket
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from dropbench.engine import gpus
from dropbench.engine.gpus import Gpu

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="MPS has a Unix socket")


@pytest.fixture
def folder(monkeypatch):
    """The folder of a daemon; its path is short, as that of a socket must be."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", folder)
        yield Path(folder)


@contextlib.contextmanager
def daemon(folder, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(str(folder / "control"))
        server.listen()
        yield


def test_the_daemon_is_noticed_while_it_listens(folder):
    assert not gpus.mps_answers()
    with daemon(folder):
        assert gpus.mps_answers()
    assert (folder / "control").exists()
    assert not gpus.mps_answers(), "its socket is left, but nothing listens"


@pytest.mark.skipif(not hasattr(socket, "SOCK_SEQPACKET"), reason="the platform has no such sockets")
def test_the_daemon_is_noticed_whatever_the_kind_of_its_socket(folder):
    with daemon(folder, socket.SOCK_SEQPACKET):
        assert gpus.mps_answers()


def test_what_is_no_socket_or_has_too_long_a_path_is_no_daemon(folder, monkeypatch):
    (folder / "control").write_text("")
    assert not gpus.mps_answers()
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(folder / ("x" * 200)))
    assert not gpus.mps_answers()


@pytest.fixture
def _two_gpus(monkeypatch):
    def properties(number):
        return SimpleNamespace(
            name=f"GPU {number}", total_memory=80, multi_processor_count=100 + number, major=9, minor=number
        )

    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.get_device_properties", properties)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda number: (30 + number, 80))


@pytest.mark.usefixtures("_two_gpus")
def test_every_gpu_is_described_by_its_own_figures(folder):
    with daemon(folder):
        assert gpus.found() == [
            Gpu("GPU 0", 30, 100, (9, 0), mps=True),
            Gpu("GPU 1", 31, 101, (9, 1), mps=True),
        ]


@pytest.mark.usefixtures("_two_gpus", "folder")
def test_without_mps_no_gpu_is_touched(monkeypatch):
    monkeypatch.delattr("torch.cuda.mem_get_info")
    assert [(gpu.memory_bytes, gpu.mps) for gpu in gpus.found()] == [(80, False)] * 2
