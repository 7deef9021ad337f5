"""Trees of state: tensors, numbers and text in dicts, lists and tuples, taken apart for a file and back."""

from typing import Any

import numpy as np
import torch

from dropbench.errors import DropbenchError

Tree = Any
"""A tensor, an array, None, a bool, a number or text, or a dict, list or tuple of trees."""

_TENSOR, _ARRAY, _LIST, _TUPLE, _DICT = "tensor", "array", "list", "tuple", "dict"


def apart(tree: Tree) -> tuple[dict[str, torch.Tensor], Any]:
    """Return the tensors of a tree by their paths, and a form of the rest that JSON can hold.

    Raises:
        DropbenchError: if there is something else in the tree.

    """
    tensors: dict[str, torch.Tensor] = {}

    def named(tensor: torch.Tensor, path: str) -> str:
        name = path if path not in tensors else f"{path} {len(tensors)}"
        tensors[name] = tensor
        return name

    def form(tree: Tree, path: str) -> Any:
        if isinstance(tree, torch.Tensor):
            return [_TENSOR, named(tree, path), tree.device.type == "cpu"]
        if isinstance(tree, np.ndarray) and tree.dtype != object:
            return [_ARRAY, named(torch.from_numpy(tree), path)]
        if isinstance(tree, np.generic):
            return tree.item()
        if tree is None or isinstance(tree, bool | int | float | str):
            return tree
        if isinstance(tree, dict):
            pairs = [[form(key, path), form(value, f"{path}/{key}")] for key, value in tree.items()]
            return [_DICT, *pairs]
        if isinstance(tree, list | tuple):
            kind = _LIST if isinstance(tree, list) else _TUPLE
            return [kind, *(form(each, f"{path}/{number}") for number, each in enumerate(tree))]
        raise DropbenchError(f"{path} is of the type {type(tree).__name__}, which no file of states holds.")

    return tensors, form(tree, "state")


def together(tensors: dict[str, torch.Tensor], form: Any, device: torch.device) -> Tree:
    """Return the tree again: on the host what was there, and on ``device`` what was on a device.

    Raises:
        KeyError, TypeError, ValueError: if the parts are no tree.

    """
    if not isinstance(form, list):
        return form
    kind, *parts = form
    if kind == _TENSOR:
        name, on_host = parts
        return tensors[name] if on_host else tensors[name].to(device)
    if kind == _ARRAY:
        return tensors[parts[0]].numpy()
    if kind == _DICT:
        return {together(tensors, key, device): together(tensors, value, device) for key, value in parts}
    if kind not in (_LIST, _TUPLE):
        raise ValueError(f"{kind} is no kind of tree")
    made = [together(tensors, each, device) for each in parts]
    return made if kind == _LIST else tuple(made)
