"""DropConnect: a Bernoulli mask on the weights of the next layer (Wan et al. 2013)."""

from typing import Any, Self, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from dropbench.dropout.layer import DropoutLayer, Site, layer_before
from dropbench.dropout.masks import LEVELS, drop_levels, keep_mask
from dropbench.errors import UsageError

_CHUNK = 1 << 24  # weights of as many samples as fit are masked at a time: 64 MB


class DropConnect(DropoutLayer):
    """Drops every weight of the next fully connected layer with probability p, for each sample anew.

    Kept weights are divided by 1 − p in training, so that the net at test is the one without noise; biases
    are left alone. The mask is each sample's own, as in the paper, which found one for a mini-batch to
    regularise too little. That is a mask of batch × weights: a step costs so much more than with other
    variants, in time; memory stays bounded, as the backward pass draws the masks again.

    Raises:
        UsageError: where the next layer is not fully connected.

    """

    on_weights = True

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """Before a fully connected layer only."""
        if p_drop and not isinstance(layer_before(site, "dropconnect"), nn.Linear):
            raise UsageError(
                f"DropConnect drops weights of fully connected layers; none follows the site {site.name}.",
                "Leave out the p of other sites.",
            )
        return cls(p_drop)

    def connect(self, layer: nn.Module, units: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """The layer's output ``(batch, outputs)`` with masked weights."""
        linear = cast(nn.Linear, layer)
        levels = drop_levels(self.p_now)
        units = units.to(linear.weight.dtype)
        # Each sample's product is with a matrix of its own: no blocks that bf16 would multiply faster.
        with torch.autocast(units.device.type, enabled=False):
            product: torch.Tensor = _MaskedProduct.apply(units, linear.weight, levels, generator)
        product = product / (1 - levels / LEVELS)
        return product if linear.bias is None else product + linear.bias


class _MaskedProduct(torch.autograd.Function):
    """``(batch, inputs)`` and ``(outputs, inputs)`` to ``(batch, outputs)``, in the weights' precision."""

    @staticmethod
    def forward(
        ctx: Any, units: torch.Tensor, weight: torch.Tensor, levels: int, generator: torch.Generator
    ) -> torch.Tensor:
        ctx.save_for_backward(units, weight)
        ctx.levels, ctx.generator = levels, generator.clone_state()
        parts = []
        for part in torch.split(units, _samples(weight)):
            masked = keep_mask(weight.expand(len(part), -1, -1).contiguous(), levels, generator).mul_(weight)
            parts.append((masked @ part[:, :, None])[:, :, 0])
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        units, weight = ctx.saved_tensors
        generator = ctx.generator.clone_state()
        to_units, to_weight = [], torch.zeros_like(weight)
        size = _samples(weight)
        for part, back in zip(torch.split(units, size), torch.split(gradient, size), strict=True):
            mask = keep_mask(weight.expand(len(part), -1, -1).contiguous(), ctx.levels, generator)
            to_weight += torch.einsum("bo,bi,boi->oi", back, part, mask)
            to_units.append((back[:, None, :] @ mask.mul_(weight))[:, 0])
        return torch.cat(to_units), to_weight, None, None


def _samples(weight: torch.Tensor) -> int:
    return max(1, _CHUNK // weight.numel())
