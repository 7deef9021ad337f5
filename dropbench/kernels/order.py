"""The order in which units are numbered, and tensors that lie in memory so.

Units are numbered along the rows, in feature maps (batch, channels, height, width) with the channels last.
That is the order in memory of a map in channels_last, and does not depend on the
order in memory.
"""

import torch


def numbered_in_memory(units: torch.Tensor) -> bool:
    """Whether the units lie in memory, without gaps, in the order of their numbers."""
    if units.ndim == 4:
        return units.is_contiguous(memory_format=torch.channels_last)
    return units.is_contiguous()


def in_order(units: torch.Tensor) -> torch.Tensor:
    """Return the units in a memory format in which they lie in the order of their numbers."""
    if units.ndim == 4:
        return units.contiguous(memory_format=torch.channels_last)
    return units.contiguous()
