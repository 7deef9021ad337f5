"""Training: from a RunConfig and a data set to a RunResult."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter

import numpy as np
import torch
from torch import nn

from dropbench.catalog.models import recipe_of
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import SplitPositions, split
from dropbench.dropout.control import (
    check_random_numbers,
    learned_rates,
    rates,
    schedule_strength,
    set_streams,
    set_strength,
)
from dropbench.dropout.lending import own_draws
from dropbench.engine import members, optim, tasks
from dropbench.engine.batches import Examples, measure, pixel_values
from dropbench.engine.boosting import boosting_objective
from dropbench.engine.compiling import Compiled, compiled_for
from dropbench.engine.device import (
    allow_tf32,
    autocast,
    describe,
    peak_memory_bytes,
    reset_peak_memory,
)
from dropbench.engine.halving import halves_images, halves_weights
from dropbench.engine.panel import measure_autoencoder, measure_classifier
from dropbench.engine.patience import Best
from dropbench.engine.penalties import Penalties, check_compiles
from dropbench.engine.tasks import TASKS, Task
from dropbench.models.build import build_model
from dropbench.run.config import RunConfig
from dropbench.run.result import MOST_TRAINING_IMAGES, EpochRecord, PanelRecord, RunResult, ood_split
from dropbench.run.streams import numpy_generator

OnEpoch = Callable[[EpochRecord], None]
OodImages = tuple[str, np.ndarray]
"""Out-of-distribution images: their name, and the images in the shape of the data set's own."""


def train(
    config: RunConfig,
    data: DataSet,
    device: torch.device | str = "cpu",
    on_epoch: OnEpoch = lambda record: None,
    compiled: bool = False,
    panel: bool = False,
    ood: OodImages | None = None,
) -> RunResult:
    """Train the net of ``config`` on ``data``, and evaluate it on the test images once, at the end.

    With a patience the validation loss decides when training ends, and which epoch's net is evaluated;
    without one the validation split is only measured. If the loss is not finite, the run ends with the status
    ``diverged`` and without metrics. The numbers depend on ``config`` and ``data`` alone, up to rounding.

    Args:
        config: all settings of the run.
        data: the data set.
        device: the device to train on.
        on_epoch: called after every epoch.
        compiled: train through torch.compile.
        panel: measure the panel (dropbench.engine.panel); an autoencoder's is always measured.
        ood: out-of-distribution images that a classifier predicts too.

    Raises:
        UsageError: if ``config`` does not fit ``data``, or draws its noise as only recorded runs do.

    """
    check_random_numbers(config)
    started_at, start = datetime.now(UTC), perf_counter()
    device = torch.device(device)
    reset_peak_memory(device)
    allow_tf32(config.optimizer.precision == "tf32")
    run = _Run.prepare(config, data, device)
    if compiled:
        run.compile()
    records: list[EpochRecord] = []
    message = ""
    best = Best(config.optimizer.patience)
    with own_draws(config):
        for epoch in range(1, config.optimizer.epochs + 1):
            records.append(run.epoch(epoch))
            on_epoch(records[-1])
            if not math.isfinite(records[-1].train_loss) or not math.isfinite(records[-1].val_loss):
                message = f"the loss was no longer finite in epoch {epoch}"
                break
            best.see(records[-1], run.weights)
            if best.lost_patience(epoch):
                break
        if isinstance(run.task, tasks.Reconstruct):
            run.optimizer.release()  # its weights are kept, and it reconstructs in float32
        best.restore(run.model)
        set_strength(run.model, schedule_strength(config, best.epoch or len(records)))
        metrics, predictions, panel_records = ({}, {}, []) if message else run.measure(panel, ood)
        if not all(map(math.isfinite, metrics.values())):
            message = "the metrics of the trained net are not finite"
            metrics, predictions, panel_records = {}, {}, []
    train_seconds = sum(record.seconds for record in records)
    return RunResult(
        config=config,
        status="diverged" if message else "ok",
        message=message,
        metrics=metrics,
        cost={
            "images_per_second": len(run.parts.drawn) * len(records) / train_seconds,
            "seconds": perf_counter() - start,
            "train_seconds": train_seconds,
            "compile_seconds": run.trained.seconds if isinstance(run.trained, Compiled) else 0.0,
            "steps": run.steps_done,
            "train_images": len(run.parts.drawn),
            "distinct_train_images": len(np.unique(run.parts.drawn)),
            "validation_images": len(run.parts.validation),
            "test_images": len(data.test_labels),
            "last_epoch": len(records),
            "tested_epoch": best.epoch or len(records),
            "peak_memory_bytes": peak_memory_bytes(device),
            "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        },
        where={**describe(device), "started_at": started_at.isoformat(timespec="seconds")},
        epochs=tuple(records),
        predictions=predictions,
        panel=tuple(panel_records),
    )


@dataclass
class _Run:
    """The state of one run while it trains."""

    config: RunConfig
    data: DataSet
    device: torch.device
    parts: SplitPositions
    train_examples: Examples
    model: nn.Module
    trained: nn.Module | Compiled
    """``model``, or its compiled version, which shares the weights and is used for training steps only."""
    task: Task
    penalties: Penalties
    optimizer: optim.SGD
    order: np.random.Generator
    steps_done: int = 0
    snapshots: list[members.Weights] = field(default_factory=list)

    @classmethod
    def prepare(cls, config: RunConfig, data: DataSet, device: torch.device) -> "_Run":
        parts = split(data.train_labels, config)
        # The normalisation is that of the training split, not of a bootstrap, so that members share it.
        task = recipe_of(config.model.name).task
        normalisation = (
            pixel_values(data.image_shape[0], device)
            if task == "reconstruct" or config.data.pixels == "unit"
            else measure(data.train_images, parts.train, device)
        )
        model = build_model(data.image_shape, len(data.classes), config)
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        set_streams(model, "mask", config.repetition.seed, config.repetition.member)
        return cls(
            config=config,
            data=data,
            device=device,
            parts=parts,
            train_examples=Examples(
                data.train_images, data.train_labels, normalisation, device, halves_images(config)
            ),
            model=model,
            trained=model,
            task=TASKS[task],
            penalties=Penalties(model, config, len(parts.drawn)),
            optimizer=optim.SGD(
                model,
                config.optimizer.momentum,
                config.optimizer.weight_decay,
                config.optimizer.max_norm,
                half=halves_weights(config),
            ),
            order=numpy_generator(config.repetition.seed, "order", config.repetition.member),
        )

    def weights(self) -> members.Weights:
        """Return a copy of the net's weights in float32."""
        return self.optimizer.snapshot(self.model)

    def positions(self, positions: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(positions).to(self.device)

    def compile(self) -> None:
        """Train through torch.compile from now on; the compile time is measured separately."""
        check_compiles(self.config)
        most, drawn = self.config.optimizer.batch_size, len(self.parts.drawn)
        sizes = [size for size in (min(most, drawn), drawn % most) if size]
        images = [self.train_examples.batch(self.positions(self.parts.drawn[:size]))[0] for size in sizes]
        self.trained = compiled_for(self.model, images, self.config.optimizer.precision)

    def epoch(self, number: int) -> EpochRecord:
        """Train for one epoch, whose ``number`` counts from 1, and measure the validation split."""
        set_strength(self.model, schedule_strength(self.config, number))
        loss, error, seconds = self.train_epoch()
        val_loss, val_error = self.task.validate(
            self.model, self.validation(), self.config.optimizer.precision
        )
        p_drop = rates(self.model).get("hidden", 0.0)
        return EpochRecord(number, loss, error, val_loss, val_error, seconds, p_drop)

    def train_epoch(self) -> tuple[float, float, float]:
        """Train for one epoch; return its mean loss, its error in percent and its seconds.

        The loss is read from the device only at the end, since reading it waits for the device.
        """
        start = perf_counter()
        self.model.train()
        drawn = self.parts.drawn
        shuffled = self.positions(drawn[self.order.permutation(len(drawn))])
        batches = torch.split(shuffled, self.config.optimizer.batch_size)
        loss_sum = torch.zeros((), device=self.device)
        wrong = torch.zeros((), device=self.device)
        cycles, steps = max(1, self.config.optimizer.snapshots), self.config.optimizer.epochs * len(batches)
        for positions in batches:
            progress = self.steps_done * cycles % steps / steps  # within the cycle, if there are several
            loss, outputs, labels = self.step(positions, progress)
            loss_sum += loss * len(positions)
            wrong += self.task.wrong(outputs, labels)
            self.steps_done += 1
            if self.config.optimizer.snapshots and self.steps_done * cycles % steps < cycles:
                self.snapshots.append(self.weights())
        return loss_sum.item() / len(drawn), 100 * wrong.item() / len(drawn), perf_counter() - start

    def step(
        self, positions: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Do one step of SGD; return the loss without penalties, the outputs and the labels of the batch."""
        config = self.config
        images, labels = self.train_examples.batch(positions)
        with self.penalties.watching(), autocast(self.device, config.optimizer.precision):
            outputs = self.trained(images)
        objective = loss = self.task.loss(outputs.float(), images, labels)
        if config.dropout.boosting:
            thinned, outputs = outputs, self.weight_scaled(images)
            loss = self.task.loss(outputs.float(), images, labels)
            objective = boosting_objective(thinned.float(), outputs.float(), labels)
        if (extra := self.penalties.total()) is not None:
            objective = objective + extra
        self.optimizer.zero_grad()
        factor = optim.learning_rate_factor(config.optimizer.learning_rate_schedule, progress)
        learning_rate = config.optimizer.learning_rate * factor
        with self.optimizer.updating(learning_rate):
            objective.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step(learning_rate)
        return loss.detach(), outputs.detach(), labels

    @torch.no_grad()
    def weight_scaled(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits by weight scaling, which approximate the mean logits of the thinned nets."""
        self.model.eval()
        with autocast(self.device, self.config.optimizer.precision):
            logits: torch.Tensor = self.model(images)
        self.model.train()
        return logits

    def validation(self) -> tasks.Split:
        return tasks.Split(self.train_examples, self.positions(self.parts.validation))

    def trained_on(self) -> tasks.Split:
        """Return the images that the run trains on, each once; of many, some at equal steps."""
        distinct = np.unique(self.parts.drawn)
        steps = np.linspace(0, len(distinct) - 1, min(len(distinct), MOST_TRAINING_IMAGES)).astype(int)
        return tasks.Split(self.train_examples, self.positions(distinct[steps]))

    def split_of(self, images: np.ndarray, labels: np.ndarray) -> tasks.Split:
        """Return a split of images that are not training images, normalised like the training images."""
        like = self.train_examples
        examples = Examples(images, labels, like.normalisation, self.device, like.half)
        return tasks.Split(examples, torch.arange(len(labels), device=self.device))

    def measure(
        self, panel: bool, ood: OodImages | None
    ) -> tuple[dict[str, float], dict[str, np.ndarray], list[PanelRecord]]:
        """Return metrics, predictions and panel of the trained net, as in RunResult."""
        config, data, precision = self.config, self.data, self.config.optimizer.precision
        test = self.split_of(data.test_images, data.test_labels)
        splits = {"train": self.trained_on(), "val": self.validation(), "test": test}
        figures, arrays = self.task.measure(self.model, splits, precision)
        figures |= learned_rates(self.model, config)
        records: list[PanelRecord] = []
        if panel and isinstance(self.task, tasks.Classify):
            train = tasks.Split(self.train_examples, self.positions(self.parts.train))
            records = measure_classifier(self.model, train, test, config)
        elif isinstance(self.task, tasks.Reconstruct):
            records = measure_autoencoder(self.model, test, config)
        if isinstance(self.task, tasks.Classify):
            arrays |= self.ensemble_arrays(test, ood)
        return figures, arrays, records

    def ensemble_arrays(self, test: tasks.Split, ood: OodImages | None) -> dict[str, np.ndarray]:
        """Return the arrays that ensembles need besides ``val`` and ``test``; see kept_arrays."""
        splits = {"val": self.validation(), "test": test}
        arrays: dict[str, np.ndarray] = {}
        if ood is not None:
            ood_name, images = ood
            name = ood_split(ood_name)
            splits[name] = self.split_of(images, np.zeros(len(images), dtype=np.int64))
            arrays |= members.ood_arrays(self.model, name, splits[name], self.config.optimizer.precision)
        train = tasks.Split(self.train_examples, self.positions(self.parts.train))
        return arrays | members.ensemble_arrays(
            self.model, splits, train, self.parts, self.snapshots, self.config
        )
