"""torch.compile for training, done before the first step so that the compile time is measured separately."""

import copy
import warnings
from collections.abc import Iterable
from typing import cast

import torch
from torch import nn

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.control import dropout_layers
from dropbench.dropout.in_graph import number_of
from dropbench.engine.device import autocast


def compiled_for(
    model: nn.Module, batches: Iterable[torch.Tensor], precision: str, constant: bool = True
) -> nn.Module:
    """Compile ``model`` for training on batches of these shapes; the result shares its weights.

    ``constant`` says that no drop probability will change: a probability within a graph is compiled into it,
    and a new one would make torch compile the graph again.

    The compiled model draws the same masks as ``model``. The passes that trigger the compilation have no side
    effects: weights, buffers and random streams are restored afterwards.

    Raises:
        Exception: whatever torch.compile raises, for instance on the CPU if there is no C++ compiler.

    """
    streams = [layer.stream for layer in dropout_layers(model) if layer.stream is not None]
    positions = [stream.position for stream in streams]
    before = copy.deepcopy(model.state_dict())
    for layer in dropout_layers(model):
        if not constant or type(layer) is not BernoulliDropout:  # draws its masks outside the graph
            name = "into" if layer.on_weights else "forward"
            setattr(layer, name, torch.compiler.disable(getattr(layer, name)))  # type: ignore[no-untyped-call]
        elif layer.stream is not None:
            layer.stream_number = number_of(layer.stream)
    compiled = cast(nn.Module, torch.compile(model))
    compiled.train()
    for images in batches:
        with warnings.catch_warnings():
            # torch itself causes this warning, since it inspects the tensors that pass between graphs.
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
            with autocast(images.device, precision):
                logits = compiled(images)
            logits.float().sum().backward()
    model.zero_grad()
    model.load_state_dict(before)
    for stream, position in zip(streams, positions, strict=True):
        stream.position = position
    return compiled
