"""The net of a regression: any net with one output, and one learned noise level."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from dropbench.errors import UsageError

LEAST = 1e-6
"""The least noise level, as a share of the targets' deviation: float32 cannot tell smaller ones from 0."""


class GaussianNet(nn.Module):
    """A net that predicts Gaussian distributions of a standardised target.

    The mean is the output of ``net``, one number an example. The standard deviation is the same for all
    examples and a parameter of its own, in float32 whatever the precision. It starts at 1, the deviation of
    the targets themselves. Its logarithm is learned, softened so that it stays above that of LEAST.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.log_deviation = nn.Parameter(torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return mean and logarithm of the standard deviation, ``(batch, 2)`` in float32.

        Raises:
            UsageError: if the net does not return one number an example.

        """
        mean = self.net(inputs).float()
        if mean.numel() != len(mean):  # which may be more than the inputs: see copies_fit
            raise UsageError(
                f"The net of a regression has one output an example, not {tuple(mean.shape[1:])}.",
                "Give its last layer as many outputs as the factory is told.",
            )
        lowest = math.log(LEAST)
        deviation = lowest + F.softplus(self.log_deviation - lowest)
        mean = mean.flatten()
        return torch.stack([mean, deviation.expand_as(mean)], dim=1)
