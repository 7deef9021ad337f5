"""Runs whose worker is killed go on from their checkpoints, and what a worker's library logs is heard."""

import os
import signal
import sys

import pytest
import torch
from runners.test_runners import by_id, configs, silent, workers

from dropbench.engine.checkpoint import Checkpoints
from dropbench.results import checkpoints
from dropbench.runners.base import Extras
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner

CPU = torch.device("cpu")


@pytest.fixture
def _one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize("abreast", [1, 2])
def test_runs_of_a_killed_worker_go_on_from_their_last_epochs(blobs, tmp_path, abreast):
    wanted, heard = configs(blobs, abreast, epochs=30), {}

    def kill_once(worker, config, record):
        records = heard.setdefault(config.run_id, [])
        records.append(record)
        if record is not None and record.epoch == 3 and records.count(None) == 1 and len(heard) == abreast:
            for process in workers():
                os.kill(process, signal.SIGKILL)

    runner = ProcessRunner(CPU, abreast, 1, Extras(checkpoints=Checkpoints(tmp_path, 0)), abreast)
    results = list(runner.run(wanted, kill_once))
    assert by_id(results) == by_id(SerialRunner(CPU, 1).run(wanted, silent))
    for result in results:
        first, again = heard[result.config.run_id], list(result.epochs)
        second = first.index(None, 1)
        assert second > 1
        assert first[1:second] == again[: second - 1], "to their very seconds"
        assert first[second + 1 :] == again


def test_what_several_workers_log_is_logged_once_by_the_driver(blobs, tmp_path, told):
    extras = Extras(checkpoints=Checkpoints(tmp_path / "absent", 0))
    results = list(ProcessRunner(CPU, 2, 1, extras).run(configs(blobs, 4), silent))
    assert [result.status for result in results] == ["ok"] * 4
    (sentence,) = told
    assert "Checkpoints are not written" in sentence
    assert checkpoints.run_ids(tmp_path) == set()
