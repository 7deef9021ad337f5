"""torch.compile for the steps of training, done before the first of them so that its time stands apart."""

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
    """``model`` compiled for training on each of these batches' shapes; it shares the weights.

    ``constant`` says that no p will change: a p in a graph is compiled into it, and another would compile
    the graph again.

    The masks are those that the model draws without it. The passes that make torch compile leave no
    trace: weights, buffers and random streams are afterwards what they were.

    Raises:
        Exception: as torch.compile does, on the CPU for want of a C++ compiler.

    """
    generators = [layer.generator for layer in dropout_layers(model) if layer.generator is not None]
    streams = [generator.get_state() for generator in generators]
    before = copy.deepcopy(model.state_dict())
    for layer in dropout_layers(model):
        if not constant or type(layer) is not BernoulliDropout:  # it draws outside the graph
            name = "into" if layer.on_weights else "forward"
            setattr(layer, name, torch.compiler.disable(getattr(layer, name)))  # type: ignore[no-untyped-call]
        elif layer.generator is not None:
            layer.generator_number = number_of(layer.generator)
    compiled = cast(nn.Module, torch.compile(model))
    compiled.train()
    for images in batches:
        with warnings.catch_warnings():  # torch's own: it looks at every tensor that passes between graphs
            warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
            with autocast(images.device, precision):
                logits = compiled(images)
            logits.float().sum().backward()
    model.zero_grad()
    model.load_state_dict(before)
    for generator, state in zip(generators, streams, strict=True):
        generator.set_state(state)
    return compiled
