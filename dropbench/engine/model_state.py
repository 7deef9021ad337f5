"""The state of a net: its tensors, and what code of the user's own keeps in its modules."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from dropbench.engine.tree import Tree

_PLAIN = (bool, int, float, str, torch.Tensor, np.ndarray)
_OF_ANY_MODULE = frozenset(vars(nn.Module()))
_KNOWN = ("torch", "dropbench", "builtins")


def state_of(model: nn.Module) -> Tree:
    """Return parameters and buffers of a model, none of them copied, and what is its modules' own.

    That is what they give as extra state, and of classes that are neither torch's nor dropbench's the
    attributes that are numbers, text, tensors, or random generators of Python, numpy or torch.
    """
    return {
        "tensors": {**dict(model.named_buffers(remove_duplicate=False)), **model.state_dict()},
        "own": [[path, name, _kept(value)] for path, name, _, value in _own(model)],
    }


@torch.no_grad()
def restore(model: nn.Module, state: Tree) -> None:
    """Give a model a state again, its tensors in the memory where they are.

    Raises:
        RuntimeError, KeyError: if it is that of another model.

    """
    tensors = state["tensors"]
    persistent = model.state_dict().keys()
    model.load_state_dict({name: tensors[name] for name in persistent})
    for name, buffer in model.named_buffers(remove_duplicate=False):
        if name not in persistent:
            buffer.copy_(tensors[name])
    kept = {(path, name): value for path, name, value in state["own"]}
    for path, name, module, value in _own(model):
        if (path, name) in kept:
            _give(module, name, value, kept[path, name])
    for (path, name), value in kept.items():
        module = model.get_submodule(path)
        if not hasattr(module, name):  # which the run made on its way
            setattr(module, name, value)


def _own(model: nn.Module) -> Iterator[tuple[str, str, nn.Module, Any]]:
    """The attributes that are kept: the module's path, the attribute's name, the module, and the value."""
    for path, module in model.named_modules():
        bases = type(module).__mro__
        if any(base.__module__.partition(".")[0] not in _KNOWN for base in bases):
            for name, value in list(vars(module).items()):
                if name not in _OF_ANY_MODULE and (type(value) in _PLAIN or _is_generator(value)):
                    yield path, name, module, value


def _is_generator(value: Any) -> bool:
    return isinstance(value, torch.Generator | np.random.Generator | random.Random)


def _kept(value: Any) -> Tree:
    """The state of a generator, or the value itself."""
    if isinstance(value, torch.Generator):
        return value.get_state()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return value.getstate() if isinstance(value, random.Random) else value


def _give(module: nn.Module, name: str, value: Any, kept: Tree) -> None:
    """Set a generator of a module to its state, or an attribute to its value."""
    if isinstance(value, torch.Generator):
        value.set_state(kept)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = kept
    elif isinstance(value, random.Random):
        value.setstate(kept)
    else:
        setattr(module, name, kept)
