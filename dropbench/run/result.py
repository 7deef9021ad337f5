"""RunResult: the outcome of one run, passed from the engine through the runner to the store."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from dropbench.run.config import RunConfig

Status = Literal["ok", "diverged", "failed"]
STATUSES: tuple[str, ...] = get_args(Status)

METRIC_NAMES = ("error_percent", "nll", "brier", "ece", "reconstruction_error", "rmse", "coverage_error")
"""The metrics of each split.

Classifiers have the error in percent, the negative log-likelihood in nats, the Brier score (0 to 2) and the
expected calibration error (0 to 1, 15 bins). Autoencoders have the pixels' cross-entropy in nats (nll) and
the squared error of an image, both summed over its pixels (values 0 to 1). Nets for a regression have the
root mean squared error in the unit of the target, the negative log-likelihood of its density in nats, and the
coverage error; see dropbench.engine.gaussian.gaussian_metrics.
"""


MOST_TRAINING_IMAGES = 10_000
"""Training images that the trained net is measured on."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of the learning curves.

    Training figures are means over the epoch with dropout on; for dropout boosting they are those of weight
    scaling. The loss is the negative log-likelihood in nats without penalties. For an autoencoder it is the
    cross-entropy of an image's pixels. Only classifiers have an error in percent; else it is NaN.
    """

    epoch: int
    train_loss: float
    train_error_percent: float
    val_loss: float
    val_error_percent: float
    seconds: float
    """Time spent on training, without the validation."""
    p_drop: float = math.nan
    """Drop probability of the hidden sites at the end of the epoch, as scheduled or learned."""


ERROR_WITHOUT_UNITS = "test_error_percent"
"""The last measure of a classifier's panel: the test error after hidden units were removed."""
RMSE_WITHOUT_UNITS = "test_rmse"
"""The same of a regression: the root mean squared error on the test examples, in the unit of the target."""
WITHOUT_UNITS = ERROR_WITHOUT_UNITS, RMSE_WITHOUT_UNITS
SHARES = tuple(tenth / 10 for tenth in range(10))
"""The shares of hidden units that are removed to measure WITHOUT_UNITS."""
TRAINING_VARIANCE, TEST_VARIANCE = "input_variance_training", "input_variance_test"
"""The measures of a layer's input, with dropout and without; see dropbench.engine.variances."""
RUNNING_VARIANCE = "running_variance"
"""The variance that a batch-norm layer keeps from training."""
HISTOGRAM_BINS = 40
"""Bins of an autoencoder's activation histograms."""


@dataclass(frozen=True)
class PanelRecord:
    """One measured value of the panel, which shows what dropout did to the units.

    dropbench.engine.panel describes the measures. ``layer`` is the number of the hidden site, counted from 1,
    or empty for the whole net; for variances it is the name of the layer in the net. ``at`` is the share of
    units removed, or the number of a histogram bin; it is 0 for all other measures.
    """

    measure: str
    layer: str
    at: float
    value: float


MC_STEPS = (1, 2, 5)
"""Leading digits of the numbers of passes in mc_ladder."""


def mc_ladder(samples: int) -> tuple[int, ...]:
    """Return the numbers of passes to keep averages of: 1, 2, 5, 10, 20, 50, … and ``samples`` itself."""
    steps = (step * 10**power for power in range(len(str(samples))) for step in MC_STEPS)
    return (*(step for step in steps if step < samples), samples)


OOD = "foreign-"
"""Prefix of the names of arrays that hold predictions for out-of-distribution images."""


def ood_split(ood: str) -> str:
    """Return the array name of the predictions for the out-of-distribution images ``ood``."""
    return f"{OOD}{ood}"


def kept_arrays(config: RunConfig, ood: str = "") -> frozenset[str]:
    """Return the names of the arrays in the RunResult.predictions of a run.

    A classifier has these:

    - ``val``, ``test`` and ood_split(ood): log-probabilities ``(examples, classes)`` in float16 (see
      dropbench.engine.evaluate.as_kept); ``val_labels`` and ``test_labels`` ``(examples,)``.
    - For Monte-Carlo dropout, for each of these splits, ``…_mc`` ``(ks, examples, classes)`` in float16, one
      average for each k of mc_ladder, with ``…_mc_mean_log``, ``…_mc_votes`` and ``…_mc_squares``; see
      dropbench.engine.monte_carlo.ThinnedNets.
    - If snapshots are taken, for each of these splits, ``…_snapshots`` ``(snapshots, examples, classes)``.
    - If it trains on a bootstrap, ``oob``: the predictions for the out-of-bag images, which were not drawn.
      They are at ``oob_positions`` of the training split and have ``oob_labels``.

    A net for a regression has predictions in float32, which are mean and standard deviation in the unit of
    the target, ``(…, examples, 2)``, and targets in float32:

    - ``val``, ``test`` and ood_split(ood); ``val_targets`` and ``test_targets``.
    - For Monte-Carlo dropout ``…_mc`` ``(samples, examples, 2)``, all passes in their order.
    - ``…_snapshots`` as above; ``oob``, ``oob_positions`` and ``oob_targets``.

    An autoencoder has ``features``, ``originals`` and ``reconstructions``, which are images
    ``(n, channels, height, width)``.
    """
    if config.task == "reconstruct":
        return frozenset({"features", "originals", "reconstructions"})
    regresses = config.task == "regress"
    target = "targets" if regresses else "labels"
    of_passes = [""] if regresses else ["", "_mean_log", "_votes", "_squares"]
    splits = ["val", "test", *([ood_split(ood)] if ood else [])]
    names = {*splits, f"val_{target}", f"test_{target}"}
    if config.dropout.mc_samples:
        names |= {f"{split}_mc{of}" for split in splits for of in of_passes}
    if config.optimizer.snapshots:
        names |= {f"{split}_snapshots" for split in splits}
    if config.repetition.bootstrap:
        names |= {"oob", "oob_positions", f"oob_{target}"}
    return frozenset(names)


@dataclass(frozen=True)
class KeptNet:
    """The net that a run tested, to be written to a file.

    - ``weights``: parameters in float32, and buffers, by their names in the net.
    - ``about``: what JSON can hold of it, from which it is built again; see dropbench.engine.saved_net.
    """

    weights: dict[str, np.ndarray]
    about: dict[str, Any]


@dataclass(frozen=True)
class RunResult:
    """The outcome of one run.

    - ``metrics``: METRIC_NAMES prefixed with ``train_``, ``val_`` and ``test_``, all with dropout off, as far
      as the model has them, and the learned drop probabilities; empty unless ``status`` is ok. ``train_`` is
      of at most 10,000 of the examples that the run trained on.
    - ``cost``: images_per_second, seconds, train_seconds, compile_seconds (not part of train_seconds; 0
      without torch.compile, and if it gave up), steps, overflowed_steps (skipped in fp16; None in other
      precisions), train_images, distinct_train_images (fewer under a bootstrap), validation_images,
      test_images, last_epoch (the last one trained), tested_epoch (whose net was evaluated: an earlier one
      with patience), parameters and peak_memory_bytes (None where the platform does not report it).
    - ``where``: the device, how many runs were trained together as one net (``stacked``), the software
      versions and the time of the start, as CSV cells.
    - ``predictions``: the arrays named by kept_arrays.
    - ``net``: the net that was tested, where it is to be kept and the run ended ok.
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
    net: KeptNet | None = None
