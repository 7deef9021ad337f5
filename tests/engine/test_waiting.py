"""An epoch waits for the device only at its end, to read its figures, and leaves generators alone.

Most of this shows without a GPU, too. What does not: ``tolist()``, ``cpu()`` and ``numpy()`` on CPU tensors.
"""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dropbench.catalog.dropouts import VARIANTS
from dropbench.engine.train import Run
from dropbench.engine.turns import to_its_end
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")
READS = ("_local_scalar_dense", "is_nonzero", "equal")
"""Operations whose result is a Python number."""
OF_UNKNOWN_SIZE = ("nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim")
"""Operations whose result has a shape that depends on values."""
COPIES = ("lift_fresh",)
"""Operations on a tensor made of numbers in host memory, which must be copied to the device."""


class Waits(TorchDispatchMode):
    """Lists the operations that would wait for a CUDA device, each with its place in the order of all."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.found: list[tuple[str, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.removeprefix("aten::")
        by_mask = name.startswith(("index", "_index_put")) and any(
            isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)
            for indices in args[1:2]
            if isinstance(indices, list | tuple)
            for index in indices
        )
        if name in READS + OF_UNKNOWN_SIZE + COPIES or by_mask:
            self.found.append((name, self.operations))
        self.operations += 1
        return func(*args, **(kwargs or {}))


def assert_waits_at_its_end_only(data, **fields: object) -> None:
    """The images' order is copied to the device at the beginning; loss and error are read at the end."""
    run = Run.prepare(RunConfig(**{"epochs": 1, "batch_size": 80, **fields}), data, CPU)
    with Waits() as waits:
        to_its_end(run.train_epoch())
    read = "_local_scalar_dense"
    assert waits.found == [("lift_fresh", 0), (read, waits.operations - 2), (read, waits.operations - 1)]


OF_GENERATORS = {"get_state", "set_state", "clone_state", "manual_seed", "initial_seed"}


def calls_of_generators(work: Callable[[], object]) -> list[tuple[str, str]]:
    """The calls of methods of random generators during some work, each with the file that made it."""
    found = []

    def see(frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in OF_GENERATORS:
            found.append((called.__name__, frame.f_code.co_filename))

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_no_step_fetches_or_sets_the_state_of_a_generator(name, blobs):
    """A graph of CUDA could not hold the state of a generator; a draw is a function of its place."""
    fields = config_of(name) | ({"layers": (16,)} if name == "dropconnect" else {"width": 0.1})
    model = "mlp" if name == "dropconnect" else "lecture-cnn"
    run = Run.prepare(RunConfig(model=model, epochs=1, batch_size=80, **fields), blobs, CPU)
    assert calls_of_generators(lambda: to_its_end(run.train_epoch())) == []


def test_a_call_of_a_generator_is_noticed():
    generator = torch.Generator()
    assert [name for name, _ in calls_of_generators(lambda: generator.set_state(generator.get_state()))] == [
        "get_state",
        "set_state",
    ]


def config_of(name: str) -> dict[str, object]:
    return {"dropout": name, "activation": VARIANTS[name].activation or "relu", "p_drop": 0.3}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("model", ["mlp", "lecture-cnn"])
def test_an_epoch_reads_the_device_only_at_its_end(model, name, blobs):
    fields = config_of(name)
    if model == "mlp":
        fields |= {"layers": (32, 32), "p_drop_input": 0.0 if name == "standout" else 0.2}
    else:
        fields |= {"width": 0.1, "p_drop_conv": 0.0 if name == "dropconnect" else 0.2}
    assert_waits_at_its_end_only(blobs, model=model, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_norm": 1.0, "l1": 1e-4, "kl_sparsity": 1e-3},
        {"snapshots": 1, "learning_rate_schedule": "cosine"},
        {"precision": "bf16"},
        {"dropout": "bernoulli", "thinned": True},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_nothing_else_in_a_step_waits_for_the_device(fields, blobs):
    assert_waits_at_its_end_only(blobs, model="mlp", layers=(16,), p_drop=0.5, **fields)


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
def test_a_wait_is_noticed(wait):
    with Waits() as waits:
        wait(torch.arange(5.0))
    assert len(waits.found) == 1
