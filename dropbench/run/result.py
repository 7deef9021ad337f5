"""RunResult: what one run gives back, from the engine through the runner to the store."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from dropbench.catalog.models import recipe_of
from dropbench.run.config import RunConfig

Status = Literal["ok", "diverged", "failed"]
STATUSES: tuple[str, ...] = get_args(Status)

METRIC_NAMES = ("error_percent", "nll", "brier", "ece", "reconstruction_error")
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


ERROR_WITHOUT_UNITS = "test_error_percent"
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


MC_STEPS = (1, 2, 5)


def mc_ladder(samples: int) -> tuple[int, ...]:
    """1, 2, 5, 10, 20, 50, … and ``samples`` itself: the numbers of passes whose averages are kept."""
    steps = (step * 10**power for power in range(len(str(samples))) for step in MC_STEPS)
    return (*(step for step in steps if step < samples), samples)


OOD = "foreign-"
"""Begins the name of the predictions of out-of-distribution images in a file of arrays."""


def ood_split(ood: str) -> str:
    """The name of the predictions of out-of-distribution images; see dropbench.datasets.ood."""
    return f"{OOD}{ood}"


def kept_arrays(config: RunConfig, ood: str = "") -> frozenset[str]:
    """The names of the arrays that a run gives.

    - ``val``, ``test``, and ood_split: log-probabilities ``(examples, classes)`` in float16 (see
      dropbench.engine.evaluate.as_kept); ``val_labels`` and ``test_labels`` ``(examples,)``.
    - With Monte-Carlo samples, for each split ``…_mc`` ``(ks, examples, classes)`` in float16 for mc_ladder,
      and with it ``…_mc_mean_log``, ``…_mc_votes``, ``…_mc_squares`` (dropbench.engine.monte_carlo).
    - With snapshots, for each split ``…_snapshots`` ``(snapshots, examples, classes)``.
    - Under a bootstrap, ``oob``: of the training images that were not drawn, at ``oob_positions`` of the
      training split, with ``oob_labels``.
    - Of an autoencoder, ``features``, ``originals`` and ``reconstructions`` as images
      ``(n, channels, height, width)``.
    """
    if recipe_of(config.model.name).task == "reconstruct":
        return frozenset({"features", "originals", "reconstructions"})
    splits = ["val", "test", *([ood_split(ood)] if ood else [])]
    names = {*splits, "val_labels", "test_labels"}
    if config.dropout.mc_samples:
        names |= {f"{split}_mc{of}" for split in splits for of in ("", "_mean_log", "_votes", "_squares")}
    if config.optimizer.snapshots:
        names |= {f"{split}_snapshots" for split in splits}
    if config.repetition.bootstrap:
        names |= {"oob", "oob_positions", "oob_labels"}
    return frozenset(names)


@dataclass(frozen=True)
class RunResult:
    """The outcome of one run.

    ``metrics`` has ``val_`` and ``test_`` of each of METRIC_NAMES, empty unless ``status`` is ok. ``cost``
    has images_per_second, seconds, train_seconds, compile_seconds (no part of train_seconds; 0 without
    torch.compile), steps, train_images, distinct_train_images (fewer under a bootstrap), parameters and
    peak_memory_bytes (None where nobody tells). ``where`` says on what it ran. ``predictions`` maps the names
    of kept_arrays to arrays.
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
