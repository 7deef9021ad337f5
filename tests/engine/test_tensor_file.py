"""Files of tensors: what comes back, what is refused, and what a fault leaves behind."""

import errno
import json
import os
import pickle
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from dropbench.engine.tensor_file import read_tensors, write_tensors
from dropbench.errors import DropbenchError


def test_tensors_of_every_kind_come_back_to_the_bit(tmp_path):
    images = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    tensors = {
        "images": images,
        "half": torch.randn(7, 3).bfloat16().t(),
        "part": images[:, 1],
        "again": images,
        "steps": torch.tensor(2**62),
        "none": torch.zeros(0, 4),
        "odd": torch.tensor([float("nan"), -0.0, float("inf")]),
    }
    write_tensors(tmp_path / "in" / "a.safetensors", tensors, {"steps": 3, "name": "ä", "rates": [0.1]})
    found, about = read_tensors(tmp_path / "in" / "a.safetensors")
    assert about == {"steps": 3, "name": "ä", "rates": [0.1]}
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, equal_nan=True)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.safetensors"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "a.safetensors"
    write_tensors(path, {"weights": torch.arange(8.0)}, {"steps": 3})
    return path.read_bytes()


@given(data=st.data())
def test_a_truncated_file_is_refused(tmp_path_factory, whole, data):
    path = tmp_path_factory.getbasetemp() / "truncated.safetensors"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DropbenchError):
        read_tensors(path)


def test_a_changed_byte_of_a_tensor_is_refused(tmp_path, whole):
    path = tmp_path / "a.safetensors"
    for place in range(len(whole) - 8 * 4, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DropbenchError, match="checksum"):
            read_tensors(path)
    path.write_bytes(whole)
    assert read_tensors(path)[0]["weights"].tolist() == list(range(8))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(DropbenchError, match="folder"):
        read_tensors(tmp_path)
    with pytest.raises(DropbenchError, match="no such file"):
        read_tensors(path)
    for metadata in (None, {"format": "pt"}, {"dropbench": "{"}, {"dropbench": json.dumps([1])}):
        safetensors.torch.save_file({"weights": torch.zeros(2)}, path, metadata)
        with pytest.raises(DropbenchError, match="not a file that dropbench wrote"):
            read_tensors(path)
    path.write_bytes(pickle.dumps({"weights": 1}))
    with pytest.raises(DropbenchError, match="damaged"):
        read_tensors(path)


def test_a_full_disk_leaves_the_file_before(tmp_path):
    pytest.importorskip("resource")
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"weights": torch.ones(2)}, {})
    code = (
        "import resource, signal, sys, torch; from pathlib import Path\n"
        "from dropbench.engine.tensor_file import write_tensors\n"
        "from dropbench.errors import DropbenchError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_tensors(Path(sys.argv[1]), {'weights': torch.zeros(10_000)}, {})\n"
        "except DropbenchError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True)
    assert "Cannot write" in done.stdout
    assert os.strerror(errno.EFBIG) in done.stdout
    assert read_tensors(path)[0]["weights"].tolist() == [1, 1]
    assert os.listdir(tmp_path) == ["a.safetensors"]
