"""The pool gives the numbers of a single process, and outlives failures and deaths."""

import os
import signal
import time

import numpy as np
import pytest
import torch

from dropbench.engine import batches
from dropbench.engine.checkpoint import Checkpoints
from dropbench.engine.turns import to_its_end
from dropbench.errors import UsageError
from dropbench.results import checkpoints
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.runners.base import NO_EXTRAS, STOP_SECONDS, Extras, turns_of_run
from dropbench.runners.choose import choose_runner, cores
from dropbench.runners.process import ProcessRunner
from dropbench.runners.serial import SerialRunner
from dropbench.runners.stacked import StackRunner

CPU = torch.device("cpu")


LONG = 1_000  # epochs of a run that cannot end between its first epoch's message and a signal


def configs(data, count, epochs=2):
    base = RunConfig(data=data.name, data_key=data.key, model="mlp", layers=(16,), epochs=epochs, p_drop=0.5)
    return [base.replace(seed=seed) for seed in range(count)]


def silent(worker, config, record):
    pass


def by_id(results):
    return {result.config.run_id: (result.status, result.metrics) for result in results}


@pytest.fixture
def _one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("_one_thread")
def test_pool_of_two_gives_the_numbers_of_one_process(blobs):
    wanted = configs(blobs, 4)
    epochs = []
    nets = Extras(nets=frozenset({wanted[0].run_id}))
    pooled = list(
        ProcessRunner(CPU, 2, 1, nets).run(wanted, lambda w, c, record: epochs.append((w, c, record)))
    )
    serial = list(SerialRunner(CPU, 1, nets).run(wanted, silent))
    assert by_id(pooled) == by_id(serial)
    (there,), (here,) = ([run.net for run in runs if run.net] for runs in (pooled, serial))
    assert there.about == here.about
    assert all(np.array_equal(array, there.weights[name]) for name, array in here.weights.items())
    assert len(epochs) == 4 * (1 + 2), "one call at the start of a run, one for each epoch"
    assert {worker for worker, _, _ in epochs} == {0, 1}


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("abreast", [SerialRunner(CPU, 1, jobs=3), ProcessRunner(CPU, 4, 1, abreast=2)])
def test_runs_side_by_side_in_a_process_give_the_numbers_of_one_after_another(blobs, abreast):
    wanted = [*configs(blobs, 4, epochs=1), *configs(blobs, 7, epochs=3)[4:]]
    places, running, most = {}, set(), 0

    def watch(place, config, record):
        nonlocal most
        if record is None:
            places[config.run_id] = place
            running.add(place)
            most = max(most, len(running))
        assert places[config.run_id] == place

    results = []
    for result in abreast.run(wanted, watch):
        running.discard(places[result.config.run_id])
        results.append(result)
    assert by_id(results) == by_id(SerialRunner(CPU, 1).run(wanted, silent))
    assert set(places.values()) == set(range(abreast.jobs))
    assert most == abreast.jobs


def test_a_failure_beside_others_is_its_own(blobs):
    good = configs(blobs, 4)
    bad = good[0].replace(data_key="0" * 16)
    results = by_id(SerialRunner(CPU, 1, jobs=3).run([good[0], bad, *good[1:]], silent))
    assert {run for run, (status, _) in results.items() if status == "ok"} == {run.run_id for run in good}
    assert results[bad.run_id][0] == "failed"


def test_failure_is_a_result_and_the_others_go_on(blobs):
    good, bad = configs(blobs, 2)
    bad = bad.replace(data_key="0" * 16)
    results = by_id(ProcessRunner(CPU, 2, 1).run([bad, good], silent))
    assert results[bad.run_id][0] == "failed"
    assert results[good.run_id][0] == "ok"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("can't allocate memory: you tried to allocate 49152000000 bytes. Error 12"), "49.2 GB"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("all else"), "RuntimeError: all else"),
    ],
)
def test_a_run_that_lacks_memory_says_how_much_and_what_takes_less(blobs, monkeypatch, error, said):
    def fail(*_):
        raise error

    monkeypatch.setattr("dropbench.runners.base.training", fail)
    config = RunConfig(data=blobs.name, data_key=blobs.key, model="mlp")
    result = to_its_end(turns_of_run(config, torch.device("cpu"), NO_EXTRAS, lambda record: None))
    assert result.status == "failed"
    assert said in result.message
    assert ("`batch_size`" in result.message) == ("all else" not in said)


def test_killed_worker_is_replaced_and_its_run_tried_once_more(blobs):
    wanted, starts = configs(blobs, 3, epochs=200), []

    def kill_once(worker, config, record):
        if record is None:
            starts.append(config.run_id)
        elif len(starts) == 1:
            (process,) = workers()
            os.kill(process, signal.SIGKILL)

    results = by_id(ProcessRunner(CPU, 1, 1).run(wanted, kill_once))
    assert starts == [wanted[0].run_id, *(config.run_id for config in wanted)]
    assert {status for status, _ in results.values()} == {"ok"}
    assert set(results) == {config.run_id for config in wanted}


def test_run_that_kills_every_worker_has_failed(blobs):
    def kill_always(worker, config, record):
        if record is not None:
            for process in workers():
                os.kill(process, signal.SIGKILL)

    ((status, _),) = by_id(ProcessRunner(CPU, 1, 1).run(configs(blobs, 1, LONG), kill_always)).values()
    assert status == "failed"


def test_all_runs_of_a_worker_have_the_same_arrays(blobs, monkeypatch):
    """So they are on a GPU once: train, test and out-of-distribution images."""
    used, upload = [], batches.uploaded

    def note(array, device):
        used.append(array)  # kept, so that no two have one identity
        return upload(array, device)

    monkeypatch.setattr(batches, "uploaded", note)
    runs = list(SerialRunner(CPU, None, Extras(ood="permuted")).run(configs(blobs, 3, epochs=1), silent))
    assert [run.status for run in runs] == ["ok"] * 3
    images = [array for array in used if array.ndim == 4]
    assert len(images) == 3 * 3
    assert len({id(array) for array in images}) == 3


def workers() -> list[int]:
    import multiprocessing

    return [process.pid for process in multiprocessing.active_children() if process.pid]


def test_closing_the_iterator_ends_the_workers(blobs):
    results = ProcessRunner(CPU, 2, 1).run(configs(blobs, 4), silent)
    next(results)
    results.close()
    assert workers() == []


@pytest.mark.usefixtures("_one_thread")
@pytest.mark.parametrize("kind", ["serial", "abreast", "stack"])
def test_runs_that_halt_keep_their_states_and_one_that_ends_meanwhile_its_result(blobs, tmp_path, kind):
    extras, heard = Extras(checkpoints=Checkpoints(tmp_path, every=1e9)), []
    runner = {
        "serial": SerialRunner(CPU, 1, extras, jobs=2),
        "abreast": ProcessRunner(CPU, 2, 1, extras, abreast=2),
        "stack": StackRunner(SerialRunner(CPU, 1), [(3, 2)], CPU, 1, extras, SerialRunner(CPU, 1)),
    }[kind]
    wanted, (short,) = configs(blobs, 2, LONG), configs(blobs, 1)

    def look(worker, config, record):
        if record is not None:
            heard.append(config.run_id)

    asked = []

    def halts():
        if {config.run_id for config in wanted} <= set(heard):
            asked.append(time.monotonic())
        return bool(asked)

    results = list(runner.run([short, *wanted], look, halts))
    assert [result.config.run_id for result in results] == [short.run_id]
    assert checkpoints.run_ids(tmp_path) - {short.run_id} == {config.run_id for config in wanted}
    assert time.monotonic() - asked[0] < STOP_SECONDS, "nobody is waited for who has stopped"


def test_an_interrupted_driver_has_its_workers_keep_their_states(blobs, tmp_path):
    wanted = configs(blobs, 2, LONG)

    def interrupt(worker, config, record):
        heard.add(config.run_id if record else "")
        if len(heard) > len(wanted):
            raise KeyboardInterrupt

    heard = set()
    with pytest.raises(KeyboardInterrupt):
        list(ProcessRunner(CPU, 2, 1, Extras(checkpoints=Checkpoints(tmp_path, 1e9))).run(wanted, interrupt))
    assert checkpoints.run_ids(tmp_path) == {config.run_id for config in wanted}
    assert workers() == []


def test_jobs_and_threads_share_the_cores():
    assert choose_runner(1, CPU).jobs == 1
    assert choose_runner(100, CPU).jobs == cores()
    assert choose_runner(100, CPU, Machine(jobs=5)).jobs == 5
    assert isinstance(choose_runner(100, CPU, Machine(runner="serial")), SerialRunner)
    assert isinstance(choose_runner(1, CPU, Machine(runner="process")), ProcessRunner)


@pytest.mark.parametrize(
    "options",
    [
        {"runner": "rey"},
        {"jobs": 0},
        {"runner": "serial", "jobs": 2},
        {"runner": "process", "ray_address": "here:6379"},
        {"runner": "ray", "gpus_per_run": 0},
        {"threads": 1.5},
        {"device": "tpu"},
    ],
)
def test_options_that_fit_no_runner_are_refused(options):
    with pytest.raises(UsageError):
        Machine(**options)


def test_nothing_is_begun_after_the_configs_stop(blobs):
    """The runs in hand are finished; that is what the first Ctrl-C asks for."""
    wanted, given, results = configs(blobs, 6), [], []

    def give():
        for config in wanted:
            if results:
                return
            given.append(config)
            yield config

    for result in ProcessRunner(CPU, 2, 1).run(give(), silent):
        results.append(result)  # noqa: PERF402  # one at a time: giving looks at it
    assert len(results) == len(given) < len(wanted)
