"""torch.compile over several runs of one process; its graphs run on backends that need no C++ compiler."""

import functools

import pytest
import torch
from engine.made import REGRESSION, made
from engine.test_engine import small
from torch import nn
from torch._dynamo.utils import counters

from dropbench.datasets.dataset import DataSet
from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.control import set_streams
from dropbench.engine import compiling
from dropbench.engine.compiling import compiled_for
from dropbench.engine.train import train
from dropbench.run.config import RunConfig
from dropbench.run.result import RunResult

pytestmark = pytest.mark.filterwarnings("ignore:Guards may run slower")  # torch's, on some releases of Python


@pytest.fixture(autouse=True)
def compile_by(monkeypatch):
    """A function that sets the backend of torch.compile, for this test.

    At first it is one that divides the work into a forward and a backward graph, but translates neither.
    """

    def choose(backend: str) -> None:
        monkeypatch.setattr(torch, "compile", functools.partial(compile, backend=backend))

    compile = torch.compile
    choose("aot_eager_decomp_partition")
    torch._dynamo.reset()
    counters.clear()
    yield choose
    torch._dynamo.reset()


def graphs() -> int:
    """How many graphs were made since the start of the test."""
    return counters["stats"]["unique_graphs"]


def check_numbers(compiled: RunResult, config: RunConfig, data: DataSet, rounding: float = 1e-5) -> None:
    """The run has the numbers of the same run without torch.compile: the same masks, rounded otherwise."""
    for ours, theirs in zip(compiled.epochs, train(config, data).epochs, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=rounding)
        assert ours.val_loss == pytest.approx(theirs.val_loss, rel=rounding)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_regression_has_the_numbers_of_one_that_is_not(precision):
    config = RunConfig(**REGRESSION, epochs=2, batch_size=100, p_drop=0.3, precision=precision)
    result = train(config, made(), compiled=True)
    assert graphs() == 2
    check_numbers(result, config, made(), 1e-5 if precision == "fp32" else 1e-2)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_runs_of_one_shape_share_a_graph_for_each_size_of_batch(blobs, precision):
    settings: list[dict[str, object]] = [
        {},
        {"p_drop": 0.001},  # decided by 32 bits instead of 16
        {"convention": "weight-scaling"},
        {"dropout_schedule": "early", "cutoff_epoch": 1},
        {"dropout_schedule": "late", "cutoff_epoch": 1},
        {"max_norm": 2.0, "learning_rate": 0.01},
    ]
    for seed, others in enumerate(settings):
        common = {"p_drop": 0.5, "p_drop_input": 0.2, "epochs": 2, "seed": seed, "precision": precision}
        config = small(**{**common, **others})
        compiled = train(config, blobs, compiled=True)
        assert compiled.cost["compile_seconds"] > 0
        check_numbers(compiled, config, blobs, 1e-5 if precision == "fp32" else 1e-2)
    assert graphs() == 2
    assert not counters["graph_break"]


@pytest.mark.parametrize("model", ["lecture-cnn", "paper-cnn", "autoencoder"])
def test_every_net_is_one_graph(blobs, model, compile_by):
    compile_by("eager")
    shape = {"layers": (8,)} if model == "autoencoder" else {"width": 0.1}
    for seed, p in (0, 0.5), (1, 0.2):
        config = RunConfig(model=model, **shape, p_drop=p, epochs=1, batch_size=72, seed=seed)
        check_numbers(train(config, blobs, compiled=True), config, blobs)
    assert graphs() == 1


def test_graphs_of_former_nets_make_room(blobs, monkeypatch, told):
    monkeypatch.setattr(compiling, "LIMIT", 2)
    for units in 8, 16, 8:
        config = small(layers=(units,), p_drop=0.5, epochs=1)
        compiled = train(config, blobs, compiled=True)
        check_numbers(compiled, config, blobs)
        assert compiled.cost["compile_seconds"] > 0
    assert graphs() == 6
    assert not told


def test_a_net_with_too_many_graphs_is_trained_uncompiled_and_that_is_told(blobs, monkeypatch, told):
    monkeypatch.setattr(compiling, "LIMIT", 1)
    config = small(p_drop=0.5, epochs=1)
    compiled = train(config, blobs, compiled=True)
    check_numbers(compiled, config, blobs)
    assert compiled.cost["compile_seconds"] == 0
    assert len(told) == 1


class Counting(nn.Module):
    """A net that torch compiles anew for each pass, halfway through which a buffer has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout, self.passes = nn.BatchNorm1d(5), BernoulliDropout(0.5), 0
        set_streams(self, "mask", 0, 0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        units = self.dropout(self.norm(images))
        torch._dynamo.graph_break()
        return self.scaled(units)

    def scaled(self, units: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return units * self.passes


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch looks at what passes between graphs
def test_a_net_that_turns_out_later_to_have_too_many_graphs_goes_on_uncompiled(monkeypatch, told):
    monkeypatch.setattr(compiling, "LIMIT", 3)
    images = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    ours, theirs = Counting(), Counting()
    compiled = compiled_for(ours, [images], "fp32")
    ours.passes = 0
    assert compiled.seconds > 0
    for _ in range(6):
        torch.testing.assert_close(compiled(images), theirs(images))
        torch.testing.assert_close(ours.norm.running_mean, theirs.norm.running_mean)
    assert compiled.seconds == 0
    assert len(told) == 1


class Twice(nn.Module):
    """A net that drops the same units twice, by different masks."""

    def __init__(self) -> None:
        super().__init__()
        self.factor, self.dropout = nn.Parameter(torch.tensor(3.0)), BernoulliDropout(0.5)
        set_streams(self, "mask", 0, 0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        units = self.factor * images
        return self.dropout(units).sin() * self.dropout(units).sin()


def test_every_draw_of_a_graph_is_made_once_and_no_two_are_taken_for_one():
    """Forward and backward have the same masks; without care, a graph may draw again what it could keep."""
    images = torch.randn(50, 50, generator=torch.Generator().manual_seed(0))
    ours, theirs = Twice(), Twice()
    compiled = compiled_for(ours, [images], "fp32")
    for _ in range(2):
        outputs = [net(images) for net in (compiled, theirs)]
        torch.testing.assert_close(*outputs)
        for output in outputs:
            output.sum().backward()
        torch.testing.assert_close(ours.factor.grad, theirs.factor.grad)
    assert ours.dropout.stream.position == theirs.dropout.stream.position == 4
