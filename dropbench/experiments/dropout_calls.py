"""Calls of torch's dropout functions, which no setting of a run reaches."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from dropbench.catalog.user_code import is_users

_PARAMETERS = {
    "scaled_dot_product_attention": ("query", "key", "value", "attn_mask", "dropout_p"),
    "multi_head_attention_forward": (*map(str, range(10)), "dropout_p", "weight", "bias", "training"),
}
_OF_DROPOUT = ("input", "p", "training")
"""The parameters of torch.nn.functional's functions, and of torch's own, by their places."""
_TORCH, _DROPBENCH = Path(torch.__file__).parent, Path(__file__).parents[1]


class DropoutCalls(TorchFunctionMode):
    """Collects the calls in this context that drop something, in words: function, probability and line."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call the function, and note the call."""
        name = getattr(func, "__name__", "").rstrip("_")
        if name in _PARAMETERS or "dropout" in name:  # also of maps: dropout2d, feature_dropout
            told = dict(zip(_PARAMETERS.get(name, _OF_DROPOUT), args, strict=False)) | (kwargs or {})
            p = told.get("dropout_p", told.get("p", 0.0))
            if p and told.get("training", told.get("train", True)):
                words = f"{name} with p = {p:g}{_line()}"
                self.found += [words] if words not in self.found else []
        return func(*args, **(kwargs or {}))


def _line() -> str:
    """Where the code is that leads here: file and line of the user's, else of a library's; or nothing."""
    frame: FrameType | None = sys._getframe(2)
    of_library = ""
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        line = f" ({file.name}, line {frame.f_lineno})"
        if is_users(str(file)):
            return line
        if file.is_relative_to(_DROPBENCH):  # which calls the net
            break
        if not of_library and not file.is_relative_to(_TORCH):
            of_library = line
        frame = frame.f_back
    return of_library
