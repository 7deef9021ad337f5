"""Steps as CUDA graphs give what steps done eagerly give on the same GPU, to the last bit.

cuDNN may add up the gradient of a convolution in any order, unless it is told not to.
"""

import itertools

import pytest
import torch
from engine.made import REGRESSION, made
from engine.test_graph import ALL_OF_A_STEP, MLP, NETS, assert_equal_after_epochs, config, of_variant
from gpu import waits_raise

from dropbench.catalog.dropouts import VARIANTS
from dropbench.catalog.models import RECIPES
from dropbench.datasets.dataset import DataSet
from dropbench.engine import loss_scale
from dropbench.engine.epoch import EagerSteps, GraphSteps
from dropbench.engine.graph import WARM_UP, _tell
from dropbench.engine.run import Run
from dropbench.engine.tasks import Classify
from dropbench.engine.train import train
from dropbench.engine.turns import to_its_end
from dropbench.kernels import compiled

pytestmark = pytest.mark.cuda


@pytest.fixture(autouse=True)
def _same_sums(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.fixture(autouse=True)
def _untold():
    """Reasons are told once in a process."""
    _tell.cache_clear()


def on_gpu(data: DataSet, graph: bool = True, **fields: object) -> Run:
    """A run on CUDA, in six epochs of which there are warm-up, captures and replays of both kinds."""
    settings = config(**{"epochs": 6, **({} if "model" in fields else MLP), **fields})
    return Run.prepare(settings, data, torch.device("cuda"), graph)


def assert_graphs_are_eager_steps(data: DataSet, told: list[str], **fields: object) -> tuple[Run, Run]:
    graphed, eager = (on_gpu(data, graph, **fields) for graph in (True, False))
    assert (type(graphed.steps), type(eager.steps)) == (GraphSteps, EagerSteps)
    assert_equal_after_epochs(graphed, eager, 6)
    assert told == []
    return graphed, eager


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("net", RECIPES)
def test_graphs_are_eager_steps(net, precision, blobs, told):
    assert_graphs_are_eager_steps(blobs, told, **{"model": net, **NETS[net]}, precision=precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_graphs_are_eager_steps_of_a_regression(precision, told):
    fields = {"p_drop": 0.5, "p_drop_input": 0.2, "batch_size": 100, "max_norm": 1.0, "l1": 1e-4}
    assert_graphs_are_eager_steps(made(), told, **REGRESSION, **fields, precision=precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("net", ["mlp", "lecture-cnn"])
def test_they_are_where_triton_does_not_work(net, precision, blobs, told):
    with compiled.switched_off():
        assert_graphs_are_eager_steps(blobs, told, **{"model": net, **NETS[net]}, precision=precision)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_they_are_with_every_variant(variant, precision, blobs, told):
    assert_graphs_are_eager_steps(blobs, told, **MLP | of_variant(variant), precision=precision)


@pytest.mark.parametrize("variant", VARIANTS)
def test_they_are_with_every_variant_on_maps(variant, blobs, told):
    """But for dropconnect, which drops no weights of a convolution."""
    fields = {"model": "lecture-cnn", **NETS["lecture-cnn"], **of_variant(variant)}
    if variant == "dropconnect":
        fields |= {"p_drop_input": 0.0, "p_drop_conv": 0.0}
    assert_graphs_are_eager_steps(blobs, told, **fields)


@pytest.mark.parametrize("fields", ALL_OF_A_STEP, ids=str)
def test_they_are_with_all_that_a_step_may_do(fields, blobs, told):
    graphed, eager = assert_graphs_are_eager_steps(blobs, told, **MLP | fields)
    for one, other in itertools.zip_longest(graphed.snapshots, eager.snapshots):
        assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_they_skip_the_steps_that_overflow(optimizer, blobs, told, monkeypatch):
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**32)
    fields = {"optimizer": optimizer, "precision": "fp16", "max_norm": 1.0, "clip_norm": 1.0}
    graphed, _ = assert_graphs_are_eager_steps(blobs, told, **MLP | fields)
    assert WARM_UP < graphed.overflowed_steps < graphed.steps_done


@pytest.mark.parametrize("fields", [{}, {"optimizer": "adamw"}, {"optimizer": "muon"}], ids=str)
def test_a_run_in_fp16_learns(fields, blobs):
    settings = config(**NETS["mlp"], **fields, precision="fp16", epochs=10)
    scaled, plain = (train(settings.replace(precision=each), blobs, "cuda") for each in ("fp16", "fp32"))
    assert scaled.status == "ok"
    assert scaled.epochs[-1].val_loss == pytest.approx(plain.epochs[-1].val_loss, abs=0.1)


@pytest.mark.parametrize("schedule", ["ramp", "early", "late"])
def test_they_follow_a_schedule(schedule, blobs, told):
    fields = {"dropout_schedule": schedule, "cutoff_epoch": 3, "batch_size": 16}
    assert_graphs_are_eager_steps(blobs, told, **fields)


@pytest.mark.parametrize("graph", [True, False])
def test_an_epoch_waits_only_at_its_end(graph, blobs):
    run = on_gpu(blobs, graph, snapshots=1)
    for _ in range(5):
        to_its_end(run.train_epoch())
    run.begin_epoch()
    with waits_raise():
        for _ in range(run.steps_per_epoch):
            run.advance()
    run.end_epoch()
    assert len(run.snapshots) == 1


def test_a_step_that_waits_is_done_eagerly(blobs, told, monkeypatch):
    graphed, eager = (on_gpu(blobs, graph) for graph in (True, False))
    wrong = Classify.wrong
    monkeypatch.setattr(
        Classify, "wrong", lambda task, outputs, labels: torch.tensor(wrong(task, outputs, labels).item())
    )
    assert_equal_after_epochs(graphed, eager)
    assert len(told) == 1
