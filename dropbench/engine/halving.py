"""Which runs hold their weights and images in bfloat16."""

import torch
from torch import nn

from dropbench.catalog.dropouts import variant_of
from dropbench.catalog.optimizers import SGD
from dropbench.catalog.user_code import is_user_code, library_of
from dropbench.run.config import RunConfig


def halves_weights(config: RunConfig) -> bool:
    """Whether a run holds its weights in bfloat16 while it trains, beside masters in float32.

    Matrix products take them as they are. Autocast would round the weights and widen the gradients at each
    step, and compute the same numbers. Only dropbench's SGD keeps such masters: with the optimizers of torch
    autocast does it. What else computes with weights needs them in float32: variants with noise on them, and,
    for all that is known, code of the user's own and of libraries.
    """
    name = config.dropout.variant
    variant = variant_of(name)
    reads_weights = variant.learns or variant.on_weights or is_user_code(name)
    return (
        config.optimizer.precision == "bf16"
        and config.optimizer.name == SGD
        and not (is_user_code(config.model.name) or library_of(config.model.name))
        and not (config.dropout.drops and reads_weights)
    )


def halves_inputs(config: RunConfig) -> bool:
    """Whether the net sees inputs in bfloat16, which its first layer would round them to."""
    return halves_weights(config) and config.task != "reconstruct"


def halved_parameters(model: nn.Module) -> set[nn.Parameter]:
    """Return the parameters that are held in bfloat16: those of fully connected and convolutional layers."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return {each for layer in layers for each in layer.parameters(recurse=False)}


def halve(model: nn.Module) -> None:
    """Round a trained net's weights as they are while it trains, so that it predicts as it did then."""
    for parameter in halved_parameters(model):
        parameter.data = parameter.data.to(torch.bfloat16)
