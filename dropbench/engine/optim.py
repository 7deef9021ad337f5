"""The optimizer's parts: SGD, the learning rate over the run, and the max-norm projection."""

import math
from typing import Any

import torch
from torch import nn

from dropbench.config import RunConfig

WARM_UP = 0.3
START = 1 / 25


def make_sgd(model: nn.Module, config: RunConfig) -> torch.optim.SGD:
    """SGD with momentum; weight decay on the weights, not on the biases."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": config.weight_decay},
        {"params": biases},
    ]
    return torch.optim.SGD(
        groups,
        lr=config.learning_rate,
        momentum=config.momentum,
        fused=True,
    )


def learning_rate_factor(schedule: str, progress: float) -> float:
    """What the learning rate is multiplied by when the share ``progress`` in [0, 1) of all steps is done.

    ``cosine`` falls from 1 to 0 along half a cosine; ``one-cycle`` first rises linearly from 1/25 to 1
    over 30 % of the steps (Smith & Topin 2017) and then does the same.
    """
    if schedule == "one-cycle":
        if progress < WARM_UP:
            return START + (1 - START) * progress / WARM_UP
        progress = (progress - WARM_UP) / (1 - WARM_UP)
    return (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def project_max_norm(model: nn.Module, bound: float) -> None:
    """Scale down every unit's incoming weights whose Euclidean norm exceeds ``bound``.

    Srivastava et al. 2014, section 5.1. A unit is a row of a fully connected layer's weight matrix or a
    channel's kernel; biases are left alone.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.weight.renorm_(p=2, dim=0, maxnorm=bound)
