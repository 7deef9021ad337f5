"""The one evaluation loop, and the metrics of predicted probabilities."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from dropbench.dropout.control import monte_carlo
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


def predict_monte_carlo(
    model: nn.Module, examples: Examples, positions: torch.Tensor, precision: str, samples: int
) -> torch.Tensor:
    """Log of the mean probability over ``samples`` passes with fresh masks, ``(examples, classes)``.

    The arithmetic mean over thinned nets of Srivastava et al. 2014, section 7.5.
    """
    total: torch.Tensor | None = None
    with monte_carlo(model):
        for _ in range(samples):
            passed = predict(model, examples, positions, precision)
            total = passed if total is None else torch.logaddexp(total, passed)
    if total is None:
        raise ValueError("Monte-Carlo averaging needs at least one sample")
    return total - math.log(samples)


def metrics(log_probabilities: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Error %, NLL (nats), Brier score (sum over classes, 0 to 2) and ECE (15 bins).

    Takes ``(examples, classes)`` and ``(examples,)``; the keys are among dropbench.run_result.METRICS.
    """
    probabilities = log_probabilities.exp()
    truth = F.one_hot(labels, probabilities.shape[1])
    return {
        "error_percent": error_percent(log_probabilities, labels),
        "nll": F.nll_loss(log_probabilities, labels).item(),
        "brier": (probabilities - truth).square().sum(dim=1).mean().item(),
        "ece": expected_calibration_error(probabilities, labels),
    }


def expected_calibration_error(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean over examples of |accuracy − confidence| of the example's confidence bin (Guo et al. 2017).

    Fifteen equal bins, open to the left. torchmetrics has the same number and is the oracle in the
    tests; importing it here would cost every worker 2.4 s and 260 MB (time it with -X importtime).
    """
    confidence, predicted = probabilities.max(dim=1)
    gap = (predicted == labels).double() - confidence.double()
    bins = (confidence * ECE_BINS).ceil().clamp(min=1).long() - 1
    per_bin = torch.zeros(ECE_BINS, dtype=torch.float64, device=gap.device).index_add_(0, bins, gap)
    return per_bin.abs().sum().item() / len(labels)


def error_percent(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of examples whose largest score ``(examples, classes)`` is not at their label, in percent."""
    return 100 * (scores.argmax(dim=1) != labels).sum().item() / len(labels)
