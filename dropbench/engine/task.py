"""Task: a purpose of training, and its measures; Split: the examples that a net is measured on."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from dropbench.engine.batches import Examples
from dropbench.engine.evaluate import outputs_of
from dropbench.run.config import RunConfig


@dataclass(frozen=True)
class Split:
    """The examples at some positions, such as the validation split."""

    examples: Examples
    positions: torch.Tensor

    @property
    def targets(self) -> torch.Tensor:
        """The targets of the split, ``(examples,)``."""
        return self.examples.targets[self.positions]


class Task(ABC):
    """A purpose of training: the loss of a net's outputs, and the metrics of the trained net."""

    @abstractmethod
    def loss(self, outputs: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss without penalties, the mean over the batch."""

    def objective(
        self, loss: torch.Tensor, outputs: torch.Tensor, targets: torch.Tensor, penalty: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the scalar by whose gradient the net is trained: the loss and the penalties, if any."""
        return loss if penalty is None else loss + penalty

    @abstractmethod
    def wrong(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the number of wrong predictions in the batch; NaN if the task has none."""

    @abstractmethod
    def validate(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Return the loss and the error in percent of a split."""

    @abstractmethod
    def measure(
        self, model: nn.Module, splits: Mapping[str, Split], precision: str
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return the metrics of ``train``, ``val`` and ``test``, and the arrays for RunResult."""


class Predictor(Task):
    """A task whose nets predict a target, so that their predictions are kept, and averaged in ensembles.

    - ``target``: the word for targets in the names of arrays.
    - ``error``: the metric that the panel has, one of METRIC_NAMES.
    """

    target: str
    error: str

    @abstractmethod
    def predictions(self, model: nn.Module, split: Split, precision: str) -> np.ndarray:
        """Return the predictions of a split as they are kept, ``(examples, …)``."""

    @abstractmethod
    def metrics(self, kept: np.ndarray, targets: torch.Tensor) -> dict[str, float]:
        """Return the metrics of kept predictions; the keys are among METRIC_NAMES."""

    @abstractmethod
    def monte_carlo(self, model: nn.Module, split: Split, config: RunConfig) -> dict[str, np.ndarray]:
        """Return the arrays of Monte-Carlo dropout, each by what its name has after that of the split."""

    @abstractmethod
    def faults(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return a number for each of the examples ``(…, examples, outputs)``; error_of takes their sum."""

    @abstractmethod
    def error_of(self, faults: float, examples: int) -> float:
        """Return the metric ``error`` of so many examples, whose ``faults`` have this sum."""

    def error_on(self, model: nn.Module, split: Split, precision: str) -> float:
        """Return the metric ``error`` on a split."""
        outputs = outputs_of(model, split.examples, split.positions, precision)
        return self.error_of(self.faults(outputs, split.targets).double().sum().cpu().item(), len(outputs))

    def measure(
        self, model: nn.Module, splits: Mapping[str, Split], precision: str
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return all metrics, and predictions and targets of all but the training examples."""
        figures: dict[str, float] = {}
        arrays: dict[str, np.ndarray] = {}
        for name, split in splits.items():
            kept = self.predictions(model, split, precision)
            targets = split.targets.cpu()
            figures |= {f"{name}_{key}": value for key, value in self.metrics(kept, targets).items()}
            if name != "train":
                arrays |= {name: kept, f"{name}_{self.target}": targets.numpy()}
        return figures, arrays
