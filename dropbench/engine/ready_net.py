"""ReadyNet: a saved net as a module that takes examples as their data set has them."""

from typing import cast

import torch
from torch import nn

from dropbench.datasets.encoding import TableEncoder
from dropbench.engine.saved_net import SavedNet


class ReadyNet(nn.Module):
    """A net with the preparation of its inputs, so that it takes examples as their data set has them.

    In: images ``(batch, channels, height, width)`` of the values that it was trained on, or rows of a table
    ``(batch, columns)`` in float64, where a category is its place among the column's and NaN is missing. Out:
    logits ``(batch, classes)``, or of a regression mean and standard deviation ``(batch, 2)`` in the unit of
    the target. ``net`` is the net alone; ``config``, ``classes``, ``columns`` and ``input_shape`` tell of it.
    """

    def __init__(self, saved: SavedNet) -> None:
        super().__init__()
        self.net = saved.build(torch.device("cpu"))
        self.config = saved.config
        self.classes = saved.needs.classes
        self.columns = saved.needs.columns
        self.input_shape = saved.needs.input_shape
        self._scale = saved.scale
        stored = saved.about["preparation"]
        self._encoder = TableEncoder.of_stored(self.columns, stored) if self.columns else None
        if not self.columns:
            for name in ("mean", "deviation"):
                self.register_buffer(name, torch.tensor(stored[name]).reshape(-1, 1, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs of the net for examples."""
        if self._encoder is not None:
            device = next(self.net.parameters()).device
            seen = torch.from_numpy(self._encoder.encode(inputs.double().cpu().numpy())).to(device)
        else:
            mean, deviation = cast(torch.Tensor, self.mean), cast(torch.Tensor, self.deviation)
            seen = (inputs.to(mean.dtype, memory_format=torch.channels_last) - mean) / deviation
        outputs = cast(torch.Tensor, self.net(seen))
        return outputs if self._scale is None else self._scale.in_units(outputs)
