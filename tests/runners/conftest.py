"""A net that breaks the device of its run."""

import sys

import pytest

ERROR = "CUDA error: an illegal memory access was encountered"
NET = """
from pathlib import Path

import torch
from torch import nn

from dropbench.runners import base

def net(shape, classes, config):
    times = Path({times!r})
    if config.repetition.seed == 1 and times.read_text():
        times.write_text(times.read_text()[1:])
        def lost(device):
            raise torch.AcceleratorError("{error}\\nCompile with TORCH_USE_CUDA_DSA", 700)
        base.synchronise = lost
        raise RuntimeError("could not launch a kernel")
    channels, height, width = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes), nn.Dropout())
"""


@pytest.fixture
def breaking(tmp_path, monkeypatch):
    """Let the net ``breaks:net`` break the device of the run with the seed 1, the given number of times."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # before the folders of other tests, whose nets have this name too
    monkeypatch.delitem(sys.modules, "breaks", raising=False)
    times = tmp_path / "times"
    (tmp_path / "breaks.py").write_text(NET.format(times=str(times), error=ERROR))

    def break_device(count):
        times.write_text("x" * count)

    break_device.error = ERROR
    return break_device
