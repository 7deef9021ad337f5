"""A step that a graph can hold gives what a step done eagerly gives, to the last bit.

Kernels of numba cannot be seen by the tape, so torch's own operations do their work here, as on CUDA.
"""

import contextlib
import inspect
import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from engine.made import REGRESSION, made
from engine.tape import Tape, TapeLane, recorded
from engine.test_engine import numbers

from dropbench.catalog.dropouts import VARIANTS
from dropbench.catalog.models import RECIPES
from dropbench.dropout.control import schedule_strength
from dropbench.engine import graph, loss_scale
from dropbench.engine import run as engine
from dropbench.engine.epoch import EagerSteps, GraphSteps, steps_of
from dropbench.engine.graph import WARM_UP, Graphs, _tell, captured
from dropbench.engine.run import Run
from dropbench.engine.train import train, training
from dropbench.engine.turns import side_by_side, to_its_end
from dropbench.experiments.workbench import Workbench
from dropbench.kernels import compiled
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.runners import base

CPU = torch.device("cpu")
MLP = {"model": "mlp", "layers": (16, 16), "p_drop": 0.5, "p_drop_input": 0.2}
NETS = {
    "mlp": MLP,
    "lecture-cnn": {"width": 0.05, "p_drop": 0.5, "p_drop_input": 0.1, "p_drop_conv": 0.25},
    "paper-cnn": {"width": 0.05, "p_drop": 0.5, "p_drop_input": 0.1, "p_drop_conv": 0.25},
    "autoencoder": {"layers": (16,), "p_drop": 0.5, "p_drop_input": 0.2, "tied": True},
}
ALL_OF_A_STEP: list[dict[str, object]] = [
    {"joint": True},
    {"l1": 1e-4},
    {"kl_sparsity": 1e-2},
    {"max_norm": 0.5, "weight_decay": 1e-3},
    {"max_norm": 0.5, "precision": "bf16"},
    {"momentum": 0.0},
    {"snapshots": 2},
    {"thinned": True},
    {"convention": "weight-scaling"},
    {"activation": "maxout"},
    {"activation": "logistic", "precision": "bf16"},
    {"p_drop": 0.0, "p_drop_input": 0.0},
    {"p_drop": 1e-4},
    {"batch_size": 72},
    {"augment": "flip,crop"},
    {"augment": "crop", "joint": True, "precision": "bf16"},
    {"augment": "flip", "p_drop": 0.0, "p_drop_input": 0.0},
    {"clip_norm": 0.1, "label_smoothing": 0.1},
    {"clip_norm": 0.1, "precision": "bf16"},
    {"optimizer": "adamw", "clip_norm": 0.1, "max_norm": 0.5},
    {"optimizer": "muon", "precision": "bf16", "label_smoothing": 0.1},
    {"precision": "fp16", "max_norm": 0.5, "clip_norm": 0.1},
    {"optimizer": "adamw", "precision": "fp16", "max_norm": 0.5},
    {"optimizer": "muon", "precision": "fp16"},
]
"""Settings of the mlp that change what is done in a step."""


def of_variant(variant: str) -> dict[str, object]:
    """The settings of a run with a variant; standout drops no pixels."""
    fields: dict[str, object] = {"dropout": variant, "activation": VARIANTS[variant].activation or "relu"}
    return fields | ({"p_drop_input": 0.0} if variant == "standout" else {})


@pytest.fixture(autouse=True)
def _by_torch():
    with compiled.switched_off():
        yield


def config(**fields: object) -> RunConfig:
    """Three steps an epoch, of which the last has fewer images."""
    return RunConfig(**{"epochs": 4, "batch_size": 80, "precision": "fp32", **fields})


def taped(config: RunConfig, data, warm_up: int = 1, lane: TapeLane | None = None) -> tuple[Run, TapeLane]:
    run, lane = Run.prepare(config, data, CPU), lane or TapeLane()
    run.steps = GraphSteps(run.step, len(run.parts.drawn), CPU, lane, warm_up)
    return run, lane


def state(run: Run) -> dict[str, torch.Tensor]:
    """All that the next step depends on, and the net as it is measured."""
    found = {f"master {name}": value for name, value in run.weights().items()}
    found |= {f"parameter {name}": value.detach().clone() for name, value in run.model.named_parameters()}
    for number, entry in enumerate(getattr(run.optimizer, "_entries", ())):
        found[f"velocity {number}"] = entry.weights.velocity.clone()
    if (scale := run.optimizer.loss_scale) is not None:
        found |= {name: getattr(scale, name).clone() for name in ("scale", "good_steps", "overflows")}
    positions = [stream.position for stream in run.step.streams]
    return found | {"positions": torch.tensor(positions)}


def assert_equal_after_epochs(ours: Run, eager: Run, epochs: int = 4) -> None:
    for _ in range(epochs):
        figures, expected = to_its_end(ours.train_epoch())[:2], to_its_end(eager.train_epoch())[:2]
        assert np.array_equal(figures, expected, equal_nan=True)
        one, other = state(ours), state(eager)
        assert one.keys() == other.keys()
        assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


def assert_replays_equal_eager_steps(data, **fields: object) -> None:
    """Twelve steps: of each kind the first is done eagerly, and the others are replays of one recording."""
    settings = config(**fields)
    (replayed, lane), eager = taped(settings, data), Run.prepare(settings, data, CPU)
    assert isinstance(eager.steps, EagerSteps)
    assert_equal_after_epochs(replayed, eager)
    assert lane.recorded == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("net", RECIPES)
def test_replays_are_eager_steps(net, precision, blobs):
    assert_replays_equal_eager_steps(blobs, **{"model": net, **NETS[net]}, precision=precision)


@pytest.mark.parametrize(
    "fields",
    [{}, {"precision": "bf16", "max_norm": 0.5}, {"dropout": "concrete", "l1": 1e-4}],
    ids=["plain", "bf16", "penalties"],
)
def test_replays_are_eager_steps_of_a_regression(fields):
    assert_replays_equal_eager_steps(made(), **{**REGRESSION, "p_drop": 0.5, "batch_size": 100, **fields})


@pytest.mark.parametrize("variant", VARIANTS)
def test_replays_are_eager_steps_with_every_variant(variant, blobs):
    assert_replays_equal_eager_steps(blobs, **MLP | of_variant(variant), precision="bf16")


@pytest.mark.parametrize("variant", [name for name, each in VARIANTS.items() if each.of_maps])
def test_replays_are_eager_steps_with_variants_of_maps(variant, blobs):
    assert_replays_equal_eager_steps(blobs, **NETS["lecture-cnn"], dropout=variant)


@pytest.mark.parametrize("fields", ALL_OF_A_STEP, ids=str)
def test_replays_are_eager_steps_with_all_that_a_step_may_do(fields, blobs):
    settings = config(**{**MLP, **fields})
    (replayed, lane), eager = taped(settings, blobs), Run.prepare(settings, blobs, CPU)
    assert_equal_after_epochs(replayed, eager)
    assert lane.recorded == 1 + (settings.optimizer.batch_size == 80)
    for one, other in itertools.zip_longest(replayed.snapshots, eager.snapshots):
        assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_replays_skip_the_steps_that_overflow(blobs, monkeypatch):
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**26)
    settings = config(**MLP, precision="fp16", max_norm=0.5)
    (replayed, _), eager = taped(settings, blobs), Run.prepare(settings, blobs, CPU)
    assert_equal_after_epochs(replayed, eager)
    assert 2 < replayed.overflowed_steps < replayed.steps_done


@pytest.mark.parametrize(
    ("fields", "recorded"),
    [
        # Where the strength of an epoch is new, its three steps are two of one kind and one of another.
        ({"dropout_schedule": "ramp", "cutoff_epoch": 3}, 4),
        ({"dropout_schedule": "early", "cutoff_epoch": 2}, 4),
        ({"dropout_schedule": "late", "cutoff_epoch": 1}, 3),
    ],
    ids=str,
)
def test_a_step_is_recorded_again_where_the_drop_probability_changes(fields, recorded, blobs):
    settings = config(**MLP, **fields)
    (replayed, lane), eager = taped(settings, blobs), Run.prepare(settings, blobs, CPU)
    assert_equal_after_epochs(replayed, eager)
    assert lane.recorded == recorded
    assert lane.forgotten == len({schedule_strength(settings, epoch) for epoch in range(1, 5)})


@pytest.mark.parametrize(
    "fields",
    [
        {"patience": 1, "learning_rate": 2.0, "p_drop": 0.5, "mc_samples": 2},
        {"snapshots": 2, "bootstrap": True, "precision": "bf16"},
        {"dropout": "concrete", "p_drop": 0.5, "dropout_schedule": "late", "cutoff_epoch": 1},
    ],
    ids=["patience", "snapshots", "learned"],
)
def test_a_whole_run_by_replays_has_the_result_of_an_eager_one(fields, blobs, monkeypatch):
    settings, lane = config(model="mlp", layers=(16,), **fields), TapeLane()
    eager = train(settings, blobs)
    monkeypatch.setattr(
        engine, "steps_of", lambda step, images, device, graph: GraphSteps(step, images, device, lane, 1)
    )
    replayed = train(settings, blobs)
    assert lane.recorded > 0
    assert numbers(replayed) == numbers(eager)
    assert replayed.predictions.keys() == eager.predictions.keys()
    for name, array in replayed.predictions.items():
        assert np.array_equal(array, eager.predictions[name])


def test_runs_that_are_advanced_side_by_side_are_as_alone(blobs):
    settings = [config(**MLP, seed=seed) for seed in range(2)]
    together, alone = ([taped(each, blobs)[0] for each in settings] for _ in range(2))
    for _ in range(3):
        works = iter([run.epoch() for run in together])
        records = list(side_by_side(lambda may_wait, works=works: next(works, None), 2))
        assert [each.val_loss for each in records] == [to_its_end(run.epoch()).val_loss for run in alone]


def test_the_first_steps_of_a_kind_are_done_eagerly(blobs):
    """Three, as warm-up: the whole batches of an epoch and a half, and the last ones of three."""
    (run, lane), recorded = taped(config(**MLP), blobs, WARM_UP), []
    for _ in range(4):
        to_its_end(run.train_epoch())
        recorded.append(lane.recorded)
    assert recorded == [0, 1, 1, 2]


# A step that cannot be recorded


class Torn(TapeLane):
    """Finds out only in a step that it cannot be recorded, as CUDA does: at a certain layer's product."""

    def __init__(self, product: int) -> None:
        super().__init__()
        self.product = product
        self.tried = 0

    def record(self, step: Callable[[], None]) -> Callable[[], None]:
        self.tried += 1
        products = recorded(step).places_of(torch.ops.aten.addmm.default)
        assert len(products) == 6
        return recorded(step, torn_at=products[self.product]).replay


@pytest.fixture
def _untold():
    """Reasons are told once in a process."""
    _tell.cache_clear()
    yield
    _tell.cache_clear()


@pytest.mark.usefixtures("_untold")
@pytest.mark.parametrize("product", range(6))
def test_a_run_whose_steps_cannot_be_recorded_goes_on_eagerly_and_says_so(product, blobs, told):
    """Boosting has two passes in a step, the second in eval mode."""
    settings = config(**MLP, joint=True, max_norm=1.0, kl_sparsity=1e-3)
    lane, eager = Torn(product), Run.prepare(settings, blobs, CPU)
    torn, _ = taped(settings, blobs, lane=lane)
    assert_equal_after_epochs(torn, eager)
    assert lane.tried == 1
    assert told == ["A step cannot be held by a CUDA graph (The tape is torn.); steps are done one by one."]


def test_other_errors_are_not_hidden():
    """Neither those of another kind, nor those of the step itself."""
    graphs, errors = Graphs(TapeLane(), 0), iter([KeyError("a bug"), *[RuntimeError("of the step")] * 2])

    def step() -> None:
        raise next(errors)

    with pytest.raises(KeyError, match="a bug"):
        graphs.do(0, step)
    with pytest.raises(RuntimeError, match="of the step"):
        graphs.do(0, step)


class Capture(contextlib.AbstractContextManager):
    """Stands in for torch.cuda.graph, which fails once more when a capture that failed ends."""

    def __init__(self, graph: object, pool: object, stream: object) -> None:
        pass

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            raise RuntimeError("a capture that failed was ended")


@pytest.mark.parametrize("error", [RuntimeError("the reason"), KeyError("a bug"), KeyboardInterrupt("stop")])
def test_a_capture_that_fails_tells_what_failed_in_it(error, monkeypatch):
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
    monkeypatch.setattr(graph, "_waits_raise", contextlib.nullcontext)  # a setting of CUDA
    monkeypatch.setattr(graph._Captures, "broken", False)

    def step() -> None:
        raise error

    with pytest.raises(type(error), match=str(error.args[0])):
        captured(step, None)
    assert graph._Captures.broken


def test_where_no_lane_records_any_more_steps_are_done_one_by_one():
    """Also those that were recorded before: torch may refuse to replay them."""
    lane, done = TapeLane(), torch.zeros(())
    graphs = Graphs(lane, 0)
    graphs.do(0, lambda: done.add_(1))
    lane.records = False
    for kind in (0, 1):
        graphs.do(kind, lambda: done.add_(10))
    assert (done.item(), lane.recorded) == (21, 1)


# The tape


@pytest.mark.parametrize(
    "wait",
    [
        lambda values: values.sum().item(),
        lambda values: bool(values.any()),
        lambda values: values[values > 0],
        lambda values: values.nonzero(),
        lambda values: values + torch.tensor(0.5),
        lambda values: torch.equal(values, values),
    ],
)
def test_a_tape_refuses_what_waits_for_the_device(wait):
    with pytest.raises(RuntimeError, match="waits"), Tape():
        wait(torch.arange(5.0))


def test_a_tape_does_nothing_until_it_is_replayed_and_holds_numbers_as_they_were():
    values, factor, number, tape = torch.ones(3), torch.tensor(2.0), 10.0, Tape()

    def step() -> None:
        new = values[1:] * factor + number
        values[:2].copy_(new)

    with tape:
        step()
    tape.undo()
    assert values.tolist() == [1, 1, 1]
    number = 20.0
    factor.fill_(3.0)
    tape.replay()
    assert values.tolist() == [13, 13, 1]
    tape.replay()
    assert values.tolist() == [49, 13, 1]


# Which runs are graphs


@pytest.mark.parametrize(
    ("fields", "device", "graph"),
    [
        ({}, "cpu", True),
        ({}, "cuda", False),
        ({"model": "user_code.net:Own"}, "cuda", True),
        ({"dropout": "user_code.noise:Own"}, "cuda", True),
        ({"optimizer": "torch.optim:NAdam"}, "cuda", True),
    ],
    ids=["on the CPU", "not wanted", "own model", "own dropout", "an optimizer that counts on the host"],
)
def test_steps_are_done_one_by_one_where_no_graph_is_to_hold_them(fields, device, graph, blobs):
    run = Run.prepare(config(**MLP), blobs, CPU)
    step = replace(run.step, config=config(**{**MLP, "layers": ()} | fields) if fields else run.config)
    assert isinstance(steps_of(step, 216, torch.device(device), graph), EagerSteps)


def test_whether_graphs_are_wanted_goes_from_the_command_line_to_the_run(blobs, monkeypatch):
    wanted = []

    def spy(*given):
        wanted.append(inspect.signature(training).bind(*given))
        yield from ()

    monkeypatch.setattr(base, "training", spy)
    for machine in (Machine(device="cpu"), Machine(device="cpu", graph=False)):
        bench = Workbench.set_up(blobs, machine)
        run = bench.bind([RunConfig(**MLP)])[0]
        to_its_end(base.turns_of_run(run, CPU, bench.extras, lambda record: None))
    assert [call.arguments["graph"] for call in wanted] == [True, False]
