"""A thousand runs leave no process, no file handle and no memory behind; and which runs are repeated."""

import multiprocessing
import os
from pathlib import Path

import pytest
import torch

from dropbench.experiments.agenda import make_agenda
from dropbench.experiments.workbench import Workbench, carry_out
from dropbench.results.read import read_table
from dropbench.results.schema import EPOCHS, RUNS
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine, Policy

TINY = RunConfig(model="mlp", layers=(4,), epochs=1, batch_size=32, train_size=30, p_drop=0.5)


class Counting:
    """A watcher that counts the open file handles after each run."""

    def __init__(self):
        self.handles = []

    def planned(self, agenda, jobs):
        pass

    def progress(self, worker, config, record):
        pass

    def finished(self, result):
        self.handles.append(len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0)

    def wants_to_stop(self):
        return False

    def wants_to_halt(self):
        return False


def test_a_thousand_runs_leak_nothing(blobs, tmp_path):
    bench = Workbench(blobs, torch.device("cpu"), "fp32", Machine(runner="process", jobs=1, threads=1))
    watcher = Counting()
    outcome = carry_out(
        bench.bind([TINY.replace(seed=seed) for seed in range(1000)]), bench, Store(tmp_path), watcher
    )
    assert len(outcome.ok) == 1000
    assert max(watcher.handles[10:]) <= watcher.handles[10]
    assert multiprocessing.active_children() == []
    memory = [result.cost["peak_memory_bytes"] for result in outcome.ok]
    if memory[0] is not None:
        assert max(memory[500:]) < max(memory[100:500]) + 20e6, "the worker's, run by run"
    assert len(read_table(tmp_path, RUNS)) == 1000
    assert len(read_table(tmp_path, EPOCHS)) == 1000


def test_first_failure_stops_the_sweep_when_asked_to(blobs, tmp_path):
    bench = Workbench(blobs, torch.device("cpu"), "fp32", Machine(runner="serial", threads=1))
    configs = bench.bind([TINY.replace(seed=seed) for seed in range(3)])
    configs[1] = configs[1].replace(data_key="0" * 16)
    outcome = carry_out(configs, bench, Store(tmp_path), Counting(), Policy(fail_fast=True))
    assert (len(outcome.ok), len(outcome.failed)) == (1, 1)
    assert "FileNotFoundError" in outcome.failed[0].message


@pytest.mark.parametrize(
    ("policy", "todo"),
    [(Policy(), "d"), (Policy(retry_failed=True), "bcd"), (Policy(force=True), "abcd")],
)
def test_policy_decides_which_runs_are_repeated(policy, todo):
    configs = {name: TINY.replace(seed=seed) for seed, name in enumerate("abcd")}
    ended = {configs[n].run_id: status for n, status in (("a", "ok"), ("b", "failed"), ("c", "diverged"))}
    agenda = make_agenda([*configs.values(), configs["a"]], ended, policy)
    assert agenda.todo == [configs[name] for name in todo]
    assert len(agenda.todo) + len(agenda.done) + len(agenda.left) == 4
