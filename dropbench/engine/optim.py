"""Optimisation: SGD, learning-rate schedules, and the max-norm projection."""

import math
from typing import cast

import torch
from torch import nn
from torch.optim.sgd import sgd

from dropbench.run.blocks.optimizer import CONSTANT

WARM_UP = 0.3
"""Share of the steps in which one-cycle raises the learning rate."""
START = 1 / 25
"""Factor on the learning rate at the first step of one-cycle."""


class SGD:
    """Stochastic gradient descent with momentum, and with weight decay on weights but not on biases.

    It calls torch's own fused step as a function. Creating the class torch.optim.SGD would import
    torch._dynamo, which costs every worker about a second and 150 MB.
    """

    def __init__(self, model: nn.Module, momentum: float, weight_decay: float) -> None:
        self.momentum = momentum
        parameters = list(model.parameters())
        self._groups = [
            _Group([p for p in parameters if p.ndim > 1], weight_decay),
            _Group([p for p in parameters if p.ndim <= 1], 0.0),
        ]

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for group in self._groups:
            for parameter in group.parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the parameters that have a gradient by one step."""
        for group in self._groups:
            moved = [i for i, parameter in enumerate(group.parameters) if parameter.grad is not None]
            # torch takes either no velocity or all; a learned rate may get its first gradient in any epoch.
            moving = [i for i in moved if group.velocities[i] is not None]
            self._step([i for i in moved if group.velocities[i] is None], group, learning_rate)
            self._step(moving, group, learning_rate)

    def _step(self, moved: list[int], group: "_Group", learning_rate: float) -> None:
        if not moved:
            return
        velocities = [group.velocities[i] for i in moved]
        sgd(
            [group.parameters[i] for i in moved],
            [cast(torch.Tensor, group.parameters[i].grad) for i in moved],
            velocities,
            weight_decay=group.weight_decay,
            momentum=self.momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            fused=True,
        )
        for i, velocity in zip(moved, velocities, strict=True):
            group.velocities[i] = velocity


class _Group:
    """Parameters with the same weight decay, and their velocities (None before the first step)."""

    def __init__(self, parameters: list[nn.Parameter], weight_decay: float) -> None:
        self.parameters = parameters
        self.weight_decay = weight_decay
        self.velocities: list[torch.Tensor | None] = [None] * len(parameters)


def learning_rate_factor(schedule: str, progress: float) -> float:
    """Return the factor on the learning rate when the share ``progress``, in [0, 1), of all steps is done.

    ``cosine`` falls from 1 to 0 along half a cosine. ``one-cycle`` rises linearly from 1/25 to 1 over the
    first 30 % of the steps (Smith & Topin 2017), then falls along half a cosine as well. ``constant`` is 1.
    """
    if schedule == CONSTANT:
        return 1.0
    if schedule == "one-cycle":
        if progress < WARM_UP:
            return START + (1 - START) * progress / WARM_UP
        progress = (progress - WARM_UP) / (1 - WARM_UP)
    return (1 + math.cos(math.pi * progress)) / 2


@torch.no_grad()
def project_max_norm(model: nn.Module, bound: float) -> None:
    """Scale down every unit's incoming weights whose Euclidean norm exceeds ``bound``.

    This is the max-norm constraint of Srivastava et al. (2014), section 5.1. A unit's incoming weights are a
    row of a fully connected layer's weight matrix, or the kernel of a channel; biases are not changed.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.weight.renorm_(p=2, dim=0, maxnorm=bound)
