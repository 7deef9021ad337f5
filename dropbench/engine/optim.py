"""Optimisation: the protocol of optimizers, SGD with max-norm, and learning-rate schedules."""

import functools
import math
import weakref
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from torch import nn
from torch.optim.sgd import sgd

from dropbench.engine.halving import halved_parameters
from dropbench.engine.loss_scale import LossScale
from dropbench.engine.tree import Tree
from dropbench.errors import UsageError
from dropbench.kernels.sgd import Weights, sgd_step
from dropbench.run.blocks.optimizer import CONSTANT, OptimizerSettings

LARGEST_NORM = 1.0
"""The norm that the gradients of a regression have together at most, unless another bound is told."""
WARM_UP = 0.3
"""Share of the steps in which one-cycle raises the learning rate."""
START = 1 / 25
"""Factor on the learning rate at the first step of one-cycle."""
Rate = float | torch.Tensor
"""A learning rate; in a CUDA graph a float32 scalar on the device."""


class Optimizer(Protocol):
    """The protocol of an optimizer, which holds what it knows of a model's parameters.

    A step reads nothing back from the device. What it needs there is made before the first one, or in it.

    Where there is a ``loss_scale``, the gradients are those of the scaled loss, and ``step`` unscales them
    first of all. A step that overflowed changes neither weights nor what the optimizer knows of them.
    """

    loss_scale: LossScale | None

    def zero_grad(self) -> None:
        """Set all gradients to None."""

    def step(self, learning_rate: Rate) -> None:
        """Update the parameters that have a gradient by one step."""

    def updating(self, learning_rate: Rate) -> AbstractContextManager[None]:
        """Return the context of a backward pass, in which parameters may be updated already."""

    def release(self) -> None:
        """Give the model its weights in float32; it is trained no further."""

    def snapshot(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """Return a copy of the model's weights, in float32, and of its buffers, on the same device."""

    def state(self) -> Tree:
        """Return what the next step depends on beside the model's own tensors, none of it copied."""

    def restore(self, state: Tree) -> None:
        """Go on from a state; the model has its tensors again."""


def bounded_weights(model: nn.Module) -> list[torch.Tensor]:
    """Return the weights that max-norm bounds: those of fully connected and convolutional layers.

    Raises:
        UsageError: if one is computed from parameters, as by weight norm, so that no bound on it would last.

    """
    layers = [each for each in model.modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    for layer in layers:
        if not isinstance(layer.weight, nn.Parameter):
            raise UsageError(
                f"The weights of a {type(layer).__name__} are computed from its parameters, as by weight "
                "norm, and no bound on them lasts.",
                "Leave out `max_norm`.",
            )
    return [layer.weight for layer in layers]


def gradients_of(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    """Return the gradients of those parameters that have one."""
    return [each.grad for each in parameters if each.grad is not None]


@dataclass
class _Entry:
    """A parameter of the model and what the optimizer knows of it."""

    parameter: nn.Parameter
    weights: Weights
    weight_decay: float
    l1: float
    max_norm: float | None

    @property
    def halved(self) -> bool:
        """Whether the net computes with rounded values."""
        return self.weights.master is not self.parameter


class SGD:
    """Stochastic gradient descent with momentum, max-norm, and penalties on weights but not on biases.

    The penalty is weight_decay/2 × Σw² + l1 × Σ|w|. Its gradient, 0 at w = 0, is added in the step, which
    passes over the weights anyway.

    Max-norm is the constraint of Srivastava et al. (2014), section 5.1: after a step, a unit's incoming
    weights whose Euclidean norm exceeds ``max_norm`` are scaled down to it. They are a row of a fully
    connected layer's weight matrix, or the kernel of a channel; biases are not changed.

    With ``half`` the weights and biases of fully connected and convolutional layers are held in bfloat16
    while the model trains, so that no step casts them; they are updated in float32 and rounded. That is what
    autocast computes, too. ``release`` gives the model its weights in float32.

    The gradients of the ``clipped`` parameters are scaled down where their Euclidean norm, of all together,
    exceeds ``largest_norm`` (Pascanu et al. 2013). The penalty has no part in it.

    With a ``loss_scale`` all weights are in float32, and ``half`` is False.

    It calls torch's own fused step as a function. Creating the class torch.optim.SGD would import
    torch._dynamo, which costs every worker about a second and 150 MB.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float,
        weight_decay: float,
        max_norm: float | None = None,
        half: bool = False,
        clipped: Iterable[nn.Parameter] = (),
        largest_norm: float = LARGEST_NORM,
        loss_scale: LossScale | None = None,
        l1: float = 0.0,
    ) -> None:
        self.momentum = momentum
        self.loss_scale = loss_scale
        self._clipped, self._largest_norm = list(clipped), largest_norm
        bounded = set(bounded_weights(model)) if max_norm is not None else set()
        halved = halved_parameters(model) if half else set()
        self._rate: Rate | None = None
        self._entries: list[_Entry] = []
        this = weakref.ref(self)  # a hook is a part of its parameter, which the optimizer holds
        for parameter in model.parameters():
            master = parameter.detach().clone() if parameter in halved else parameter
            weights = Weights(parameter, master, torch.zeros_like(master))
            if parameter in halved:
                parameter.data = parameter.data.bfloat16()
            decay, pull = (weight_decay, l1) if parameter.ndim > 1 else (0.0, 0.0)
            bound = max_norm if parameter in bounded else None
            self._entries.append(_Entry(parameter, weights, decay, pull, bound))
            if parameter in halved:
                arrived = functools.partial(_arrived, this, len(self._entries) - 1)
                parameter.register_post_accumulate_grad_hook(arrived)  # type: ignore[no-untyped-call]

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for entry in self._entries:
            entry.parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: Rate) -> None:
        """Update the parameters that have a gradient by one step."""
        if self.loss_scale is not None:
            self.loss_scale.unscale(gradients_of(entry.parameter for entry in self._entries))
        if self._clipped:
            nn.utils.clip_grad_norm_(self._clipped, self._largest_norm)  # without a wait for the device
        rest = []
        for entry in self._entries:
            if entry.parameter.grad is not None and entry.weights.fit_a_kernel:
                self._update(entry, learning_rate)
            elif entry.parameter.grad is not None:
                rest.append(entry)
        for decay in sorted({entry.weight_decay for entry in rest}):
            self._step([entry for entry in rest if entry.weight_decay == decay], decay, learning_rate)
        if self.loss_scale is not None:
            self.loss_scale.update()

    @contextmanager
    def updating(self, learning_rate: Rate) -> Iterator[None]:
        """Update a parameter as soon as a backward pass in this context has its whole gradient.

        The gradient is then still in a cache, and its memory is free for the next one. ``step`` afterwards
        updates what no kernel takes, and all where gradients are clipped by the norm of all, or where one
        that overflowed lets the whole step be skipped.
        """
        self._rate = None if self._clipped or self.loss_scale is not None else learning_rate
        try:
            yield
        finally:
            self._rate = None

    def _update(self, entry: _Entry, learning_rate: Rate) -> None:
        gradient, rate = cast(torch.Tensor, entry.parameter.grad), float(learning_rate)
        sgd_step(entry.weights, gradient, rate, self.momentum, entry.weight_decay, entry.max_norm, entry.l1)
        entry.parameter.grad = None

    def _step(self, entries: list[_Entry], weight_decay: float, learning_rate: Rate) -> None:
        """Do what sgd_step does, by torch's own operations."""
        scale = self.loss_scale
        sgd(
            [entry.weights.master for entry in entries],
            [_penalised(entry) for entry in entries],
            [entry.weights.velocity for entry in entries],
            weight_decay=weight_decay,
            momentum=self.momentum,
            lr=cast(float, learning_rate),  # which may be a tensor, too
            dampening=0.0,
            nesterov=False,
            maximize=False,
            fused=True,
            found_inf=None if scale is None else scale.overflowed,  # then the kernel does nothing
        )
        for entry in entries:
            if entry.max_norm is not None:
                master = entry.weights.master
                with nullcontext() if scale is None else scale.putting_back([master]):
                    master.renorm_(p=2, dim=0, maxnorm=entry.max_norm)
            if entry.halved:
                entry.parameter.copy_(entry.weights.master)

    def release(self) -> None:
        """Give the model its weights in float32; it is trained no further."""
        for entry in self._entries:
            entry.parameter.data = entry.weights.master.data
            entry.parameter.grad = None
        self._entries.clear()

    def state(self) -> Tree:
        """Return velocities, and the values in float32 of the parameters that are held in bfloat16."""
        return {
            "velocities": [entry.weights.velocity for entry in self._entries],
            "masters": [entry.weights.master for entry in self._entries if entry.halved],
        }

    @torch.no_grad()
    def restore(self, state: Tree) -> None:
        """Go on with these velocities and values, which are copied to where a kernel finds them."""
        halved = [entry for entry in self._entries if entry.halved]
        for entry, velocity in zip(self._entries, state["velocities"], strict=True):
            entry.weights.velocity.copy_(velocity)
        for entry, master in zip(halved, state["masters"], strict=True):
            entry.weights.master.copy_(master)

    def snapshot(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """Return a copy of the model's weights, in float32, and of its buffers, on the same device."""
        masters = {entry.parameter: entry.weights.master for entry in self._entries}
        values = model.state_dict()
        for name, parameter in model.named_parameters(remove_duplicate=False):
            values[name] = masters[parameter]
        return {name: value.detach().clone() for name, value in values.items()}


def _penalised(entry: _Entry) -> torch.Tensor:
    """Return the gradient of an entry's parameter, as wide as its master, with that of the L1 penalty."""
    master = entry.weights.master
    gradient = cast(torch.Tensor, entry.parameter.grad).to(master.dtype)
    return torch.add(gradient, master.sign(), alpha=entry.l1) if entry.l1 else gradient


def _arrived(optimizer: "weakref.ref[SGD]", number: int, parameter: torch.Tensor) -> None:
    """Update the parameter of an entry, whose gradient is complete, within ``SGD.updating``."""
    found = optimizer()
    if found is not None and found._rate is not None:
        entry = found._entries[number]
        if entry.weights.fit_a_kernel:
            found._update(entry, found._rate)


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


def learning_rates(settings: OptimizerSettings, steps: range, of: int) -> np.ndarray:
    """Return the learning rate of each of ``steps``, counted from 0 ``of`` all, in float32 like the weights.

    With snapshots the schedule begins anew in each of as many cycles.
    """
    cycles = max(1, settings.snapshots)
    shares = [step * cycles % of / of for step in steps]
    factors = [learning_rate_factor(settings.learning_rate_schedule, share) for share in shares]
    return np.array([settings.learning_rate * factor for factor in factors], dtype=np.float32)
