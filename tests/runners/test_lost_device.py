"""A GPU that a run leaves unusable costs that run, and none of those after it.

Where there is no GPU, the net of a run, which is the user's own code, breaks the one call that notices.
"""

import os

import pytest
import torch

from dropbench.engine.device import prepare_process
from dropbench.errors import DropbenchError
from dropbench.run.config import RunConfig
from dropbench.runners import worker
from dropbench.runners.base import NO_EXTRAS
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner

CPU = torch.device("cpu")


def configs(data):
    base = RunConfig(data=data.name, data_key=data.key, model="breaks:net", epochs=1, p_drop=0.5)
    return [base.replace(seed=seed) for seed in range(4)]


def silent(worker, config, record):
    pass


def by_seed(results):
    return {result.config.repetition.seed: result for result in results}


def test_the_worker_is_replaced_and_its_run_tried_once_more(blobs, breaking, told):
    breaking(1)
    results = by_seed(ProcessRunner(CPU, 1, 1).run(configs(blobs), silent))
    assert {seed: result.status for seed, result in results.items()} == dict.fromkeys(range(4), "ok")
    assert sum(breaking.error in sentence for sentence in told) == 1


def test_a_run_that_loses_every_device_has_failed_with_the_device_s_error(blobs, breaking):
    breaking(9)
    results = by_seed(ProcessRunner(CPU, 1, 1).run(configs(blobs), silent))
    assert {seed for seed, result in results.items() if result.status == "ok"} == {0, 2, 3}
    assert results[1].status == "failed"
    assert "could not launch a kernel" in results[1].message
    assert breaking.error in results[1].message
    assert "\n" not in results[1].message


def test_in_this_process_a_run_that_loses_the_device_is_the_last_one(blobs, breaking, monkeypatch):
    breaking(9)
    monkeypatch.setattr("dropbench.runners.base.synchronise", lambda device: None)  # put back afterwards
    results = SerialRunner(CPU, 1).run(configs(blobs), silent)
    assert [next(results).status, next(results).status] == ["ok", "failed"]
    with pytest.raises(DropbenchError, match=breaking.error) as caught:
        next(results)
    assert "`runner=process`" in caught.value.hint
    last = SerialRunner(CPU, 1).run(configs(blobs)[1:2], silent)
    assert [result.status for result in last] == ["failed"], "nothing is left to do, and so no error"


@pytest.mark.parametrize("times", [1, 9])
def test_of_the_runs_beside_it_none_is_lost(blobs, breaking, times):
    breaking(times)
    results = by_seed(ProcessRunner(CPU, 3, 1, abreast=3).run(configs(blobs), silent))
    assert {seed for seed, result in results.items() if result.status == "ok"} >= {0, 2, 3}
    assert results[1].status == ("ok" if times == 1 else "failed")


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("times", [1, 9])
def test_where_the_device_of_this_process_is_lost_others_go_on(blobs, breaking, monkeypatch, jobs, times):
    breaking(times)
    monkeypatch.setattr("dropbench.runners.base.synchronise", lambda device: None)  # put back afterwards
    successor = ProcessRunner(CPU, jobs, 1, abreast=jobs)
    runner = SerialRunner(CPU, 1, jobs=jobs, successor=successor)
    results = by_seed(runner.run(configs(blobs), silent))
    assert {seed for seed, result in results.items() if result.status == "ok"} >= {0, 2, 3}
    assert results[1].status == ("ok" if times == 1 else "failed")


def test_in_this_process_of_several_runs_none_is_blamed(blobs, breaking, monkeypatch):
    breaking(9)
    monkeypatch.setattr("dropbench.runners.base.synchronise", lambda device: None)  # put back afterwards
    results = SerialRunner(CPU, 1, jobs=2).run(configs(blobs)[:2], silent)
    with pytest.raises(DropbenchError, match=breaking.error):
        next(results)


def test_a_failure_that_leaves_the_device_well_is_one_run_s(blobs, breaking, monkeypatch):
    breaking(0)
    broken = configs(blobs)[1].replace(train_size=10_000)
    results = by_seed(SerialRunner(CPU, 1).run([broken, *configs(blobs)[2:]], silent))
    assert {seed: result.status for seed, result in results.items()} == {1: "failed", 2: "ok", 3: "ok"}


@pytest.mark.parametrize(
    ("device", "wanted"),
    [("cpu", []), ("cuda", ["init"]), ("cuda:1", ["init", torch.device("cuda:1")])],
)
def test_cuda_is_initialised_and_its_current_device_set_before_all_else(monkeypatch, device, wanted):
    calls = []
    monkeypatch.setattr("torch.cuda.init", lambda: calls.append("init"))
    monkeypatch.setattr("torch.cuda.set_device", calls.append)
    prepare_process(None, torch.device(device))
    assert calls == wanted


def test_a_worker_prepares_its_device_before_it_takes_a_run(monkeypatch):
    class Driver:
        def recv(self):
            events.append("recv")
            raise EOFError

    class EndedError(Exception):
        pass

    def end(code):
        raise EndedError

    events = []
    monkeypatch.setattr(worker, "prepare_process", lambda *settings: events.append(settings))
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    monkeypatch.setattr("os._exit", end)
    with pytest.raises(EndedError):
        worker.carry_out_orders(Driver(), torch.device("cuda:1"), 3, NO_EXTRAS, 1, dict(os.environ))
    assert events == [(3, torch.device("cuda:1")), "recv"]
