"""Evaluation: predictions of a net, and metrics of predicted probabilities."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dropbench.engine.batches import Examples
from dropbench.engine.device import autocast, free_memory_bytes

EVALUATION_BATCH = 128
"""Examples that are evaluated at once on the CPU, and on every device if each batch has masks of its own."""
ECE_BINS = 15
LARGEST_BATCH = 4096
"""Examples that are evaluated at once on a GPU with enough free memory."""
_SHARE_OF_MEMORY = 1 / 4  # other runs may use the GPU, too, and convolutions need memory beside the maps


def evaluation_batch(model: nn.Module, examples: Examples, precision: str) -> int:
    """Return how many examples the model evaluates at once.

    On the CPU larger batches are slower, since their activations fit into no cache. A GPU needs larger ones
    to be busy, and has a limited memory.
    """
    device = examples.device
    if device.type != "cuda":
        return EVALUATION_BATCH
    return batch_that_fits(free_memory_bytes(device), activation_bytes(model, examples, precision))


def batch_that_fits(free_bytes: int, bytes_per_example: int) -> int:
    """Return the largest power of two whose activations take at most a quarter of the free memory.

    It is at least EVALUATION_BATCH and at most LARGEST_BATCH.
    """
    batch = LARGEST_BATCH
    while batch > EVALUATION_BATCH and batch * bytes_per_example > _SHARE_OF_MEMORY * free_bytes:
        batch //= 2
    return batch


@torch.no_grad()
def activation_bytes(model: nn.Module, examples: Examples, precision: str) -> int:
    """Return the bytes of an example and of all modules' outputs for it, with the model in eval mode.

    Evaluation frees most of them on its way, so they are more than are in memory at once.
    """
    found: list[int] = []

    def see(module: nn.Module, given: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            found.append(output.nbytes)

    hooks = [module.register_forward_hook(see) for module in model.modules()]
    images, _ = examples.batch(torch.zeros(1, dtype=torch.int64, device=examples.device))
    with autocast(images.device, precision):
        model.eval()(images)
    for hook in hooks:
        hook.remove()
    return images.nbytes + sum(found)


@torch.no_grad()
def outputs_of(model: nn.Module, examples: Examples, positions: torch.Tensor, precision: str) -> torch.Tensor:
    """Return what the model makes of the examples, ``(examples, outputs)`` in float32, in eval mode."""
    model.eval()
    outputs = []
    for part in torch.split(positions, evaluation_batch(model, examples, precision)):
        inputs, _ = examples.batch(part)
        with autocast(inputs.device, precision):
            outputs.append(model(inputs).float())
    return torch.cat(outputs)


def predict(model: nn.Module, examples: Examples, positions: torch.Tensor, precision: str) -> torch.Tensor:
    """Return log-probabilities ``(examples, classes)`` in float32, with the model in eval mode."""
    return F.log_softmax(outputs_of(model, examples, positions, precision), dim=1)


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

    The fifteen bins are equally wide and include their upper end. Each result is ``(bins,)`` in float64. A
    confidence that is NaN is in the first bin, whose sum is NaN then.
    """
    confidence, predicted = probabilities.max(dim=1)
    # A confidence of 1 may be rounded up.
    bins = (confidence * ECE_BINS).ceil().nan_to_num(1).clamp(1, ECE_BINS).long() - 1
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
