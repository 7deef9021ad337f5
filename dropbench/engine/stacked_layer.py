"""A fully connected layer of several nets, whose weights have a slice for each of them."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from dropbench.kernels.stacked_sgd import Settings, sgd_step_of_runs


class Parameter:
    """A weight or a bias of all slots, ``(slots, …)``, which SGD updates."""

    def __init__(self, like: torch.Tensor, shape: tuple[int, ...], half: bool, is_weight: bool) -> None:
        self.master = torch.zeros(shape, device=like.device)
        """The values in float32."""
        self.velocity = torch.zeros_like(self.master)
        self.used = self.master.bfloat16() if half else self.master
        """The values that the nets compute with: ``master``, or the same rounded to bfloat16."""
        self._is_weight = is_weight
        self.begin_leaf()

    @property
    def tensors(self) -> list[torch.Tensor]:
        """All that a slot has a slice of."""
        return [self.master, self.velocity, *([] if self.used is self.master else [self.used])]

    def begin_leaf(self) -> None:
        """Let gradients flow to ``used``, as to a tensor that autograd has not seen in another shape."""
        leaf = self.used.detach().requires_grad_()
        self.master, self.used = leaf if self.used is self.master else self.master, leaf

    @torch.no_grad()
    def take(self, slot: int, values: torch.Tensor) -> None:
        """Begin with these values in a slot."""
        self.master[slot] = values
        self.used[slot] = values
        self.velocity[slot] = 0

    def step(self, gradient: torch.Tensor, rates: torch.Tensor, settings: Settings) -> None:
        """Update the values of all slots; see sgd_step_of_runs."""
        values = (self.used, self.master, self.velocity)
        sgd_step_of_runs(*values, gradient, rates, settings, self._is_weight)


class Layer:
    """A fully connected layer of all slots."""

    def __init__(self, like: nn.Linear, slots: int, half: bool) -> None:
        outputs, inputs = like.weight.shape
        self.weight = Parameter(like.weight, (slots, outputs, inputs), half, is_weight=True)
        self.bias = Parameter(like.bias, (slots, 1, outputs), half, is_weight=False)

    def take(self, slot: int, linear: nn.Linear) -> None:
        """Begin with the weights of a layer in a slot."""
        self.weight.take(slot, linear.weight.detach())
        self.bias.take(slot, linear.bias.detach())

    @property
    def parts(self) -> tuple[Parameter, Parameter]:
        """The weight and the bias."""
        return self.weight, self.bias

    def __call__(self, units: torch.Tensor) -> torch.Tensor:
        """Return the outputs ``(slots, batch, outputs)`` of units ``(slots, batch, inputs)``."""
        weight = self.weight.used
        outputs: torch.Tensor = _Linear.apply(units.to(weight.dtype), weight, self.bias.used)
        return outputs


class _Linear(torch.autograd.Function):
    """The products of all slots.

    The backward pass of baddbmm itself gives the gradient of the transposed weights, which SGD would have to
    copy first.
    """

    @staticmethod
    def forward(ctx: Any, units: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(units, weight)
        return torch.baddbmm(bias, units, weight.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
        units, weight = ctx.saved_tensors
        to_units = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None  # the inputs need none
        to_weight = torch.bmm(gradient.transpose(1, 2), units)
        return to_units, to_weight, gradient.sum(1, keepdim=True)
