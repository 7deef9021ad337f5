"""RunResult: what one run gives back, from the engine through the runner to the store."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dropbench.config import RunConfig

Status = Literal["ok", "diverged", "failed"]

METRICS = ("error_percent", "nll", "brier", "ece")
"""Of each split: error in percent; negative log-likelihood in nats; Brier score (0 to 2); expected
calibration error (0 to 1, 15 bins)."""


@dataclass(frozen=True)
class EpochRecord:
    """One point of the curves. Training figures are means over the epoch's steps, with dropout on."""

    epoch: int
    train_loss: float
    train_error_percent: float
    val_loss: float
    val_error_percent: float
    seconds: float
    """Of training alone, without the evaluation."""


@dataclass(frozen=True)
class RunResult:
    """The outcome of one run.

    ``metrics`` has ``val_`` and ``test_`` of each of METRICS, empty unless ``status`` is ok. ``cost`` has
    images_per_second, seconds, train_seconds, compile_seconds (no part of train_seconds; 0 without
    torch.compile), parameters and peak_memory_bytes (None where nobody tells). ``where`` says on what it
    ran. ``predictions`` maps a name (``val``, ``test``, ``test_mc``, ``val_labels``, …) to an array:
    log-probabilities ``(examples, classes)`` in float32, or labels ``(examples,)``.
    """

    config: RunConfig
    status: Status
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    cost: dict[str, float | None] = field(default_factory=dict)
    where: dict[str, Any] = field(default_factory=dict)
    epochs: tuple[EpochRecord, ...] = ()
    predictions: dict[str, np.ndarray] = field(default_factory=dict)
