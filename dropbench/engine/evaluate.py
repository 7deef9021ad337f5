"""Evaluation: predictions of a net, and metrics of predicted probabilities."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dropbench.engine.batches import Examples
from dropbench.engine.device import autocast

EVALUATION_BATCH = 128
"""Examples that are evaluated at once on the CPU, and on every device if each batch has masks of its own."""
ECE_BINS = 15
_LARGEST_BATCH = 2048
_LARGEST_IMAGE = 32 * 32  # in pixels, of images that are evaluated in the largest batches


def evaluation_batch(images: torch.Tensor) -> int:
    """Return how many of these images ``(examples, channels, height, width)`` are evaluated at once.

    On the CPU larger batches are slower, since their activations fit into no cache. A GPU needs larger ones
    to be busy; of larger images it gets fewer, so that a batch takes no more memory.
    """
    if images.device.type != "cuda":
        return EVALUATION_BATCH
    pixels = images.shape[2] * images.shape[3]
    return max(EVALUATION_BATCH, min(_LARGEST_BATCH, _LARGEST_BATCH * _LARGEST_IMAGE // pixels))


@torch.no_grad()
def predict(model: nn.Module, examples: Examples, positions: torch.Tensor, precision: str) -> torch.Tensor:
    """Return log-probabilities ``(examples, classes)`` in float32, with the model in eval mode."""
    model.eval()
    outputs = []
    for part in torch.split(positions, evaluation_batch(examples.images)):
        images, _ = examples.batch(part)
        with autocast(images.device, precision):
            logits = model(images)
        outputs.append(F.log_softmax(logits.float(), dim=1))
    return torch.cat(outputs)


def as_kept(log_probabilities: torch.Tensor) -> np.ndarray:
    """Return log-probabilities in float16, as they are saved beside the CSV files.

    Logarithms are saved because the smallest probability in float16 is 6·10⁻⁸; a confident error would have
    probability 0 and infinite loss.
    """
    # A value below float16's range would become −∞, and so would every mean over it.
    least = torch.finfo(torch.float16).min
    return log_probabilities.clamp(min=least).half().cpu().numpy()


def from_kept(kept: np.ndarray) -> torch.Tensor:
    """Return saved log-probabilities in float32, normalised again after the rounding.

    A run's own metrics are computed from these too, so an ensemble of one has exactly the metrics of its
    member.
    """
    return F.log_softmax(torch.from_numpy(kept).float(), dim=-1)


def metrics(log_probabilities: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Return error (percent), NLL (nats), Brier score (sum over classes, 0 to 2) and ECE (15 bins).

    The arguments are ``(examples, classes)`` and ``(examples,)``. The keys are among
    dropbench.run.result.METRIC_NAMES.
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
    """Return the mean over examples of |accuracy − confidence| in their confidence bin (Guo et al. 2017).

    torchmetrics computes the same number, and the tests compare with it. Importing it here would cost every
    worker 2.4 s and 260 MB (measured with -X importtime).
    """
    _, correct, confidence = reliability(probabilities, labels)
    return (correct - confidence).abs().sum().item() / len(labels)


def reliability(
    probabilities: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the numbers of examples and of correct ones, and the summed confidence, per bin of confidence.

    The fifteen bins are equally wide and include their upper end. Each result is ``(bins,)`` in float64.
    """
    confidence, predicted = probabilities.max(dim=1)
    bins = (confidence * ECE_BINS).ceil().clamp(1, ECE_BINS).long() - 1  # a confidence of 1 may be rounded up
    empty = torch.zeros(ECE_BINS, dtype=torch.float64, device=bins.device)
    correct = (predicted == labels).double()
    return (
        empty.index_add(0, bins, torch.ones_like(correct)),
        empty.index_add(0, bins, correct),
        empty.index_add(0, bins, confidence.double()),
    )


def error_percent(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the percentage of examples whose largest score ``(examples, classes)`` is not their label's."""
    return 100 * (scores.argmax(dim=1) != labels).sum().item() / len(labels)
