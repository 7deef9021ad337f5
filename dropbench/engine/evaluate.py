"""The one evaluation loop, and the metrics of predicted probabilities."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dropbench.engine.batches import Examples
from dropbench.engine.device import autocast

EVALUATION_BATCH = 256  # larger is no faster, and takes memory that training does not
ECE_BINS = 15


@torch.no_grad()
def predict(model: nn.Module, examples: Examples, positions: torch.Tensor, precision: str) -> torch.Tensor:
    """Log-probabilities ``(examples, classes)`` in float32, with the model in eval mode."""
    model.eval()
    outputs = []
    for part in torch.split(positions, EVALUATION_BATCH):
        images, _ = examples.batch(part)
        with autocast(images.device, precision):
            logits = model(images)
        outputs.append(F.log_softmax(logits.float(), dim=1))
    return torch.cat(outputs)


def as_kept(log_probabilities: torch.Tensor) -> np.ndarray:
    """Log-probabilities as they are kept beside the CSV, in float16.

    Logarithms, since probabilities in float16 end at 6·10⁻⁸ and a confident error would cost infinitely much.
    """
    # What is below float16's range would become infinite, and with it any mean.
    least = torch.finfo(torch.float16).min
    return log_probabilities.clamp(min=least).half().cpu().numpy()


def from_kept(kept: np.ndarray) -> torch.Tensor:
    """Kept log-probabilities in float32, normalised again after the rounding.

    A run's own metrics are taken from these too, so an ensemble of one has the figures of its member.
    """
    return F.log_softmax(torch.from_numpy(kept).float(), dim=-1)


def metrics(log_probabilities: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Error %, NLL (nats), Brier score (sum over classes, 0 to 2) and ECE (15 bins).

    Takes ``(examples, classes)`` and ``(examples,)``; the keys are among dropbench.run.result.METRICS.
    """
    probabilities = log_probabilities.exp()
    truth = F.one_hot(labels, probabilities.shape[1])
    # In float64 a sum does not depend on how many threads share it.
    return {
        "error_percent": error_percent(log_probabilities, labels),
        "nll": F.nll_loss(log_probabilities.double(), labels).item(),
        "brier": (probabilities - truth).double().square().sum(dim=1).mean().item(),
        "ece": expected_calibration_error(probabilities, labels),
    }


def expected_calibration_error(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean over examples of |accuracy − confidence| of the example's confidence bin (Guo et al. 2017).

    torchmetrics has the same number and is the oracle in the tests; importing it here would cost every
    worker 2.4 s and 260 MB (time it with -X importtime).
    """
    _, right, confidence = reliability(probabilities, labels)
    return (right - confidence).abs().sum().item() / len(labels)


def reliability(
    probabilities: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of fifteen equal bins of confidence, open to the left: examples, right ones, and summed confidence.

    Each ``(bins,)`` in float64.
    """
    confidence, predicted = probabilities.max(dim=1)
    bins = (confidence * ECE_BINS).ceil().clamp(1, ECE_BINS).long() - 1  # a sum of 1 may round to above
    empty = torch.zeros(ECE_BINS, dtype=torch.float64, device=bins.device)
    right = (predicted == labels).double()
    return (
        empty.index_add(0, bins, torch.ones_like(right)),
        empty.index_add(0, bins, right),
        empty.index_add(0, bins, confidence.double()),
    )


def error_percent(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of examples whose largest score ``(examples, classes)`` is not at their label, in percent."""
    return 100 * (scores.argmax(dim=1) != labels).sum().item() / len(labels)
