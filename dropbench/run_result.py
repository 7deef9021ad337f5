"""RunResult: what one run gives back, from the engine through the runner to the store."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dropbench.config import RunConfig

Status = Literal["ok", "diverged", "failed"]

METRICS = ("error_percent", "nll", "brier", "ece", "reconstruction_error")
"""Of each split. Classifiers: error in percent; negative log-likelihood in nats; Brier score (0 to 2);
expected calibration error (0 to 1, 15 bins). Autoencoders: the pixels' cross-entropy as nll, and the squared
error of an image, summed over its pixels of 0 to 1."""


@dataclass(frozen=True)
class EpochRecord:
    """One point of the curves. Training figures are means over the epoch's steps, with dropout on.

    The loss is the negative log-likelihood, of an autoencoder that of the pixels, without any penalty; an
    autoencoder has no error in percent (NaN).
    """

    epoch: int
    train_loss: float
    train_error_percent: float
    val_loss: float
    val_error_percent: float
    seconds: float
    """Of training alone, without the evaluation."""
    p_drop: float = math.nan
    """At the hidden sites, as the schedule and learning have it at the end of the epoch."""


WITHOUT_UNITS = "test_error_percent"
"""The measure that a classifier's panel ends with."""
SHARES = tuple(tenth / 10 for tenth in range(10))
"""Of hidden units, removed for it."""
HISTOGRAM_BINS = 40


@dataclass(frozen=True)
class PanelRecord:
    """One figure of what dropout did to the units; see dropbench.engine.panel for the measures.

    ``layer`` is the number of the hidden site, or empty for the whole net. ``at`` is the share of units
    removed or the number of a histogram's bin, and 0 where there is no such thing.
    """

    measure: str
    layer: str
    at: float
    value: float


@dataclass(frozen=True)
class RunResult:
    """The outcome of one run.

    ``metrics`` has ``val_`` and ``test_`` of each of METRICS, empty unless ``status`` is ok. ``cost`` has
    images_per_second, seconds, train_seconds, compile_seconds (no part of train_seconds; 0 without
    torch.compile), parameters and peak_memory_bytes (None where nobody tells). ``where`` says on what it
    ran. ``predictions`` maps a name (``val``, ``test``, ``test_mc``, ``val_labels``, …) to an array:
    log-probabilities ``(examples, classes)`` in float32, or labels ``(examples,)``; of an autoencoder,
    ``features``, ``originals`` and ``reconstructions`` as images ``(n, channels, height, width)``.
    """

    config: RunConfig
    status: Status
    message: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    cost: dict[str, float | None] = field(default_factory=dict)
    where: dict[str, Any] = field(default_factory=dict)
    epochs: tuple[EpochRecord, ...] = ()
    predictions: dict[str, np.ndarray] = field(default_factory=dict)
    panel: tuple[PanelRecord, ...] = ()
