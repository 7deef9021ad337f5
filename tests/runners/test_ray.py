"""The same sweep on a Ray cluster of two nodes, both on this machine."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dropbench.datasets import cache
from dropbench.engine.checkpoint import Checkpoints
from dropbench.errors import DropbenchError
from dropbench.results import checkpoints
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.run.result import ood_split
from dropbench.runners.base import NO_EXTRAS, Extras
from dropbench.runners.choose import choose_runner
from dropbench.runners.serial import SerialRunner

ray = pytest.importorskip("ray", reason="Ray has no wheel for this platform or Python", exc_type=ImportError)
CPU = torch.device("cpu")
# Ray starts its own processes with pipes and sockets that it closes late.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory):
    from ray.cluster_utils import Cluster

    with (
        pytest.MonkeyPatch.context() as patch
    ):  # _own_cache is there for functions alone; nodes have the same
        patch.setenv("DROPBENCH_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        made.second = made.add_node(num_cpus=1)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def cluster(shared_cluster):
    """One cluster for all tests, with a second node again where a test took it away."""
    if shared_cluster.second is None:
        shared_cluster.second = shared_cluster.add_node(num_cpus=1)
        shared_cluster.wait_for_nodes()
    return shared_cluster


@pytest.fixture
def _one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def configs(data, count, epochs=2):
    base = RunConfig(data=data.name, data_key=data.key, model="mlp", layers=(16,), epochs=epochs, p_drop=0.5)
    return [base.replace(seed=seed) for seed in range(count)]


def on_ray(cluster, runs, extras=NO_EXTRAS, **more):
    return choose_runner(runs, CPU, Machine(runner="ray", ray_address=cluster.address, **more), extras)


def numbers(results):
    return {
        result.config.run_id: (result.status, result.metrics, [e.train_loss for e in result.epochs])
        for result in results
    }


@pytest.mark.usefixtures("_one_thread")
def test_a_cluster_gives_the_numbers_of_one_process(cluster, blobs):
    wanted, heard = configs(blobs, 6), []
    runner = on_ray(cluster, 6)
    assert runner.jobs == 2
    results = list(runner.run(wanted, lambda worker, config, record: heard.append((worker, record))))
    assert {result.where["threads"] for result in results} == {1}
    serial = SerialRunner(CPU, 1).run(wanted, lambda worker, config, record: None)
    assert numbers(results) == numbers(serial)
    assert len(heard) == 6 * (1 + 2), "one call at the start of a run, one for each epoch"
    assert {worker for worker, _ in heard} <= {0, 1}  # on a busy machine one may start too late for any


@pytest.mark.usefixtures("_one_thread")
def test_out_of_distribution_images_travel_too(cluster, blobs):
    other = cache.save(replace(blobs, test_inputs=255 - blobs.test_inputs, key=""))
    (config,) = configs(blobs, 1)
    extras = Extras(ood=other.key, nets=frozenset({config.run_id}))

    def nothing(worker, config, record):
        pass

    (there,) = on_ray(cluster, 1, extras=extras).run([config], nothing)
    (here,) = SerialRunner(CPU, 1, extras).run([config], nothing)
    name = ood_split(other.key)
    assert np.array_equal(there.predictions[name], here.predictions[name])
    assert not np.array_equal(there.predictions[name], there.predictions["test"])
    assert here.net.weights
    for name, array in here.net.weights.items():
        assert np.array_equal(there.net.weights[name], array)


def test_a_node_that_goes_away_costs_no_run(cluster, blobs):
    wanted, results = configs(blobs, 8, epochs=30), []
    runner = on_ray(cluster, 8)
    for result in runner.run(wanted, lambda worker, config, record: None):
        results.append(result)
        if len(results) == 2:
            cluster.remove_node(cluster.second)
            cluster.second = None
    assert {result.config.run_id for result in results} == {config.run_id for config in wanted}
    assert {result.status for result in results} == {"ok"}


def test_a_run_that_raises_has_failed_and_the_others_go_on_until_they_halt(cluster, blobs, tmp_path):
    good, bad, long = configs(blobs, 3)
    bad, long, heard, ended = bad.replace(train_size=10_000), long.replace(epochs=100_000), set(), []
    runner = on_ray(cluster, 3, Extras(checkpoints=Checkpoints(tmp_path, 1e9)))

    def look(worker, config, record):
        if record is not None:
            heard.add(config.run_id)

    for result in runner.run([bad, good, long], look, lambda: long.run_id in heard and len(ended) == 2):
        ended.append(result)  # noqa: PERF402  # one at a time: what halts looks at it
    results = numbers(ended)
    assert results.keys() == {bad.run_id, good.run_id}
    assert results[bad.run_id][0] == "failed"
    assert results[good.run_id][0] == "ok"
    assert long.run_id in checkpoints.run_ids(tmp_path)


def test_an_actor_whose_device_is_lost_is_replaced(cluster, blobs, breaking, told):
    breaking(1)
    wanted = [config.replace(model="breaks:net") for config in configs(blobs, 3, epochs=1)]
    results = list(on_ray(cluster, 3, jobs=1).run(wanted, lambda worker, config, record: None))
    assert [result.status for result in results] == ["ok"] * 3
    assert breaking.error in " ".join(told)


@pytest.mark.usefixtures("_one_thread")
def test_a_run_whose_actor_is_killed_goes_on_where_the_folder_is_shared(cluster, blobs, tmp_path):
    """Closing the runner kills its actors."""
    (config,) = configs(blobs, 1, epochs=12)
    extras, heard = Extras(checkpoints=Checkpoints(tmp_path, 0)), []

    def stop(worker, config, record):
        heard.append(record)
        if record is not None and record.epoch == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        list(on_ray(cluster, 1, extras).run([config], stop))
    (result,) = on_ray(cluster, 1, extras).run([config], lambda worker, config, record: None)
    assert list(result.epochs[:3]) == heard[1:], "to their very seconds"
    assert numbers([result]) == numbers(SerialRunner(CPU, 1).run([config], lambda *heard: None))


def test_nodes_without_the_folder_say_so_once_and_keep_no_states(cluster, blobs, tmp_path, told):
    extras = Extras(checkpoints=Checkpoints(tmp_path / "absent", 0))
    results = list(on_ray(cluster, 4, extras).run(configs(blobs, 4), lambda *heard: None))
    assert [result.status for result in results] == ["ok"] * 4
    (sentence,) = told
    assert "Checkpoints are not written" in sentence
    assert not (tmp_path / "absent").exists()


def test_actors_take_the_cpus_that_were_asked_for(cluster):
    with pytest.raises(DropbenchError, match="no room"):
        on_ray(cluster, 3, threads=64)


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:1", "127.0.0.1:port", "ray://127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_said_at_once(address):
    with pytest.raises(DropbenchError, match="Cannot reach the Ray cluster"):
        choose_runner(1, CPU, Machine(runner="ray", ray_address=address))


def test_a_set_is_kept_where_it_is_not_yet(blobs, tmp_path, monkeypatch):
    """What a node does with the set it is sent."""
    monkeypatch.setenv("DROPBENCH_CACHE_DIR", str(tmp_path))
    for _ in range(2):
        cache.keep(blobs)
    assert cache.load(blobs.key).digest() == blobs.key
