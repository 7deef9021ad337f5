"""A run that is stopped between any two steps goes on from its checkpoint to the bits of one that was not."""

import copy
import dataclasses
import functools
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from engine.made import REGRESSION, made
from engine.tape import TapeLane
from hypothesis import given, settings
from hypothesis import strategies as st

from dropbench.datasets.dataset import DataSet
from dropbench.engine import checkpoint as module
from dropbench.engine import loss_scale, model_state
from dropbench.engine.checkpoint import Checkpoint, Checkpoints
from dropbench.engine.epoch import GraphSteps
from dropbench.engine.run import Run
from dropbench.engine.run_state import restore, state_of
from dropbench.engine.stack import train_stacked
from dropbench.engine.tensor_file import read_tensors, write_tensors
from dropbench.engine.train import train, training
from dropbench.engine.tree import apart, together
from dropbench.engine.turns import to_its_end
from dropbench.errors import DropbenchError
from dropbench.kernels import compiled
from dropbench.results import checkpoints
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult

CPU = torch.device("cpu")
NEVER = 1e9
MLP = {"model": "mlp", "layers": (16,), "epochs": 3, "batch_size": 60, "p_drop": 0.5, "p_drop_input": 0.2}
CNN = {"model": "lecture-cnn", "width": 0.05, "epochs": 2, "batch_size": 80, "p_drop": 0.3}
RUNS = {
    "mlp in bf16": {**MLP, "precision": "bf16", "max_norm": 1.0, "weight_decay": 1e-3},
    "mlp in fp32, snapshots": {**MLP, "precision": "fp32", "snapshots": 3, "l1": 1e-4},
    "patience": {**MLP, "epochs": 9, "patience": 1, "learning_rate": 2.0, "mc_samples": 3, "bootstrap": True},
    "cnn in bf16": {**CNN, "precision": "bf16", "p_drop_conv": 0.2},
    "fp16": {**MLP, "precision": "fp16"},
    "adamw": {**CNN, "optimizer": "adamw", "clip_norm": 1.0},
    "muon": {**CNN, "optimizer": "muon"},
    "a class of torch that counts on the host": {**MLP, "optimizer": "torch.optim:NAdam"},
    "concrete, a ramp": {**MLP, "dropout": "concrete", "dropout_schedule": "ramp", "cutoff_epoch": 3},
    "variational": {**MLP, "dropout": "variational", "optimizer": "adamw"},
    "a module of torch": {**MLP, "dropout": "torch.nn:Dropout"},
    "augmentation": {**CNN, "augment": "flip,crop"},
    "boosting": {**MLP, "joint": True},
    "autoencoder": {"model": "autoencoder", "layers": (16,), "epochs": 2, "p_drop": 0.2, "kl_sparsity": 0.1},
    "regression": {**REGRESSION, "epochs": 3, "p_drop": 0.2},
}
OWN = """
import random
import numpy as np
import torch
from torch import nn

class Noisy(nn.Module):
    '''Noise of three generators, a counter, and buffers that are kept in a checkpoint of a net or not.'''

    def __init__(self, inputs, outputs):
        super().__init__()
        self.layer, self.norm = nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)
        self.generators = None
        self.torchs, self.numpys = torch.Generator().manual_seed(1), np.random.default_rng(1)
        self.pythons, self.steps, self.mean = random.Random(1), 0, torch.zeros(())
        self.register_buffer("passing", torch.ones(()), persistent=False)

    def get_extra_state(self):
        return {"passes": (self.steps, None)}

    def set_extra_state(self, state):
        assert state["passes"][0] == self.steps or self.steps == 0

    def forward(self, units):
        out = self.norm(self.layer(units))
        if not self.training:
            return out
        self.steps += 1
        self.passing.mul_(0.9)
        self.mean = 0.9 * self.mean + 0.1 * out.detach().mean()
        scale = 1 + 0.1 * (self.numpys.normal() + self.pythons.random()) / self.steps
        noise = torch.randn(out.shape, generator=self.torchs) * self.passing
        return out * scale + 0.1 * noise + self.mean + torch.rand(out.shape)

def net(shape, classes, config):
    return nn.Sequential(nn.Flatten(), Noisy(shape[0] * shape[1] * shape[2], 16), nn.ReLU(), nn.Dropout(),
                         nn.Linear(16, classes))
"""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stopped(config: RunConfig, data: DataSet, place: Checkpoints, steps: int) -> None:
    """Do so many steps of a run, and close it."""
    turns = training(config, data, checkpoints=place)
    for _ in range(steps):
        next(turns)
    turns.close()


def check_same(one: RunResult, other: RunResult) -> None:
    """All is equal to the bit but times."""
    assert (one.status, one.message, one.metrics) == (other.status, other.message, other.metrics)
    curves = [[str(dataclasses.replace(each, seconds=0.0)) for each in run.epochs] for run in (one, other)]
    assert curves[0] == curves[1]
    for name in ("steps", "tested_epoch", "overflowed_steps"):
        assert one.cost[name] == other.cost[name]
    assert one.predictions.keys() == other.predictions.keys()
    for name, array in one.predictions.items():
        assert np.array_equal(array, other.predictions[name], equal_nan=True), name


@pytest.mark.parametrize("name", RUNS)
def test_a_run_stopped_twice_ends_as_one_that_was_not(name, blobs, tmp_path, monkeypatch):
    monkeypatch.setattr(loss_scale, "GOOD_STEPS", 1)  # so that it grows until a step overflows
    config, data = RunConfig(**RUNS[name]), made() if name == "regression" else blobs
    whole, place = train(config, data), Checkpoints(tmp_path, NEVER)
    assert whole.status == "ok"
    assert name != "fp16" or whole.cost["overflowed_steps"]
    steps = int(whole.cost["steps"] or 0)
    first = np.random.default_rng(len(name)).integers(1, steps)
    stopped(config, data, place, first)
    stopped(config, data, place, max(1, (steps - first) // 2))
    check_same(train(config, data, checkpoints=place), whole)


def test_code_of_the_user_s_own_goes_on_with_its_generators_numbers_and_buffers(blobs, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    config = RunConfig(model=f"{tmp_path / 'own.py'}:net", epochs=2, batch_size=60, p_drop=0.5)
    whole, place = train(config, blobs), Checkpoints(tmp_path, NEVER)
    assert whole.status == "ok"
    stopped(config, blobs, place, 2)
    stopped(config, blobs, place, 3)
    check_same(train(config, blobs, checkpoints=place), whole)


SMALLEST = RunConfig(model="mlp", layers=(4,), epochs=3, batch_size=72, p_drop=0.5)
STEPS = 9


@functools.cache
def uninterrupted() -> tuple[DataSet, RunResult]:
    generator = np.random.default_rng(0)
    images, labels = generator.integers(0, 256, (330, 1, 4, 4)).astype(np.uint8), np.arange(330) % 3
    data = DataSet("random", images[:240], labels[:240], images[240:], labels[240:], ("a", "b", "c"))
    whole = train(SMALLEST, data)
    assert whole.cost["steps"] == STEPS
    return data, whole


@settings(max_examples=8, deadline=None, derandomize=True)
@given(places=st.sets(st.integers(1, STEPS), max_size=4))
def test_where_and_how_often_it_is_stopped_makes_no_difference(places):
    data, whole = uninterrupted()
    with tempfile.TemporaryDirectory() as folder:
        place = Checkpoints(Path(folder), NEVER)
        for before, after in itertools.pairwise([0, *sorted(places)]):
            stopped(SMALLEST, data, place, after - before)
        check_same(train(SMALLEST, data, checkpoints=place), whole)


def test_the_cost_of_all_parts_adds_up_and_the_epochs_of_before_are_told(tmp_path):
    data, _ = uninterrupted()
    place, first, second = Checkpoints(tmp_path, 0), [], []
    turns = training(SMALLEST, data, on_epoch=first.append, checkpoints=place)
    for _ in range(5):
        next(turns)
    began = datetime.now(UTC)
    turns.close()
    tensors, about = read_tensors(checkpoints.path_of(tmp_path, SMALLEST.run_id))
    about["state"] = together(tensors, about["state"], CPU) | {"seconds": 1000.0}
    about["state"]["run"]["before"]["epoch_seconds"] = 500.0
    tensors, about["state"] = apart(about["state"])
    write_tensors(checkpoints.path_of(tmp_path, SMALLEST.run_id), tensors, about)
    result = train(SMALLEST, data, on_epoch=second.append, checkpoints=place)
    assert [record.epoch for record in first] == [1]
    assert second == list(result.epochs)
    assert second[0] == first[0]
    assert result.epochs[1].seconds > 500 > result.epochs[2].seconds
    assert result.cost["train_seconds"] > 500
    assert result.cost["seconds"] > 1000
    assert datetime.fromisoformat(result.where["started_at"]) <= began


@pytest.mark.parametrize("stop", [3, 4])
def test_steps_of_graphs_go_on_too(stop, blobs, monkeypatch):
    """By the tape, which holds what a CUDA graph holds; numba's kernels cannot be seen by it."""
    monkeypatch.setattr(compiled, "takes", lambda tensor: False)
    config = RunConfig(**{**CNN, "epochs": 3, "augment": "flip"})

    def begun() -> Run:
        run = Run.prepare(config, blobs, CPU)
        run.steps = GraphSteps(run.step, len(run.parts.drawn), CPU, TapeLane(), warm_up=1)
        return run

    whole = begun()
    expected = [to_its_end(whole.train_epoch())[:2] for _ in range(3)]
    first = begun()
    for _ in range(done := stop // first.steps_per_epoch):
        to_its_end(first.train_epoch())
    part = first.train_epoch()
    for _ in range(stop % first.steps_per_epoch):
        next(part)
    second = begun()
    restore(second, together(*map(copy.deepcopy, apart(state_of(first))), CPU))
    assert [to_its_end(second.train_epoch())[:2] for _ in range(done, 3)] == expected[done:]
    for name, values in whole.weights().items():
        assert torch.equal(values, second.weights()[name])


def path_in(folder: Path) -> Path:
    return checkpoints.path_of(folder, SMALLEST.run_id)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def with_a_changed_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)


def of_another_run(path: Path) -> None:
    data, _ = uninterrupted()
    other = SMALLEST.replace(seed=1)
    stopped(other, data, Checkpoints(path.parents[1]), 1)
    checkpoints.path_of(path.parents[1], other.run_id).rename(path)


def changed(**values):
    def change(path: Path) -> None:
        tensors, about = read_tensors(path)
        write_tensors(path, tensors, {**about, **values})

    return change


def without_a_tensor(path: Path) -> None:
    tensors, about = read_tensors(path)
    tensors.pop(next(iter(tensors)))
    write_tensors(path, tensors, about)


def of_other_layers(path: Path) -> None:
    tensors, about = read_tensors(path)
    write_tensors(path, {name: torch.zeros(7) for name in tensors}, about)


FAULTS = {
    "truncated": truncated,
    "empty": emptied,
    "a folder": a_folder,
    "with a changed byte": with_a_changed_byte,
    "of another run": of_another_run,
    "of other data": changed(data="0" * 16),
    "of another version": changed(dropbench="0.0.1"),
    "of another torch": changed(torch="1.0"),
    "of another form": changed(format=0),
    "of a GPU": changed(device="cuda"),
    "without its state": changed(state=None),
    "without a tensor": without_a_tensor,
    "of other layers": of_other_layers,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_checkpoint_that_cannot_be_used_is_told_of_and_passed_over(fault, tmp_path, told):
    data, whole = uninterrupted()
    place = Checkpoints(tmp_path, NEVER)
    stopped(SMALLEST, data, place, 4)
    assert place.going_on([SMALLEST], CPU) == [SMALLEST]
    FAULTS[fault](path_in(tmp_path))
    begun = []
    check_same(train(SMALLEST, data, on_epoch=begun.append, checkpoints=place), whole)
    assert len(begun) == 3
    (sentence,) = told
    assert f"checkpoint of run {SMALLEST.run_id} is passed over, and the run begins anew" in sentence
    assert "None." not in sentence
    read_from_outside = fault in (
        "with a changed byte",
        "without its state",
        "without a tensor",
        "of other layers",
    )
    assert place.going_on([SMALLEST], CPU) == ([SMALLEST] if read_from_outside else [])


def test_other_threads_go_on_and_are_told_of(tmp_path, told):
    data, whole = uninterrupted()
    place = Checkpoints(tmp_path, NEVER)
    stopped(SMALLEST, data, place, 4)
    torch.set_num_threads(2)
    result = train(SMALLEST, data, checkpoints=place)
    assert result.epochs[0].train_loss == whole.epochs[0].train_loss
    assert result.cost["steps"] == STEPS
    (sentence,) = told
    assert "`threads=2` that began with `threads=1`" in sentence


def test_where_nothing_can_be_written_this_is_told_once_and_the_runs_go_on(tmp_path, told):
    data, whole = uninterrupted()
    place = Checkpoints(tmp_path / "absent", 0)
    check_same(train(SMALLEST, data, checkpoints=place), whole)
    train(SMALLEST.replace(seed=1), data, checkpoints=place)
    (sentence,) = told
    assert "Checkpoints are not written" in sentence
    assert not place.folder.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits are those of POSIX")
def test_a_full_disk_costs_no_run_and_leaves_the_last_checkpoint_whole(tmp_path, told):
    import resource

    data, whole = uninterrupted()
    place = Checkpoints(tmp_path, 0)
    stopped(SMALLEST, data, place, 4)
    before, limits = path_in(tmp_path).read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        check_same(train(SMALLEST, data, checkpoints=place), whole)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (sentence,) = told
    assert "Checkpoints are not written" in sentence
    assert "File too large" in sentence
    assert path_in(tmp_path).read_bytes() == before
    assert list(path_in(tmp_path).parent.iterdir()) == [path_in(tmp_path)]


def test_what_no_file_can_hold_is_told_and_ends_no_run(tmp_path, told):
    class Odd(torch.nn.Linear):
        def get_extra_state(self) -> object:
            return object()

    with pytest.raises(DropbenchError, match="state/model/tensors/_extra_state is of the type object"):
        apart({"model": model_state.state_of(Odd(1, 1))})
    place = Checkpoints(tmp_path)
    Checkpoint(place, SMALLEST, CPU).write(object)
    (sentence,) = told
    assert "which no file of states holds" in sentence


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("every", "takes", "expected"),
    [(60.0, 0.0, [60, 120, 180]), (0.0, 0.5, [*range(0, 200, 10)]), (10.0, 1.0, [10, 50, 100, 150])],
    ids=["a minute", "all", "where writing is slow"],
)
def test_a_state_is_written_so_often(every, takes, expected, tmp_path, monkeypatch):
    """Unless all is asked for, writing takes no more than its share of the time, here one in fifty."""
    monkeypatch.setattr(module, "perf_counter", clock := Clock())

    def state() -> dict[str, int]:
        clock.now += takes
        return {}

    checkpoint, found = Checkpoint(Checkpoints(tmp_path, every), SMALLEST, CPU), []
    for second in range(0, 200, 10):
        clock.now = max(clock.now, 100.0 + second)
        if checkpoint.is_due:
            found.append(second)
            checkpoint.write(state)
    assert found == expected


def test_without_a_place_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, _ = uninterrupted()
    turns = training(SMALLEST, data)
    next(turns)
    turns.close()
    assert list(tmp_path.iterdir()) == []


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_stacked_runs_go_on_in_a_stack_and_alone(precision, tmp_path):
    data, _ = uninterrupted()
    configs = [SMALLEST.replace(seed=seed, epochs=2 + seed, precision=precision) for seed in range(4)]
    whole = {run.config.run_id: run for run in train_stacked(configs, data, slots=3)}

    def until(count: int):
        heard = itertools.count(1)

        def on_progress(slot, config, record):
            if next(heard) == count:
                raise StoppedError

        return on_progress

    place = Checkpoints(tmp_path, 0)
    with pytest.raises(StoppedError):
        list(train_stacked(configs, data, slots=3, on_progress=until(6), checkpoints=place))
    begun = checkpoints.run_ids(tmp_path)
    assert 2 <= len(begun) <= 3
    state = checkpoints.path_of(tmp_path, configs[2].run_id).read_bytes()
    alone = train(configs[2], data, checkpoints=place)
    assert alone.metrics["test_nll"] == pytest.approx(whole[configs[2].run_id].metrics["test_nll"], rel=1e-3)
    checkpoints.path_of(tmp_path, configs[2].run_id).write_bytes(state)
    heard = []
    for result in train_stacked(
        configs, data, slots=3, on_progress=lambda *each: heard.append(each), checkpoints=place
    ):
        check_same(result, whole[result.config.run_id])
    told_of = [record.epoch for _, config, record in heard if config == configs[2] and record]
    assert told_of == [1, 2, 3, 4]


def test_a_stack_takes_no_run_within_an_epoch_and_evaluates_one_that_had_ended(tmp_path, told):
    data, _ = uninterrupted()
    place, configs = Checkpoints(tmp_path, 0), [SMALLEST.replace(seed=seed) for seed in range(2)]
    expected = {run.config.run_id: run for run in train_stacked(configs, data)}
    stopped(configs[0], data, place, 4)
    alone = train(configs[1], data, checkpoints=place)  # its checkpoint is of its last epoch
    anew, ended = train_stacked(configs, data, checkpoints=place)
    if anew.config != configs[0]:
        anew, ended = ended, anew
    check_same(anew, expected[configs[0].run_id])
    check_same(ended, alone)
    assert ended.epochs == alone.epochs
    (sentence,) = told
    assert "midst of an epoch" in sentence


tensors = st.sampled_from([torch.ones(2, 3), torch.zeros(()), torch.ones(2, dtype=torch.bfloat16)])
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | tensors
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


def equal(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and all(
            equal(key, key_) and equal(value, value_)
            for (key, value), (key_, value_) in zip(one.items(), other.items(), strict=True)
        )
    if isinstance(one, list | tuple):
        return type(one) is type(other) and all(map(equal, one, other)) and len(one) == len(other)
    return type(one) is type(other) and one == other


@settings(max_examples=25, deadline=None, derandomize=True)
@given(tree=trees)
def test_any_tree_comes_together_again(tree):
    parts, form = apart(tree)
    assert equal(together(parts, json.loads(json.dumps(form)), CPU), tree)
