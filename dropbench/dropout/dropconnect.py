"""DropConnect: a Bernoulli mask on the weights of the next layer (Wan et al. 2013)."""

from typing import Any, Self, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from dropbench.dropout.layer import Arriving, DropoutLayer, Site, layer_before
from dropbench.errors import UsageError
from dropbench.kernels.draws import Chance, Draw, chance_of
from dropbench.kernels.mask import keep_mask

_CHUNK = 1 << 24  # mask values that are held at once: 64 MB


class DropConnect(DropoutLayer):
    """Drops each weight of the next fully connected layer with probability p, with a new mask per sample.

    Kept weights are divided by 1 − p in training, so that at test the layer is used unchanged; biases are not
    dropped. Each sample has its own mask, as in the paper, which found that one mask for a mini-batch
    regularises too little. A step therefore draws batch × weights mask values and takes much longer than with
    other variants. Memory stays bounded, since the backward pass draws the masks again.

    Raises:
        UsageError: if the next layer is not fully connected.

    """

    on_weights = True

    @classmethod
    def at(cls, p_drop: float, site: Site) -> Self:
        """Return the layer for a site.

        Raises:
            UsageError: if units are dropped and the next layer is not fully connected.

        """
        if p_drop and not isinstance(layer_before(site, "dropconnect"), nn.Linear):
            raise UsageError(
                f"DropConnect drops weights of fully connected layers; none follows the site {site.name}.",
                "Leave out the drop probabilities of other sites.",
            )
        return cls(p_drop)

    def second_moment(self, arriving: Arriving) -> float:
        """Return 1/(1 − p), the factor on the second moment of the next layer's output."""
        return 1 / (1 - chance_of(self.p_now).probability)

    def connect(self, layer: nn.Module, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Return the output ``(batch, outputs)`` of ``layer`` with masked weights."""
        linear = cast(nn.Linear, layer)
        chance = chance_of(self.p_now)
        units = units.to(linear.weight.dtype)
        # Each sample is multiplied by its own matrix, so bf16's block products would not make it faster.
        with torch.autocast(units.device.type, enabled=False):
            product: torch.Tensor = _MaskedProduct.apply(units, linear.weight, chance, draw)
        product = product / (1 - chance.probability)
        return product if linear.bias is None else product + linear.bias


class _MaskedProduct(torch.autograd.Function):
    """Units ``(batch, inputs)`` × masked weights ``(outputs, inputs)``, in the weights' precision."""

    @staticmethod
    def forward(
        ctx: Any, units: torch.Tensor, weight: torch.Tensor, chance: Chance, draw: Draw
    ) -> torch.Tensor:
        ctx.save_for_backward(units, weight)
        ctx.chance, ctx.draw = chance, draw
        outputs = []
        for number, part in enumerate(torch.split(units, _samples(weight))):
            masked = _masks(part, weight, chance, draw.of_part(number)).mul_(weight)
            outputs.append((masked @ part[:, :, None])[:, :, 0])
        return torch.cat(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        units, weight = ctx.saved_tensors
        to_units, to_weight = [], torch.zeros_like(weight)
        size = _samples(weight)
        parts = zip(torch.split(units, size), torch.split(gradient, size), strict=True)
        for number, (part, part_gradient) in enumerate(parts):
            masks = _masks(part, weight, ctx.chance, ctx.draw.of_part(number))
            to_weight += torch.einsum("bo,bi,boi->oi", part_gradient, part, masks)
            to_units.append((part_gradient[:, None, :] @ masks.mul_(weight))[:, 0])
        return torch.cat(to_units), to_weight, None, None


def _masks(part: torch.Tensor, weight: torch.Tensor, chance: Chance, draw: Draw) -> torch.Tensor:
    """A mask on the weights for each sample of a part ``(samples, outputs, inputs)``."""
    return keep_mask(weight.new_empty(len(part), *weight.shape), chance, draw)


def _samples(weight: torch.Tensor) -> int:
    return max(1, _CHUNK // weight.numel())
