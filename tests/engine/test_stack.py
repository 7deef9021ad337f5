"""On the CPU stacked runs have the numbers that they have alone, whatever slots and neighbours they have."""

import functools
from contextlib import nullcontext
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from engine.tape import TapeLane

from dropbench.datasets.dataset import DataSet
from dropbench.engine.optim import SGD
from dropbench.engine.stack import stack_of, train_stacked
from dropbench.engine.stacked_layer import Layer, Parameter
from dropbench.engine.train import train
from dropbench.kernels import compiled
from dropbench.kernels.stacked_sgd import Settings
from dropbench.run.config import RunConfig

SIDE = 8


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=[1, 3], ids=["grey", "colour"])
def tiles(request) -> DataSet:
    return tiles_in(request.param)


@functools.cache
def tiles_in(channels: int) -> DataSet:
    """Sixteen classes of images, each bright in a tile of its own.

    torch's own step of SGD rounds the last few elements of a tensor in another way where their number is
    not a multiple of a processor's vector, so the output layer has sixteen units.
    """
    generator = np.random.default_rng(5)

    def make(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 16
        images = generator.integers(0, 120, (count, channels, SIDE, SIDE))
        for label in range(16):
            rows, columns = label // 4 * 2, label % 4 * 2
            images[labels == label, :, rows : rows + 2, columns : columns + 2] += 130
        return images.astype(np.uint8), labels.astype(np.int64)

    return DataSet("tiles", *make(320), *make(96), classes=tuple("abcdefghijklmnop"))


def config(**settings) -> RunConfig:
    defaults = {"data": "tiles", "model": "mlp", "layers": (16, 32), "epochs": 2, "batch_size": 32}
    return RunConfig(**{**defaults, **settings})


def diverse(**settings) -> list[RunConfig]:
    """Runs of one stack that differ in all that they may differ in."""
    base = config(**settings)
    return [
        base.replace(p_drop=0.5),
        base.replace(seed=1, p_drop=0.1, learning_rate=0.05, convention="weight-scaling", mc_samples=2),
        base.replace(seed=2, p_drop=0.0003, max_norm=1.0, weight_decay=0.1, momentum=0.5),  # 32 bits
        base.replace(member=1, bootstrap=True, epochs=3, learning_rate_schedule="cosine"),
        base.replace(p_drop=0.3, dropout_schedule="late", epochs=3),
        base.replace(p_drop=0.4, dropout_schedule="ramp", epochs=4, patience=1, init="he", pixels="unit"),
    ]


@functools.cache
def sums_are_the_same_here() -> bool:
    """Whether this processor rounds slices of products and of updates as it does one alone."""
    generator = torch.Generator().manual_seed(0)
    units, weight, bias = (
        torch.randn(shape, generator=generator) for shape in ((2, 32, 64), (2, 16, 64), (2, 1, 16))
    )
    same = True
    for dtype in (torch.float32, torch.bfloat16):
        x, w, b = units.to(dtype), weight.to(dtype), bias.to(dtype)
        of_both = torch.baddbmm(b, x, w.transpose(1, 2))
        same &= all(torch.equal(of_both[run], F.linear(x[run], w[run], b[run, 0])) for run in range(2))
    ours = Parameter(weight, weight.shape, half=False, is_weight=True)
    ours.master.data.copy_(weight)
    layer = torch.nn.Linear(64, 16, bias=False)
    layer.weight.data.copy_(weight[1])
    theirs = SGD(layer, 0.9, 0.1, 1.0)
    for _ in range(3):
        gradient = torch.randn(weight.shape, generator=generator)
        layer.weight.grad = gradient[1].clone()
        theirs.step(0.37)
        rates, *numbers = (torch.full((2, 1, 1), number) for number in (0.37, 0.9, 0.1, 1.0))
        ours.step(gradient, rates, Settings(*numbers))
        torch.testing.assert_close(ours.master[1], layer.weight, rtol=1e-5, atol=1e-6)
        same &= torch.equal(ours.master[1], layer.weight)
    return same


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradients_of_a_layer_are_those_of_its_product_and_need_no_copy(dtype):
    layer = Layer(torch.nn.Linear(33, 16), 3, half=dtype == torch.bfloat16)
    generator = torch.Generator().manual_seed(0)
    for part in (layer.weight, layer.bias):
        part.used.data.normal_(generator=generator)
    units = torch.randn(3, 20, 33, generator=generator).to(dtype).requires_grad_()
    weight, bias = layer.weight.used, layer.bias.used
    gradient = torch.randn(3, 20, 16, generator=generator).to(dtype)
    ours = torch.autograd.grad(layer(units), (units, weight, bias), gradient)
    theirs = torch.autograd.grad(
        torch.baddbmm(bias, units, weight.transpose(1, 2)), (units, weight, bias), gradient
    )
    for mine, expected in zip(ours, theirs, strict=True):
        assert mine.is_contiguous()
        if sums_are_the_same_here():
            assert torch.equal(mine, expected)
        torch.testing.assert_close(mine, expected)


def assert_same(ours, theirs):
    exact = sums_are_the_same_here()
    near = functools.partial(pytest.approx, nan_ok=True, **({} if exact else {"rel": 1e-2, "abs": 1e-2}))
    assert (ours.config, ours.status, ours.message) == (theirs.config, theirs.status, theirs.message)
    assert len(ours.epochs) == len(theirs.epochs)
    for mine, alone in zip(ours.epochs, theirs.epochs, strict=True):
        # The mean loss of a batch is added up in another order, from which nothing else follows.
        assert mine.train_loss == pytest.approx(alone.train_loss, rel=1e-6 if exact else 1e-2)
        for name in ("epoch", "train_error_percent", "val_loss", "val_error_percent", "p_drop"):
            expected = getattr(alone, name)
            assert getattr(mine, name) == (expected if exact else near(expected))
    for mine, alone in ((ours.metrics, theirs.metrics), (ours.cost, theirs.cost)):
        assert mine.keys() == alone.keys()
        for name in mine:
            if "second" not in name and "memory" not in name:
                assert mine[name] == (alone[name] if exact else near(alone[name])), name
    assert ours.panel == theirs.panel or not exact
    assert ours.predictions.keys() == theirs.predictions.keys()
    if exact:
        for name, array in theirs.predictions.items():
            np.testing.assert_array_equal(ours.predictions[name], array, err_msg=name)


def by_id(results):
    return {result.config.run_id: result for result in results}


@pytest.mark.parametrize("p_drop_input", [0.0, 0.2])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stack_gives_each_run_its_own_numbers(tiles, precision, p_drop_input):
    """In bf16 the kernels add up in an order of their own, so torch's operations are compared there."""
    runs = diverse(precision=precision, p_drop_input=p_drop_input)
    ood = ("rotated", np.rot90(tiles.test_inputs, axes=(2, 3)).copy())
    with compiled.switched_off() if precision == "bf16" else nullcontext():
        stacked = by_id(train_stacked(runs, tiles, slots=len(runs), panel=True, ood=ood))
        for run in runs:
            assert_same(stacked[run.run_id], train(run, tiles, panel=True, ood=ood))


def test_slots_and_neighbours_change_nothing_and_a_run_that_ends_makes_room():
    tiles, runs = tiles_in(1), diverse()
    expected = by_id(train_stacked(runs, tiles, slots=len(runs)))
    heard = []
    fewer = list(
        train_stacked(
            reversed(runs), tiles, slots=3, on_progress=lambda *of: heard.append((of[0], of[1].run_id, of[2]))
        )
    )
    for result in fewer:
        alone = expected[result.config.run_id]
        assert_same(result, alone)
        assert [each.train_loss for each in result.epochs] == [each.train_loss for each in alone.epochs]
    assert {result.where["stacked"] for result in fewer} == {3}, "the most that there were"
    assert heard[-1][0] == 0, "it shrinks when no run is left"
    for run in runs:
        of_run = [(slot, record) for slot, run_id, record in heard if run_id == run.run_id]
        epochs = expected[run.run_id].epochs
        assert [record and record.epoch for _, record in of_run] == [None, *(e.epoch for e in epochs)]
        # A run changes its slot only when the stack shrinks.
        assert all(before >= after for (before, _), (after, _) in pairwise(of_run))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_steps_that_a_graph_replays_give_the_same_numbers(precision, monkeypatch):
    """Of both sizes of batches, with schedules, runs that come later, and a stack that shrinks."""
    runs, lanes = diverse(precision=precision, p_drop_input=0.2, batch_size=64), []

    def lane(*_):
        lanes.append(TapeLane())
        return lanes[-1]

    with compiled.switched_off():  # the tape does not see kernels of numba
        eager = by_id(train_stacked(runs, tiles_in(1), slots=3))
        monkeypatch.setattr("dropbench.engine.stack._lane", lane)
        monkeypatch.setattr("dropbench.engine.graph.Graphs.__init__.__defaults__", (1,))
        for result in train_stacked(runs, tiles_in(1), slots=3):
            theirs = eager[result.config.run_id]
            assert [each.train_loss for each in result.epochs] == [each.train_loss for each in theirs.epochs]
            assert result.metrics == theirs.metrics
    (lane,) = lanes
    assert lane.forgotten > 0, "the stack shrank"
    assert lane.recorded > 2, "with graphs of both sizes, and then of its new shape"


def test_a_run_is_taken_when_a_slot_is_free():
    taken = []

    def give():
        for run in diverse():
            taken.append(run)
            yield run

    results = train_stacked(give(), tiles_in(1), slots=2)
    assert taken == []
    next(results)
    assert len(taken) == 2


def test_a_run_that_diverges_does_so_alone():
    tiles, base = tiles_in(1), config(epochs=3, p_drop=0.5)
    good, bad = base.replace(seed=1), base.replace(learning_rate=1e30)
    runs = [good, bad, base.replace(seed=2), base.replace(seed=3)]
    kept = [bad.run_id, runs[2].run_id]
    results = by_id(train_stacked(runs, tiles, slots=3, nets=kept))
    assert [run_id for run_id, result in results.items() if result.net] == kept[1:]
    own = train(runs[2], tiles, keep_net=True).net
    for name, array in results[kept[1]].net.weights.items():
        np.testing.assert_allclose(array, own.weights[name], rtol=1e-4, atol=1e-5)
    assert {r.status for i, r in results.items() if i != bad.run_id} == {"ok"}
    assert_same(results[good.run_id], next(train_stacked([good], tiles, slots=1)))
    ours, alone = results[bad.run_id], train(bad, tiles)
    assert (ours.status, ours.message, ours.metrics) == ("diverged", alone.message, {})


def test_the_time_of_an_epoch_is_divided_among_its_runs(monkeypatch):
    clock = iter(range(1_000_000))
    monkeypatch.setattr("dropbench.engine.stack.perf_counter", lambda: float(next(clock)))
    runs = [config(seed=seed) for seed in range(4)]
    for result in train_stacked(runs, tiles_in(1), slots=4):
        assert [each.seconds for each in result.epochs] == [0.25, 0.25]
        assert result.cost["train_seconds"] == 0.5
        assert result.cost["images_per_second"] == 2 * 288 / 0.5


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "lecture-cnn", "layers": None},
        {"activation": "logistic"},
        {"dropout": "gaussian", "p_drop": 0.5},
        {"l1": 0.1},
        {"kl_sparsity": 0.1},
        {"snapshots": 2},
        {"thinned": True, "p_drop": 0.5},
        {"joint": True, "p_drop": 0.5},
        {"random_numbers": "mt19937", "p_drop": 0.5},
    ],
)
def test_what_no_stack_can_train(settings):
    assert stack_of(config(**settings)) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"layers": (16,)},
        {"width": 2},
        {"widened": True},
        {"batch_size": 16},
        {"train_size": 100},
        {"precision": "bf16"},
        {"p_drop_input": 0.1},
        {"data_key": "0" * 16},
    ],
)
def test_runs_of_other_shapes_are_in_other_stacks(settings):
    assert len({stack_of(run) for run in diverse()}) == 1
    assert stack_of(config(p_drop=0.5, **settings)) != stack_of(config(p_drop=0.5))
