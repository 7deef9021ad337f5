"""What a net is trained for: its loss, and what is measured of it when it is trained."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dropbench.engine.batches import Examples
from dropbench.engine.device import autocast
from dropbench.engine.evaluate import EVALUATION_BATCH, as_kept, error_percent, from_kept, metrics, predict

PICTURES = 12
"""Reconstructions that are kept of an autoencoder."""


@dataclass(frozen=True)
class Split:
    """Examples, and the positions of those that count."""

    examples: Examples
    positions: torch.Tensor

    @property
    def labels(self) -> torch.Tensor:
        """Of the positions, ``(examples,)``."""
        return self.examples.labels[self.positions]


class Task(Protocol):
    """A task has no state: everything comes with the call."""

    def loss(self, outputs: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """What a step goes down, without penalties: the mean over the batch."""

    def wrong(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """How many of the batch are wrong; NaN where nothing can be."""

    def validate(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Loss and error in percent of a split."""

    def measure(
        self, model: nn.Module, validation: Split, test: Split, precision: str
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """The metrics and the predictions of RunResult."""


class Classify:
    """Cross-entropy on the labels."""

    def loss(self, outputs: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood in nats."""
        return F.cross_entropy(outputs, labels)

    def wrong(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Where the largest output is not the label's."""
        return (outputs.argmax(dim=1) != labels).sum()

    def validate(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Negative log-likelihood and error."""
        predicted = predict(model, split.examples, split.positions, precision)
        return F.nll_loss(predicted, split.labels).item(), error_percent(predicted, split.labels)

    def measure(
        self, model: nn.Module, validation: Split, test: Split, precision: str
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """All metrics, log-probabilities and labels."""
        figures: dict[str, float] = {}
        arrays: dict[str, np.ndarray] = {}
        for name, split in (("val", validation), ("test", test)):
            kept = as_kept(predict(model, split.examples, split.positions, precision))
            labels = split.labels.cpu()
            figures |= {f"{name}_{key}": value for key, value in metrics(from_kept(kept), labels).items()}
            arrays |= {name: kept, f"{name}_labels": labels.numpy()}
        return figures, arrays


class Reconstruct:
    """Cross-entropy of the pixels, each a probability from 0 to 1, summed over an image."""

    def loss(self, outputs: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """In nats an image; the outputs are logits."""
        return F.binary_cross_entropy_with_logits(outputs, images, reduction="sum") / len(images)

    def wrong(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """No image is right or wrong."""
        return torch.full((), torch.nan, device=outputs.device)

    def validate(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Cross-entropy, and NaN."""
        return self._measured(model, split, precision)[0], float("nan")

    @torch.no_grad()
    def _measured(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Cross-entropy and squared error of an image, means over a split."""
        model.eval()
        totals = torch.zeros(2, dtype=torch.float64, device=split.positions.device)
        for part in torch.split(split.positions, EVALUATION_BATCH):
            images, labels = split.examples.batch(part)
            with autocast(images.device, precision):
                outputs = model(images)
            squared = (outputs.float().sigmoid() - images).square().sum()
            totals += torch.stack([self.loss(outputs.float(), images, labels) * len(part), squared])
        cross_entropy, error = (totals / len(split.positions)).tolist()
        return cross_entropy, error

    @torch.no_grad()
    def measure(
        self, model: nn.Module, validation: Split, test: Split, precision: str
    ) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        """The errors; the features (the first layer's weights) and some reconstructions as images."""
        figures: dict[str, float] = {}
        for name, split in (("val", validation), ("test", test)):
            figures[f"{name}_nll"], figures[f"{name}_reconstruction_error"] = self._measured(
                model, split, precision
            )
        images, _ = test.examples.batch(test.positions[_one_of_each_class(test.labels)])
        first = next(module for module in model.modules() if isinstance(module, nn.Linear))
        arrays = {
            "features": first.weight.view(-1, *images.shape[1:]),
            "originals": images,
            "reconstructions": model(images).sigmoid(),
        }
        return figures, {name: array.float().cpu().contiguous().numpy() for name, array in arrays.items()}


def _one_of_each_class(labels: torch.Tensor) -> torch.Tensor:
    """The first place of each label, then the first places of all, up to PICTURES."""
    first = [int((labels == label).nonzero()[0]) for label in sorted(set(labels.tolist()))]
    rest = (place for place in range(len(labels)) if place not in first)
    return torch.tensor([*first, *rest][:PICTURES], device=labels.device)


TASKS: dict[str, Task] = {"classify": Classify(), "reconstruct": Reconstruct()}
