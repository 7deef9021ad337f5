"""The tasks a net is trained for: the loss, and the metrics of the trained net."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dropbench.engine.batches import Examples
from dropbench.engine.device import autocast
from dropbench.engine.evaluate import as_kept, evaluation_batch, from_kept, metrics, predict

PICTURES = 12
"""The number of reconstructed images that are saved of an autoencoder."""


@dataclass(frozen=True)
class Split:
    """The examples at some positions, such as the validation split."""

    examples: Examples
    positions: torch.Tensor

    @property
    def labels(self) -> torch.Tensor:
        """The labels of the split, ``(examples,)``."""
        return self.examples.targets[self.positions]


class Task(Protocol):
    """The protocol of a task, which has no state."""

    def loss(self, outputs: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss without penalties, the mean over the batch."""

    def wrong(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the number of wrong predictions in the batch; NaN if the task has none."""

    def validate(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Return the loss and the error in percent of a split."""

    def measure(
        self, model: nn.Module, splits: Mapping[str, Split], precision: str
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return the metrics of ``train``, ``val`` and ``test``, and the predictions for RunResult."""


class Classify:
    """Classification, with the cross-entropy of the labels as loss."""

    def loss(self, outputs: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood in nats."""
        return F.cross_entropy(outputs, labels)

    def wrong(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return how many largest outputs are not the label's."""
        return (outputs.argmax(dim=1) != labels).sum()

    def validate(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Return the negative log-likelihood in nats and the error in percent."""
        predicted = predict(model, split.examples, split.positions, precision)
        labels = split.labels
        both = [F.nll_loss(predicted, labels).double(), self.wrong(predicted, labels).double()]
        loss, wrong = torch.stack(both).tolist()
        return loss, 100 * wrong / len(labels)

    def measure(
        self, model: nn.Module, splits: Mapping[str, Split], precision: str
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return all metrics, and the log-probabilities and labels of all but the training images."""
        figures: dict[str, float] = {}
        arrays: dict[str, np.ndarray] = {}
        for name, split in splits.items():
            kept = as_kept(predict(model, split.examples, split.positions, precision))
            labels = split.labels.cpu()
            figures |= {f"{name}_{key}": value for key, value in metrics(from_kept(kept), labels).items()}
            if name != "train":
                arrays |= {name: kept, f"{name}_labels": labels.numpy()}
        return figures, arrays


class Reconstruct:
    """Reconstruction, with the cross-entropy of the pixels as loss, summed over an image.

    A pixel value from 0 to 1 is taken as a probability.
    """

    def loss(self, outputs: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy in nats per image; ``outputs`` are logits."""
        return F.binary_cross_entropy_with_logits(outputs, images, reduction="sum") / len(images)

    def wrong(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return NaN: a reconstruction is not right or wrong."""
        return torch.full((), torch.nan, device=outputs.device)

    def validate(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Return the cross-entropy in nats per image, and NaN."""
        return self._measured(model, split, precision)[0], float("nan")

    @torch.no_grad()
    def _measured(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Return the cross-entropy and the squared error of an image, as means over a split."""
        model.eval()
        totals = torch.zeros(2, dtype=torch.float64, device=split.positions.device)
        for part in torch.split(split.positions, evaluation_batch(model, split.examples, precision)):
            images, labels = split.examples.batch(part)
            with autocast(images.device, precision):
                outputs = model(images)
            squared = (outputs.float().sigmoid() - images).square().sum()
            totals += torch.stack([self.loss(outputs.float(), images, labels) * len(part), squared])
        cross_entropy, error = (totals / len(split.positions)).tolist()
        return cross_entropy, error

    @torch.no_grad()
    def measure(
        self, model: nn.Module, splits: Mapping[str, Split], precision: str
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """Return the errors, the features (the first layer's weights) and some reconstructions as images."""
        figures: dict[str, float] = {}
        for name, split in splits.items():
            figures[f"{name}_nll"], figures[f"{name}_reconstruction_error"] = self._measured(
                model, split, precision
            )
        test = splits["test"]
        images, _ = test.examples.batch(test.positions[_positions_of_pictures(test.labels)])
        first = next(module for module in model.modules() if isinstance(module, nn.Linear))
        arrays = {
            "features": first.weight.view(-1, *images.shape[1:]),
            "originals": images,
            "reconstructions": model(images).sigmoid(),
        }
        return figures, {name: array.float().cpu().contiguous().numpy() for name, array in arrays.items()}


def _positions_of_pictures(labels: torch.Tensor) -> torch.Tensor:
    """Return PICTURES positions: the first one of each label, then the first of the others."""
    _, first = np.unique(labels.cpu().numpy(), return_index=True)
    rest = np.setdiff1d(np.arange(len(labels)), first)
    return torch.from_numpy(np.concatenate([first, rest])[:PICTURES]).to(labels.device)


TASKS: dict[str, Task] = {"classify": Classify(), "reconstruct": Reconstruct()}
