"""A training step: forward and backward pass of a batch, and the update of the weights."""

from dataclasses import dataclass

import torch
from torch import nn

from dropbench.dropout.control import dropout_layers
from dropbench.dropout.stream import Stream
from dropbench.engine import optim
from dropbench.engine.augmentation import Augmentation
from dropbench.engine.batches import Examples
from dropbench.engine.boosting import boosting_objective
from dropbench.engine.compiling import Compiled
from dropbench.engine.device import autocast
from dropbench.engine.penalties import Penalties
from dropbench.engine.task import Task
from dropbench.run.config import RunConfig


@dataclass
class Step:
    """A step of the optimizer on examples at given positions.

    It reads nothing back from the device, and whatever changes from step to step comes to it in tensors or
    is drawn by its streams, so a CUDA graph can hold it (see dropbench.engine.epoch).
    """

    config: RunConfig
    examples: Examples
    model: nn.Module
    trained: nn.Module | Compiled
    """``model``, or its compiled version, which shares the weights and is used for training steps only."""
    task: Task
    penalties: Penalties
    optimizer: optim.Optimizer
    augmentation: Augmentation | None = None

    def __call__(
        self, positions: torch.Tensor, learning_rate: optim.Rate
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Do the step; return the batch's loss without penalties, and its number of wrong predictions.

        ``positions`` ``(batch,)`` are places among the examples.
        """
        config = self.config
        inputs, targets = self._batch(positions)
        with self.penalties.watching(), autocast(inputs.device, config.optimizer.precision):
            outputs = self.trained(inputs)
        objective = loss = self.task.loss(outputs.float(), inputs, targets)
        if config.dropout.boosting:
            thinned, outputs = outputs, self._weight_scaled(inputs)
            loss = self.task.loss(outputs.float(), inputs, targets)
            objective = boosting_objective(thinned.float(), outputs.float(), targets)
        objective = self.task.objective(objective, outputs.float(), targets, self.penalties.total())
        if (scale := self.optimizer.loss_scale) is not None:
            objective = scale.scaled(objective)
        self.optimizer.zero_grad()
        with self.optimizer.updating(learning_rate):
            objective.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(learning_rate)
        return loss.detach(), self.task.wrong(outputs.detach(), targets)

    @property
    def streams(self) -> list[Stream]:
        """The streams that the step draws from."""
        of_layers = [layer.stream for layer in dropout_layers(self.model)]
        of_images = None if self.augmentation is None else self.augmentation.stream
        return [stream for stream in (*of_layers, of_images) if stream is not None]

    def _batch(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images, changed at random where the run wants it, and their labels."""
        if self.augmentation is None:
            return self.examples.batch(positions)
        return self.augmentation.batch(self.examples, positions)

    @torch.no_grad()
    def _weight_scaled(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits by weight scaling, which approximate the mean logits of the thinned nets."""
        self.model.eval()
        try:
            with autocast(inputs.device, self.config.optimizer.precision):
                logits: torch.Tensor = self.model(inputs)
        finally:
            self.model.train()
        return logits
