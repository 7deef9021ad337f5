"""A graph as far as the CPU can tell: the operations of a step with their very tensors.

It holds what a CUDA graph holds: Python's numbers as they were, sizes, and which tensors there are. What a
graph cannot hold, it refuses.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Work = Callable[[], None]


def tensors_in(*values: Any) -> Iterator[torch.Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))


def memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    """The tensors that an operation writes into."""
    for number, declared in enumerate(func._schema.arguments):
        if declared.alias_info is not None and declared.alias_info.is_write:
            yield from tensors_in(args[number] if number < len(args) else kwargs.get(declared.name))


class Tape(TorchDispatchMode):
    """Records operations while it is entered; ``undo`` then takes back what they wrote.

    It is torn at the operation with the number ``torn_at``.
    """

    def __init__(self, torn_at: int | None = None) -> None:
        super().__init__()
        self._torn_at = torn_at
        self._operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[torch.Tensor]]] = []
        self._made: set[int] = set()
        self._before: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._kept: list[Any] = []  # so that no memory is given to two tensors

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if len(self._operations) == self._torn_at:
            raise RuntimeError("The tape is torn.")
        if self._waits(func, args):
            raise RuntimeError(f"{func} waits for the device.")
        for tensor in written(func, args, kwargs):
            if memory(tensor) not in self._made:
                self._made.add(memory(tensor))
                self._before.append((tensor.detach(), tensor.detach().clone()))
        given = {memory(tensor) for tensor in tensors_in(args, kwargs)}
        out = func(*args, **kwargs)
        results = list(tensors_in(out))
        self._made |= {memory(tensor) for tensor in results} - given
        self._operations.append((func, args, kwargs, results))
        self._kept.append(out)
        return out

    def places_of(self, func: Any) -> list[int]:
        """The numbers of an operation's calls."""
        return [number for number, (each, *_) in enumerate(self._operations) if each is func]

    def undo(self) -> None:
        """Take back what the recorded operations wrote into tensors that were there before."""
        for tensor, before in reversed(self._before):
            tensor.copy_(before)
        self._before.clear()

    @torch.no_grad()
    def replay(self) -> None:
        """Do the recorded operations again, on the same tensors."""
        for func, args, kwargs, results in self._operations:
            for old, new in zip(results, tensors_in(func(*args, **kwargs)), strict=True):
                if memory(old) != memory(new):
                    old.copy_(new)

    @staticmethod
    def _waits(func: Any, args: tuple[Any, ...]) -> bool:
        """Whether the result is a number, has a size that depends on values, or was copied from the host."""
        reads = any(str(result.type) in ("bool", "number") for result in func._schema.returns)
        by_number = func is torch.ops.aten.index.Tensor and all(
            index.dtype == torch.int64 for index in tensors_in(args[1])
        )
        of_unknown_size = torch.Tag.dynamic_output_shape in func.tags and not by_number
        return reads or of_unknown_size or func is torch.ops.aten.lift_fresh.default


def recorded(step: Work, torn_at: int | None = None) -> Tape:
    """A tape of a step, which is not done now."""
    tape = Tape(torn_at)
    try:
        with tape:
            step()
    finally:
        tape.undo()
    return tape


class TapeLane:
    """A lane on the CPU, which records onto tapes and counts them."""

    records = True

    def __init__(self) -> None:
        self.recorded = 0
        self.forgotten = 0

    def begin(self) -> None:
        """Nothing is done outside of the lane at the same time."""

    def end(self) -> None:
        """Nor is anything left to do."""

    def working(self) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, step: Work) -> Work:
        replay = recorded(step).replay
        self.recorded += 1
        return replay

    def forget(self) -> None:
        self.forgotten += 1
