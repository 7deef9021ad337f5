"""A stack that shrinks gives its memory up as it goes, and its nets go on as they were."""

from typing import Any

import pytest
import torch
from engine.tape import TapeLane
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from dropbench.engine.run import Run
from dropbench.engine.stack import train_stacked
from dropbench.engine.stacked_mlp import StackedMLP, give_back_memory, linear_layers
from dropbench.run.config import RunConfig


class Alive(TorchDispatchMode):
    """Counts the bytes that are held by tensors given to it, and by those made while it is entered."""

    def __init__(self, *tensors: torch.Tensor) -> None:
        super().__init__()
        self._held: dict[int, tuple[StorageWeakRef, int]] = {}
        self._see(*tensors)
        self.before = self.peak = self.now

    def _see(self, *tensors: torch.Tensor) -> None:
        for storage in (tensor.untyped_storage() for tensor in tensors):
            reference = StorageWeakRef(storage)
            self._held[reference.cdata] = reference, storage.nbytes()

    @property
    def now(self) -> int:
        self._held = {place: held for place, held in self._held.items() if not held[0].expired()}
        return sum(number for _, number in self._held.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor):
            self._see(out)
        self.peak = max(self.peak, self.now)
        return out


def config(**settings) -> RunConfig:
    small = {"data": "blobs", "model": "mlp", "layers": (40, 40), "batch_size": 64, "p_drop": 0.5}
    return RunConfig(**{**small, **settings})


@pytest.fixture(params=["fp32", "bf16"])
def runs(request) -> list[RunConfig]:
    return [config(seed=seed, epochs=4 - seed, precision=request.param) for seed in range(4)]


def test_a_stack_that_shrinks_holds_one_tensor_more_than_it_had(blobs, runs, monkeypatch):
    """The model of the run that ended, the last of its stack, holds none of it either."""
    keep, alive = StackedMLP.keep, []

    def watched(stack, *more):
        largest = max(tensor.nbytes for tensor in stack._per_slot)
        with Alive(*stack._per_slot) as here:
            keep(stack, *more)
        alive.append((here.before, here.peak - here.before, here.now, largest))

    monkeypatch.setattr(StackedMLP, "keep", watched)
    list(train_stacked(runs, blobs, slots=4))
    assert len(alive) == 3
    for (before, more, after, largest), slots in zip(alive, (4, 3, 2), strict=True):
        assert 0 < more < largest
        assert after == pytest.approx(before * (slots - 1) / slots, rel=0.01)


def test_the_nets_that_are_kept_move_with_all_that_they_have(blobs, runs):
    lane = TapeLane()
    members = [Run.prepare(run, blobs, torch.device("cpu")) for run in runs]
    stack = StackedMLP(members[0], len(members), lane)
    for slot, member in enumerate(members):
        stack.take(slot, member)
    stack.begin_epoch(members)
    stack.train_epoch()
    here = [members[3], members[1]]
    expected = [stack.weights(slot, members[slot]) for slot in (3, 1)]
    alone = [values[[3, 1]].clone() for values in stack._per_slot]
    stack.keep([3, 1], here)
    assert lane.forgotten == 1
    for slot, (member, weights) in enumerate(zip(here, expected, strict=True)):
        for name, values in stack.weights(slot, member).items():
            assert torch.equal(values, weights[name])
        for layer, of_slots in zip(linear_layers(member.model), stack._layers, strict=True):
            assert layer.weight.data_ptr() == of_slots.weight.used[slot].data_ptr()
            assert layer.bias.data_ptr() == of_slots.bias.used[slot].data_ptr()
    for ours, theirs in zip(stack._per_slot, alone, strict=True):
        assert torch.equal(ours, theirs)
    stack.begin_epoch(here)
    losses, _ = stack.train_epoch()
    assert len(losses) == 2


def test_memory_that_cannot_be_given_back_ends_nothing(monkeypatch):
    def refuse():
        raise RuntimeError("A capture has failed.")

    monkeypatch.setattr(torch.cuda, "empty_cache", refuse)
    give_back_memory(torch.device("cuda"))
