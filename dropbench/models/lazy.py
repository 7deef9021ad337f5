"""Lazy parameters, whose shapes are decided by the first pass."""

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from dropbench.catalog import user_code
from dropbench.catalog.models import InputShape
from dropbench.errors import UsageError


def materialise(model: nn.Module, input_shape: InputShape, name: str) -> None:
    """Give the lazy parameters of the user's ``model`` their shapes and initial weights, by a pass of zeros.

    Raises:
        UsageError: if the model cannot take inputs of ``input_shape``, or if a pass leaves one without shape.

    """
    if not _lazy(model):
        return
    was_training = model.training
    model.eval()  # so that batch-norm learns nothing of the zeros
    with torch.no_grad():
        user_code.called(name, model, f"inputs {(2, *input_shape)}", torch.zeros(2, *input_shape))
    model.train(was_training)
    if left := _lazy(model):
        raise UsageError(
            f"The model {name} never uses its lazy parameter {left[0]}, which so has no shape.",
            "Use it in forward, or leave it out.",
        )


def _lazy(model: nn.Module) -> list[str]:
    """The names of the parameters and buffers that have no shape yet."""
    both = [*model.named_parameters(), *model.named_buffers()]
    return [name for name, each in both if is_lazy(each)]
