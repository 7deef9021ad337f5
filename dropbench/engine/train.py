"""The one training loop: a RunConfig and a data set in, a RunResult out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dropbench.config import RunConfig
from dropbench.data.dataset import DataSet
from dropbench.data.split import Split, split
from dropbench.dropout.control import set_streams
from dropbench.engine import optim
from dropbench.engine.batches import Examples, measure
from dropbench.engine.compiling import compiled_for
from dropbench.engine.device import (
    allow_tf32,
    autocast,
    describe,
    peak_memory_bytes,
    reset_peak_memory,
)
from dropbench.engine.evaluate import error_percent, metrics, predict, predict_monte_carlo
from dropbench.models import build_model
from dropbench.run_result import EpochRecord, RunResult
from dropbench.streams import numpy_generator

OnEpoch = Callable[[EpochRecord], None]


def train(
    config: RunConfig,
    data: DataSet,
    device: torch.device | str = "cpu",
    on_epoch: OnEpoch = lambda record: None,
    compiled: bool = False,
) -> RunResult:
    """Train ``config``'s net on ``data``, choose nothing, and evaluate the test set once, at the end.

    ``on_epoch`` is called after every epoch. ``compiled`` trains through torch.compile. A loss that is not
    finite ends the run with the status ``diverged`` and without metrics. The numbers depend on ``config``
    and ``data`` alone, up to rounding.

    Raises:
        UsageError: if ``config`` does not fit ``data``.

    """
    started_at, start = datetime.now(UTC), perf_counter()
    device = torch.device(device)
    reset_peak_memory(device)
    allow_tf32(config.precision == "tf32")
    run = _Run.prepare(config, data, device)
    if compiled:
        run.compile()
    records: list[EpochRecord] = []
    message = ""
    validation = torch.empty(0)
    held_out = run.positions(run.parts.validation)
    val_labels = run.train_examples.labels[held_out]
    for epoch in range(1, config.epochs + 1):
        loss, error, seconds = run.train_epoch()
        validation = predict(run.model, run.train_examples, held_out, config.precision)
        records.append(
            EpochRecord(
                epoch=epoch,
                train_loss=loss,
                train_error_percent=error,
                val_loss=F.nll_loss(validation, val_labels).item(),
                val_error_percent=error_percent(validation, val_labels),
                seconds=seconds,
            )
        )
        on_epoch(records[-1])
        if not math.isfinite(loss) or not math.isfinite(records[-1].val_loss):
            message = f"the loss was no longer finite in epoch {epoch}"
            break
    predictions = {} if message else run.predictions(validation)
    train_seconds = sum(record.seconds for record in records)
    return RunResult(
        config=config,
        status="diverged" if message else "ok",
        message=message,
        metrics=_metrics(predictions),
        cost={
            "images_per_second": len(run.parts.drawn) * len(records) / train_seconds,
            "seconds": perf_counter() - start,
            "train_seconds": train_seconds,
            "compile_seconds": run.compile_seconds,
            "peak_memory_bytes": peak_memory_bytes(device),
            "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        },
        where={**describe(device), "started_at": started_at.isoformat(timespec="seconds")},
        epochs=tuple(records),
        predictions=predictions,
    )


@dataclass
class _Run:
    """What the epochs of one run share."""

    config: RunConfig
    data: DataSet
    device: torch.device
    parts: Split
    train_examples: Examples
    model: nn.Module
    trained: nn.Module
    """``model``, or the compiled module that shares its weights and serves the steps of training."""
    optimizer: optim.SGD
    order: np.random.Generator
    steps_done: int = 0
    compile_seconds: float = 0.0

    @classmethod
    def prepare(cls, config: RunConfig, data: DataSet, device: torch.device) -> "_Run":
        parts = split(data.train_labels, config)
        # The statistics of the split itself, not of a bootstrap: members of an ensemble share them.
        normalisation = measure(data.train_images, parts.train, device)
        model = build_model(data.image_shape, len(data.classes), config)
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        set_streams(model, "mask", config.seed, config.member, device)
        return cls(
            config=config,
            data=data,
            device=device,
            parts=parts,
            train_examples=Examples(data.train_images, data.train_labels, normalisation, device),
            model=model,
            trained=model,
            optimizer=optim.SGD(model, config.momentum, config.weight_decay),
            order=numpy_generator(config.seed, "order", config.member),
        )

    def positions(self, positions: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(positions).to(self.device)

    def compile(self) -> None:
        """Train through torch.compile from now on; the time it takes to compile is kept apart."""
        start = perf_counter()
        whole, rest = self.config.batch_size, len(self.parts.drawn) % self.config.batch_size
        sizes = [size for size in (min(whole, len(self.parts.drawn)), rest) if size]
        images = [self.train_examples.batch(self.positions(self.parts.drawn[:size]))[0] for size in sizes]
        self.trained = compiled_for(self.model, images, self.config.precision)
        self.compile_seconds = perf_counter() - start

    def train_epoch(self) -> tuple[float, float, float]:
        """Mean loss, error in percent and seconds of one epoch; the loss is read once, at its end."""
        start = perf_counter()
        self.model.train()
        drawn = self.parts.drawn
        shuffled = self.positions(drawn[self.order.permutation(len(drawn))])
        batches = torch.split(shuffled, self.config.batch_size)
        loss_sum = torch.zeros((), device=self.device)
        wrong = torch.zeros((), dtype=torch.int64, device=self.device)
        for positions in batches:
            progress = self.steps_done / (self.config.epochs * len(batches))
            loss, logits, labels = self.step(positions, progress)
            loss_sum += loss * len(positions)
            wrong += (logits.argmax(dim=1) != labels).sum()
            self.steps_done += 1
        loss_mean, error = loss_sum.item() / len(drawn), 100 * wrong.item() / len(drawn)
        return loss_mean, error, perf_counter() - start

    def step(
        self, positions: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of SGD; returns the loss, the logits and the labels of the batch."""
        config = self.config
        images, labels = self.train_examples.batch(positions)
        with autocast(self.device, config.precision):
            logits = self.trained(images)
        loss = F.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        factor = optim.learning_rate_factor(config.learning_rate_schedule, progress)
        self.optimizer.step(config.learning_rate * factor)
        if config.max_norm is not None:
            optim.project_max_norm(self.model, config.max_norm)
        return loss.detach(), logits.detach(), labels

    def predictions(self, validation: torch.Tensor) -> dict[str, np.ndarray]:
        """Labels and log-probabilities of the validation and test images, as RunResult describes them."""
        config, data = self.config, self.data
        examples = Examples(
            data.test_images, data.test_labels, self.train_examples.normalisation, self.device
        )
        everything = torch.arange(len(data.test_labels), device=self.device)
        outputs = {
            "val": validation,
            "test": predict(self.model, examples, everything, config.precision),
        }
        if config.mc_samples:
            set_streams(self.model, "mc", config.seed, config.member, self.device)
            outputs["test_mc"] = predict_monte_carlo(
                self.model, examples, everything, config.precision, config.mc_samples
            )
        arrays = {name: output.cpu().numpy() for name, output in outputs.items()}
        return {
            **arrays,
            "val_labels": np.asarray(data.train_labels[self.parts.validation]),
            "test_labels": np.asarray(data.test_labels),
        }


def _metrics(predictions: dict[str, np.ndarray]) -> dict[str, float]:
    """``val_`` and ``test_`` of every metric, of the deterministic predictions."""
    return {
        f"{name}_{metric}": value
        for name in ("val", "test")
        if name in predictions
        for metric, value in metrics(
            torch.from_numpy(predictions[name]), torch.from_numpy(predictions[f"{name}_labels"])
        ).items()
    }
