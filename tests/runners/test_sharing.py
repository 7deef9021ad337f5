"""As many runs share a GPU as pay, by what is known of it: made-up GPUs show the rule."""

from dataclasses import replace

import pytest
import torch

from dropbench.engine.gpus import Gpu
from dropbench.engine.need import Need, need_of
from dropbench.run.config import RunConfig
from dropbench.run.machine import AUTOMATIC, Machine
from dropbench.runners import choose
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner
from dropbench.runners.sharing import Workload, runs_on

CUDA = torch.device("cuda")
LARGE = Gpu("large", 80 * 10**9, 132, (9, 0), mps=True)
SMALL = Gpu("small", 8 * 10**9, 20, (7, 5), mps=True)
MLP = RunConfig(model="mlp", layers=(1024, 1024, 2048), p_drop=0.5)
CNN = RunConfig(model="lecture-cnn", p_drop=0.5)
GREY = (1, 28, 28)


def workload(*configs, graph=True):
    return Workload(configs, GREY, 10, 70_000, graph)


def need(config):
    return need_of(config, GREY, 10, 70_000)


def test_without_mps_the_cores_do_not_decide_since_one_thread_begins_all_steps():
    alone = replace(LARGE, mps=False)
    assert runs_on(alone, need(MLP), 1) == runs_on(alone, need(MLP), 64) > 1


def test_each_limit_alone_decides():
    little, much = Need(1e9, ((1.0, 1),)), 10**6
    room = Gpu("room", 10**15, 1000, (9, 0), mps=True)
    assert runs_on(room, little, much) == 47, "as many as MPS takes, less the process that starts them"
    assert runs_on(room, little, 5) == 5, "cores"
    assert runs_on(replace(room, memory_bytes=10 * 10**9), little, much) == 8, "memory"
    assert runs_on(replace(room, multiprocessors=10), little, much) == 20, "occupancy, half of the time"
    assert runs_on(replace(room, mps=False), little, much) == 8, "the thread of one process"


def test_a_gpu_that_is_full_or_a_machine_without_a_core_to_spare_has_one_run():
    assert runs_on(replace(LARGE, memory_bytes=0), need(MLP), 64) == 1
    assert runs_on(LARGE, need(MLP), 0) == 1
    assert runs_on(SMALL, Need(1e9, ()), 64) == 2, "of which nothing is known, but that there are gaps"


def test_small_nets_share_a_large_gpu_and_large_nets_share_it_less():
    mlp, cnn = runs_on(LARGE, need(MLP), 64), runs_on(LARGE, need(CNN), 64)
    assert mlp > cnn >= 1
    assert runs_on(SMALL, need(MLP), 64) <= mlp


def on(monkeypatch, gpus, cores=64):
    monkeypatch.setattr("dropbench.engine.gpus.found", lambda: gpus)
    monkeypatch.setattr(choose, "cores", lambda: cores)


def test_jobs_are_those_of_all_gpus_and_as_many_as_there_are_runs(monkeypatch):
    each = runs_on(LARGE, need(MLP), 32)
    assert each > 1
    on(monkeypatch, [LARGE, LARGE])
    assert choose.shares(1000, CUDA, AUTOMATIC, workload(MLP)) == (2 * each, 64 // (2 * each))
    assert choose.shares(3, CUDA, AUTOMATIC, workload(MLP))[0] == 3
    assert choose.shares(1000, CUDA, AUTOMATIC)[0] == 2, "of unknown runs one on each GPU"
    assert choose.shares(1000, CUDA, Machine(runner="serial"), workload(MLP))[0] == 1


def test_without_mps_one_process_for_each_gpu_has_the_runs_side_by_side(monkeypatch):
    alone = replace(LARGE, mps=False)
    each = runs_on(alone, need(MLP), 64)
    for gpus, kind in ([alone], SerialRunner), ([alone] * 2, ProcessRunner):
        on(monkeypatch, gpus)
        runner = choose.choose_runner(1000, CUDA, workload=workload(MLP))
        assert isinstance(runner, kind)
        assert runner.jobs == each * len(gpus)
        assert not isinstance(runner, ProcessRunner) or runner.abreast == each


@pytest.mark.parametrize(
    ("gpu", "machine", "runs"),
    [
        (LARGE, AUTOMATIC, workload(MLP)),
        (replace(LARGE, mps=False), Machine(runner="process", jobs=4), workload(MLP)),
        (replace(LARGE, mps=False), Machine(jobs=4), workload(MLP, graph=False)),
        (replace(LARGE, mps=False), Machine(jobs=4), workload(MLP.replace(dropout="torch.nn:Dropout"))),
    ],
    ids=["with MPS", "wanted", "without graphs", "own code"],
)
def test_elsewhere_each_run_has_a_process(monkeypatch, gpu, machine, runs):
    on(monkeypatch, [gpu])
    runner = choose.choose_runner(1000, CUDA, machine, workload=runs)
    assert isinstance(runner, ProcessRunner)
    assert runner.abreast == 1


OWN = MLP.replace(model="own:Net", layers=())


@pytest.mark.parametrize("runs", [workload(MLP, graph=False), workload(OWN)], ids=["without graphs", "own"])
def test_steps_that_are_no_graphs_take_a_thread_each_so_that_one_run_is_on_each_gpu(monkeypatch, runs):
    on(monkeypatch, [replace(LARGE, mps=False)])
    runner = choose.choose_runner(1000, CUDA, workload=runs)
    assert isinstance(runner, SerialRunner)
    assert runner.jobs == 1


def test_every_gpu_has_as_many_as_the_one_that_takes_fewest(monkeypatch):
    """Since workers are dealt out in turn."""
    on(monkeypatch, [LARGE, SMALL])
    fewest = runs_on(SMALL, need(MLP), 32)
    assert fewest < runs_on(LARGE, need(MLP), 32)
    assert choose.shares(1000, CUDA, AUTOMATIC, workload(MLP))[0] == 2 * fewest


def test_the_largest_of_several_nets_decides(monkeypatch):
    on(monkeypatch, [LARGE])
    runs = [
        choose.shares(1000, CUDA, AUTOMATIC, workload(*configs))[0]
        for configs in ([MLP], [CNN], [MLP, MLP.replace(seed=1), CNN])
    ]
    assert runs[2] == runs[1] < runs[0]


def test_jobs_that_are_given_ask_no_gpu(monkeypatch):
    monkeypatch.setattr("dropbench.engine.gpus.found", None)
    assert choose.shares(1000, CUDA, Machine(jobs=5), workload(MLP))[0] == 5


NET = """
from torch import nn

class Looks(nn.Module):
    def __init__(self, shape, classes, config):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(784, classes), nn.Dropout())

    def forward(self, images):
        return self.net(images) * (images.sum().item() > 0)
"""


def test_a_net_that_looks_at_values_has_one_run_on_each_gpu(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looks_at_values.py").write_text(NET)
    on(monkeypatch, [LARGE])
    own = RunConfig(model="looks_at_values:Looks", p_drop=0.5)
    with pytest.raises(RuntimeError):
        need(own)
    assert choose.shares(1000, CUDA, AUTOMATIC, workload(own))[0] == 1
