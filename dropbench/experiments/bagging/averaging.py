"""Means of predictions."""

import math
from collections.abc import Sequence

import torch


def log_mean(members: Sequence[torch.Tensor]) -> torch.Tensor:
    """Log of the arithmetic mean of probabilities, from log-probabilities ``(examples, classes)`` each.

    The mean of one is that one, to the last bit.
    """
    if len(members) == 1:
        return members[0]
    return torch.logsumexp(torch.stack(list(members)), dim=0) - math.log(len(members))
