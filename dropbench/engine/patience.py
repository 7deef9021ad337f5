"""Patience: which epoch's net is the best, and when to wait no longer for a better one."""

import math
from collections.abc import Callable

from torch import nn

from dropbench.engine.members import Weights
from dropbench.engine.tree import Tree
from dropbench.run.result import EpochRecord


class Best:
    """The epoch with the lowest validation loss so far, with its net; without patience, none is kept."""

    def __init__(self, patience: int | None) -> None:
        self.epoch = 0
        self._patience = patience
        self._loss = math.inf
        self.weights: Weights = {}
        """The weights of that net, in float32."""

    def see(self, record: EpochRecord, weights: Callable[[], Weights]) -> None:
        """Keep the net's weights if its validation loss is the lowest yet."""
        if self._patience is not None and record.val_loss < self._loss:
            self.epoch, self._loss, self.weights = record.epoch, record.val_loss, weights()

    def lost_patience(self, epoch: int) -> bool:
        """Whether ``epoch`` is the last to wait for a lower loss."""
        return self._patience is not None and epoch - self.epoch >= self._patience

    def state(self) -> Tree:
        """Return the best epoch, its loss and its net's weights."""
        return {"epoch": self.epoch, "loss": self._loss, "weights": self.weights}

    def go_on(self, state: Tree) -> None:
        """Go on from a state."""
        self.epoch, self._loss, self.weights = state["epoch"], state["loss"], state["weights"]

    def restore(self, model: nn.Module) -> None:
        """Give the model the weights of the best epoch, where they were kept."""
        if self.weights:
            model.load_state_dict(self.weights)
