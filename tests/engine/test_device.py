"""A device made ready for a run: by a process's first call of CUDA, and with torch's settings legible."""

import subprocess
import sys

import pytest
import torch

from dropbench.engine import device
from dropbench.engine.device import allow_tf32, peak_memory_bytes, prepare_device
from dropbench.engine.train import train, training
from dropbench.engine.turns import to_its_end
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_set_so_that_all_of_torchs_getters_tell_it(allowed):
    for before in (True, False):
        allow_tf32(before)
        allow_tf32(allowed)
        assert torch.backends.cuda.matmul.allow_tf32 == allowed
        assert torch.backends.cudnn.allow_tf32 == allowed
        assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
        assert (torch.backends.cuda.matmul.fp32_precision == "tf32") == allowed
        assert (torch.backends.cudnn.conv.fp32_precision == "tf32") == allowed
    allow_tf32(False)


class FirstCalls:
    """CUDA before a process calls it, on a machine with two GPUs, of which 1 is the current one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.initialised = False
        self.reset: list[int] = []
        monkeypatch.setattr(torch.cuda, "init", self._init)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
        monkeypatch.setattr(torch._C, "_cuda_resetPeakMemoryStats", self._reset, raising=False)

    def _init(self) -> None:
        self.initialised = True

    def _reset(self, index: int) -> None:
        if not self.initialised:
            raise RuntimeError("Invalid device argument: did you call init?")
        self.reset.append(index)


@pytest.mark.parametrize(("name", "index"), [("cuda:0", 0), ("cuda:1", 1), ("cuda", 1)])
def test_cuda_is_initialised_before_its_memory_is_measured(name, index, monkeypatch):
    calls = FirstCalls(monkeypatch)
    assert prepare_device(torch.device(name), "fp32") == torch.device("cuda", index)
    assert calls.reset == [index]


def test_the_cpu_is_made_ready_without_cuda(monkeypatch):
    calls = FirstCalls(monkeypatch)
    assert prepare_device(CPU, "fp32") == CPU
    assert (calls.initialised, calls.reset) == (False, [])
    assert peak_memory_bytes(CPU) > 0


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_run_may_be_the_first_to_call_cuda(name):
    code = f"""
import torch
from dropbench.engine.device import free_memory_bytes, peak_memory_bytes, prepare_device
device = prepare_device(torch.device({name!r}), "fp32")
assert device.index is not None
torch.empty(1 << 20, device=device)
assert peak_memory_bytes(device) >= 4 << 20
assert 0 < free_memory_bytes(device) <= torch.cuda.mem_get_info(device)[1]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_peak_of_memory_goes_on_while_other_runs_are_in_progress(monkeypatch):
    resets = []
    monkeypatch.setattr(device, "reset_peak_memory", resets.append)
    with device.in_progress(CPU):
        device.prepare_device(CPU, "fp32")
    assert resets == []
    device.prepare_device(CPU, "fp32")
    assert resets == [CPU]


def test_a_run_that_is_cut_short_waits_for_the_device(blobs, monkeypatch):
    waited = []
    monkeypatch.setattr(device, "synchronise", waited.append)
    config = RunConfig(model="mlp", layers=(8,), epochs=1)
    turns = training(config, blobs, CPU)
    next(turns)
    turns.close()
    assert waited == [CPU]
    to_its_end(training(config, blobs, CPU))
    assert waited == [CPU], "one that ends well has read its figures"


def denormal() -> float:
    """Half the smallest normal number, which is 0 where denormal numbers are taken as such."""
    return sys.float_info.min / 2


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot")
def test_denormal_numbers_are_0_while_a_run_is_in_progress_and_only_then(blobs):
    config = RunConfig(model="mlp", layers=(8,), epochs=2)
    seen = []
    train(config, blobs, CPU, lambda record: seen.append(denormal()))
    assert seen == [0, 0]
    assert denormal() > 0
    with device.in_progress(CPU):
        train(config, blobs, CPU)
        assert denormal() == 0, "another run is in progress still"
    assert denormal() > 0


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor cannot")
def test_a_user_who_takes_denormal_numbers_as_0_still_does_after_a_run(blobs):
    torch.set_flush_denormal(True)
    try:
        train(RunConfig(model="mlp", layers=(8,), epochs=1), blobs, CPU)
        assert denormal() == 0
    finally:
        torch.set_flush_denormal(False)
