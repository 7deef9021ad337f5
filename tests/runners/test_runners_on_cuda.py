"""Runners on a GPU give the numbers of one run after another, and outlive a run that loses the device."""

import pytest
import torch
from engine.test_engine import numbers

from dropbench.run.config import RunConfig
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner

pytestmark = pytest.mark.cuda
DEVICE = torch.device("cuda")


def configs(data, **fields):
    """Four runs of three steps an epoch, in which steps of both sizes are captured and replayed."""
    settings = {"epochs": 5, "batch_size": 80, "p_drop": 0.5, **fields}
    base = RunConfig(data=data.name, data_key=data.key, **settings)
    return [base.replace(seed=seed) for seed in range(4)]


def silent(worker, config, record):
    pass


def by_seed(results):
    return {result.config.repetition.seed: result for result in results}


@pytest.mark.parametrize(
    "runner",
    [
        SerialRunner(DEVICE, jobs=2),
        ProcessRunner(DEVICE, jobs=1, threads=1),
        ProcessRunner(DEVICE, jobs=2, threads=1),
        ProcessRunner(DEVICE, jobs=2, threads=1, abreast=2),
    ],
    ids=["side by side", "worker", "two workers", "side by side in a worker"],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_runs_give_the_numbers_of_one_after_another(precision, runner, blobs, told):
    """To the last bit, since the same kernels do the same work whatever the process."""
    wanted = configs(blobs, model="mlp", layers=(16, 16), precision=precision)
    expected = by_seed(SerialRunner(DEVICE).run(wanted, silent))
    found = by_seed(runner.run(wanted, silent))
    assert {seed: result.message for seed, result in found.items()} == dict.fromkeys(range(4), "")
    for seed, result in found.items():
        assert result.status == expected[seed].status == "ok"
        assert result.where["device"] == "cuda"
        assert numbers(result) == numbers(expected[seed])
    assert told == []


NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, shape, classes, config):
        super().__init__()
        self.register_buffer("table", torch.zeros(4))
        self.place = 1 << 20 if config.repetition.seed == 1 else 0
        channels, height, width = shape
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(channels * height * width, classes), nn.Dropout()
        )

    def forward(self, images):
        if self.training:
            place = torch.full((1,), self.place, device=images.device)
            assert self.table[place].sum().item() == 0  # here the device stops at an assertion of its own
        return self.layers(images)
"""


def test_a_run_that_loses_the_gpu_costs_none_of_those_beside_it(blobs, tmp_path, monkeypatch, told):
    """By an address outside of a tensor; its worker is ended twice, and the others' runs are done again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "leaves_its_table.py").write_text(NET)
    wanted = configs(blobs, model="leaves_its_table:Net", epochs=2)
    results = by_seed(ProcessRunner(DEVICE, jobs=2, threads=1, abreast=2).run(wanted, silent))
    statuses = {seed: result.status for seed, result in results.items()}
    assert statuses == {0: "ok", 1: "failed", 2: "ok", 3: "ok"}
    assert "CUDA" in results[1].message
    assert len(told) == 1
    torch.ones(3, device=DEVICE).sum().item()  # this process has its device still
