"""The tasks of classifiers and autoencoders, and which one a run has."""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dropbench.engine.device import autocast
from dropbench.engine.evaluate import as_kept, evaluation_batch, from_kept, metrics, predict
from dropbench.engine.monte_carlo import predict_monte_carlo
from dropbench.engine.regress import Regress, Scale
from dropbench.engine.task import Predictor, Split, Task
from dropbench.run.config import RunConfig
from dropbench.run.result import mc_ladder

PICTURES = 12
"""The number of reconstructed images that are saved of an autoencoder."""


class Classify(Predictor):
    """Classification, with the cross-entropy of the labels as loss.

    ``smoothing`` is the share of a label that the objective spreads evenly over all classes.
    """

    target = "labels"
    error = "error_percent"

    def __init__(self, smoothing: float = 0.0) -> None:
        self.smoothing = smoothing

    def loss(self, outputs: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood in nats."""
        return F.cross_entropy(outputs, targets)

    def objective(
        self, loss: torch.Tensor, outputs: torch.Tensor, targets: torch.Tensor, penalty: torch.Tensor | None
    ) -> torch.Tensor:
        """Return the loss and the penalties; the loss is that of smoothed labels where a share is told.

        With the share ε it is (1 − ε) times the negative log-likelihood plus ε times the mean over classes of
        −log P (Szegedy et al. 2016, section 7).
        """
        if self.smoothing:
            loss = F.cross_entropy(outputs, targets, label_smoothing=self.smoothing)
        return super().objective(loss, outputs, targets, penalty)

    def wrong(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return how many largest outputs are not the label's."""
        return self.faults(outputs, targets).sum()

    def validate(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Return the negative log-likelihood in nats and the error in percent."""
        predicted = predict(model, split.examples, split.positions, precision)
        targets = split.targets
        both = [F.nll_loss(predicted, targets).double(), self.wrong(predicted, targets).double()]
        loss, wrong = torch.stack(both).tolist()
        return loss, self.error_of(wrong, len(targets))

    def predictions(self, model: nn.Module, split: Split, precision: str) -> np.ndarray:
        """Return log-probabilities in float16, ``(examples, classes)``."""
        return as_kept(predict(model, split.examples, split.positions, precision))

    def metrics(self, kept: np.ndarray, targets: torch.Tensor) -> dict[str, float]:
        """Return error, negative log-likelihood, Brier score and expected calibration error."""
        return metrics(from_kept(kept), targets)

    def monte_carlo(self, model: nn.Module, split: Split, config: RunConfig) -> dict[str, np.ndarray]:
        """Return averages over passes; see dropbench.engine.monte_carlo.ThinnedNets."""
        nets = predict_monte_carlo(
            model,
            split.examples,
            split.positions,
            config.optimizer.precision,
            mc_ladder(config.dropout.mc_samples),
            config,
        )
        return {
            "_mc": as_kept(nets.log_mean),
            "_mc_mean_log": as_kept(nets.mean_log),
            "_mc_votes": nets.votes.short().cpu().numpy(),
            "_mc_squares": nets.squares.cpu().numpy(),
        }

    def faults(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return whether the largest output is not the label's, ``(…, examples)``; NaN predicts no class."""
        return (outputs.argmax(dim=-1) != targets) | outputs.isnan().any(dim=-1)

    def error_of(self, faults: float, examples: int) -> float:
        """Return the error in percent."""
        return 100 * faults / examples


class Reconstruct(Task):
    """Reconstruction, with the cross-entropy of the pixels as loss, summed over an image.

    A pixel value from 0 to 1 is taken as a probability.
    """

    def loss(self, outputs: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy in nats per image; ``outputs`` are logits."""
        return F.binary_cross_entropy_with_logits(outputs, inputs, reduction="sum") / len(inputs)

    def wrong(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
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
        images, _ = test.examples.batch(test.positions[_positions_of_pictures(test.targets)])
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


def task_of(config: RunConfig, training_targets: np.ndarray) -> Task:
    """Return the task of a run.

    ``training_targets`` ``(examples,)`` are those of its training split, not of a bootstrap of it, so that
    members of an ensemble share what a regression takes of them.
    """
    return task_with(config, Scale.of(training_targets) if config.task == "regress" else None)


def task_with(config: RunConfig, scale: Scale | None) -> Task:
    """Return the task of a run; a regression needs the ``scale`` of its targets, and no other has one."""
    if scale is not None:
        return Regress(scale)
    return Reconstruct() if config.task == "reconstruct" else Classify(config.optimizer.label_smoothing)
