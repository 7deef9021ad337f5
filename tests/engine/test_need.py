"""What a run takes of a GPU: the operations are those that torch counts, and more of a run takes more."""

import pytest

from dropbench.catalog.models import RECIPES
from dropbench.engine.need import CONTEXT, Need, largest, need_of
from dropbench.experiments.speed.work import training_flops
from dropbench.run.config import RunConfig

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


@pytest.mark.parametrize("model", RECIPES)
def test_products_have_the_operations_that_torch_counts(model):
    config = RunConfig(model=model, p_drop=0.5, batch_size=32)
    for shape in (GREY, COLOUR):
        need = need_of(config, shape, 10, 1000)
        operations = [product for product, _ in need.products]
        # The first layer has no gradient of its input: a third of its operations.
        assert sum(operations) - operations[0] == 32 * training_flops(config, shape, 10)
        assert need.memory_bytes > CONTEXT


def test_a_net_of_one_layer_is_known():
    need = need_of(RunConfig(model="mlp", layers=(200,), batch_size=100), (1, 8, 8), 3, 1000)
    hidden, out = 2 * 100 * 64 * 200, 2 * 100 * 200 * 3
    assert need.products == (
        (hidden, 2 * 4), (hidden, 2 * 1), (hidden, 1 * 4),
        (out, 2 * 1), (out, 2 * 4), (out, 4 * 1),
    )  # fmt: skip
    parameters = 64 * 200 + 200 + 200 * 3 + 3
    units = need.memory_bytes - CONTEXT - 1000 * (64 + 8) - 18 * parameters
    assert 8 * 100 * 203 < units < 8 * 100 * 3 * 203 + 2 * 4 * 200 * 1000


def test_multiprocessors_without_work_are_not_busy():
    assert Need(0, ((5.0, 1),)).multiprocessors(132) == 1
    assert Need(0, ((5.0, 1000),)).multiprocessors(132) == 132
    one_after_another = Need(0, ((5.0, 1), (5.0, 1000)))
    assert one_after_another.multiprocessors(100) == pytest.approx(2 / (1 + 1 / 100))
    assert Need(0, ()).multiprocessors(132) == 132, "of a net without products nothing is known"


@pytest.mark.parametrize(
    "more",
    [{"layers": (512,)}, {"batch_size": 512}, {"snapshots": 3, "learning_rate_schedule": "cosine"}],
)
def test_more_of_a_run_takes_more_memory(more):
    small = RunConfig(model="mlp", layers=(64,), batch_size=64, epochs=6)
    assert (
        need_of(small.replace(**more), GREY, 10, 5000).memory_bytes
        > need_of(small, GREY, 10, 5000).memory_bytes
    )


def test_more_data_take_more_memory():
    config = RunConfig(model="mlp", layers=(64,))
    small, large = (need_of(config, GREY, 10, images).memory_bytes for images in (50_000, 60_000))
    assert large - small == 10_000 * (28 * 28 + 8)


def test_the_largest_need_is_that_of_all_runs():
    wide, hungry = Need(1, ((5.0, 50),)), Need(9, ((5.0, 2),))
    assert largest([wide, hungry], 100) == Need(9, wide.products)
