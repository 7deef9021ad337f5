"""The one training loop: a RunConfig and a data set in, a RunResult out."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    learns,
    rates,
    schedule_strength,
    set_streams,
    set_strength,
)
from dropbench.engine import members, optim, tasks
from dropbench.engine.batches import Examples, measure, pixel_values
from dropbench.engine.boosting import boosting_objective
from dropbench.engine.compiling import compiled_for
from dropbench.engine.device import (
    allow_tf32,
    autocast,
    describe,
    peak_memory_bytes,
    reset_peak_memory,
)
from dropbench.engine.panel import measure_autoencoder, measure_classifier
from dropbench.engine.penalties import Penalties, check_compiles
from dropbench.engine.tasks import TASKS, Task
from dropbench.models.build import build_model
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, PanelRecord, RunResult, ood_split
from dropbench.run.streams import numpy_generator, torch_generator

OnEpoch = Callable[[EpochRecord], None]
OodImages = tuple[str, np.ndarray]
"""The name of out-of-distribution images, and the images in the shape of the data set's own."""


def train(
    config: RunConfig,
    data: DataSet,
    device: torch.device | str = "cpu",
    on_epoch: OnEpoch = lambda record: None,
    compiled: bool = False,
    panel: bool = False,
    ood: OodImages | None = None,
) -> RunResult:
    """Train ``config``'s net on ``data``, choose nothing, and evaluate the test set once, at the end.

    ``on_epoch`` is called after every epoch. ``compiled`` trains through torch.compile. ``panel`` measures
    what dropout did to the units, too; an autoencoder's are always measured. A classifier also predicts
    ``ood``, out-of-distribution images. A loss that is not finite ends the run with the status ``diverged``
    and without metrics. The numbers depend on ``config`` and ``data`` alone, up to rounding.

    Raises:
        UsageError: if ``config`` does not fit ``data``.

    """
    started_at, start = datetime.now(UTC), perf_counter()
    device = torch.device(device)
    reset_peak_memory(device)
    allow_tf32(config.optimizer.precision == "tf32")
    run = _Run.prepare(config, data, device)
    if compiled:
        run.compile()
    records: list[EpochRecord] = []
    message = ""
    with own_draws(config):
        for epoch in range(1, config.optimizer.epochs + 1):
            records.append(run.epoch(epoch))
            on_epoch(records[-1])
            if not math.isfinite(records[-1].train_loss) or not math.isfinite(records[-1].val_loss):
                message = f"the loss was no longer finite in epoch {epoch}"
                break
        metrics, predictions, records_of_units = ({}, {}, []) if message else run.measure(panel, ood)
        if not all(map(math.isfinite, metrics.values())):
            message = "the trained net gives no finite figures"
            metrics, predictions, records_of_units = {}, {}, []
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
            "compile_seconds": run.compile_seconds,
            "steps": run.steps_done,
            "train_images": len(run.parts.drawn),
            "distinct_train_images": len(np.unique(run.parts.drawn)),
            "peak_memory_bytes": peak_memory_bytes(device),
            "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        },
        where={**describe(device), "started_at": started_at.isoformat(timespec="seconds")},
        epochs=tuple(records),
        predictions=predictions,
        panel=tuple(records_of_units),
    )


@contextmanager
def own_draws(config: RunConfig) -> Iterator[None]:
    """Within this context torch's default generator is the run's: code of the user's own may draw from it."""
    with torch.random.fork_rng():
        torch.manual_seed(
            torch_generator(config.repetition.seed, "own", config.repetition.member).initial_seed()
        )
        yield


@dataclass
class _Run:
    """What the epochs of one run share."""

    config: RunConfig
    data: DataSet
    device: torch.device
    parts: SplitPositions
    train_examples: Examples
    model: nn.Module
    trained: nn.Module
    """``model``, or the compiled module that shares its weights and serves the steps of training."""
    task: Task
    penalties: Penalties
    optimizer: optim.SGD
    order: np.random.Generator
    steps_done: int = 0
    compile_seconds: float = 0.0
    snapshots: list[members.Weights] = field(default_factory=list)

    @classmethod
    def prepare(cls, config: RunConfig, data: DataSet, device: torch.device) -> "_Run":
        parts = split(data.train_labels, config)
        # The statistics of the split itself, not of a bootstrap: members of an ensemble share them.
        task = recipe_of(config.model.name).task
        normalisation = (
            pixel_values(data.image_shape[0], device)
            if task == "reconstruct"
            else measure(data.train_images, parts.train, device)
        )
        model = build_model(data.image_shape, len(data.classes), config)
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        set_streams(model, "mask", config.repetition.seed, config.repetition.member, device)
        return cls(
            config=config,
            data=data,
            device=device,
            parts=parts,
            train_examples=Examples(data.train_images, data.train_labels, normalisation, device),
            model=model,
            trained=model,
            task=TASKS[task],
            penalties=Penalties(model, config, len(parts.drawn)),
            optimizer=optim.SGD(model, config.optimizer.momentum, config.optimizer.weight_decay),
            order=numpy_generator(config.repetition.seed, "order", config.repetition.member),
        )

    def positions(self, positions: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(positions).to(self.device)

    def compile(self) -> None:
        """Train through torch.compile from now on; the time it takes to compile is kept apart."""
        check_compiles(self.config)
        start = perf_counter()
        whole, rest = (
            self.config.optimizer.batch_size,
            len(self.parts.drawn) % self.config.optimizer.batch_size,
        )
        sizes = [size for size in (min(whole, len(self.parts.drawn)), rest) if size]
        images = [self.train_examples.batch(self.positions(self.parts.drawn[:size]))[0] for size in sizes]
        constant = self.config.dropout.schedule == "constant"
        self.trained = compiled_for(self.model, images, self.config.optimizer.precision, constant)
        self.compile_seconds = perf_counter() - start

    def epoch(self, number: int) -> EpochRecord:
        """One epoch of training, counted from 1, and the validation after it."""
        set_strength(self.model, schedule_strength(self.config, number))
        loss, error, seconds = self.train_epoch()
        val_loss, val_error = self.task.validate(
            self.model, self.validation(), self.config.optimizer.precision
        )
        p_drop = rates(self.model).get("hidden", 0.0)
        return EpochRecord(number, loss, error, val_loss, val_error, seconds, p_drop)

    def train_epoch(self) -> tuple[float, float, float]:
        """Mean loss, error in percent and seconds of one epoch; the loss is read once, at its end."""
        start = perf_counter()
        self.model.train()
        drawn = self.parts.drawn
        shuffled = self.positions(drawn[self.order.permutation(len(drawn))])
        batches = torch.split(shuffled, self.config.optimizer.batch_size)
        loss_sum = torch.zeros((), device=self.device)
        wrong = torch.zeros((), device=self.device)
        cycles, steps = max(1, self.config.optimizer.snapshots), self.config.optimizer.epochs * len(batches)
        for positions in batches:
            progress = self.steps_done * cycles % steps / steps  # of the cycle, where there are several
            loss, outputs, labels = self.step(positions, progress)
            loss_sum += loss * len(positions)
            wrong += self.task.wrong(outputs, labels)
            self.steps_done += 1
            if self.config.optimizer.snapshots and self.steps_done * cycles % steps < cycles:
                self.snapshots.append(members.snapshot(self.model))
        loss_mean, error = loss_sum.item() / len(drawn), 100 * wrong.item() / len(drawn)
        return loss_mean, error, perf_counter() - start

    def step(
        self, positions: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of SGD; returns the loss without penalties, the outputs and the labels of the batch."""
        config = self.config
        images, labels = self.train_examples.batch(positions)
        with self.penalties.watching(), autocast(self.device, config.optimizer.precision):
            outputs = self.trained(images)
        objective = loss = self.task.loss(outputs.float(), images, labels)
        if config.dropout.boosting:
            thinned, outputs = outputs, self.averaged(images)
            loss = self.task.loss(outputs.float(), images, labels)
            objective = boosting_objective(thinned.float(), outputs.float(), labels)
        extra = self.penalties.total()
        if extra is not None:
            objective = objective + extra
        self.optimizer.zero_grad()
        objective.backward()  # type: ignore[no-untyped-call]
        factor = optim.learning_rate_factor(config.optimizer.learning_rate_schedule, progress)
        self.optimizer.step(config.optimizer.learning_rate * factor)
        if config.optimizer.max_norm is not None:
            optim.project_max_norm(self.model, config.optimizer.max_norm)
        return loss.detach(), outputs.detach(), labels

    @torch.no_grad()
    def averaged(self, images: torch.Tensor) -> torch.Tensor:
        """The logits of the net at test, which stand for the mean of its thinned nets'."""
        self.model.eval()
        with autocast(self.device, self.config.optimizer.precision):
            logits: torch.Tensor = self.model(images)
        self.model.train()
        return logits

    def validation(self) -> tasks.Split:
        return tasks.Split(self.train_examples, self.positions(self.parts.validation))

    def all_of(self, images: np.ndarray, labels: np.ndarray) -> tasks.Split:
        """Images that are no part of the training set, normalised as that is."""
        examples = Examples(images, labels, self.train_examples.normalisation, self.device)
        return tasks.Split(examples, torch.arange(len(labels), device=self.device))

    def measure(
        self, panel: bool, ood: OodImages | None
    ) -> tuple[dict[str, float], dict[str, np.ndarray], list[PanelRecord]]:
        """Metrics, predictions and panel of the trained net, as RunResult describes them."""
        config, data, precision = self.config, self.data, self.config.optimizer.precision
        test = self.all_of(data.test_images, data.test_labels)
        figures, arrays = self.task.measure(self.model, self.validation(), test, precision)
        if learns(self.model):
            names = {
                "hidden": "learned_p_drop",
                "input": "learned_p_drop_input",
                "conv": "learned_p_drop_conv",
            }
            figures |= {
                names[site]: rate for site, rate in rates(self.model).items() if config.dropout.p_at(site)
            }
        records: list[PanelRecord] = []
        if panel and isinstance(self.task, tasks.Classify):
            train = tasks.Split(self.train_examples, self.positions(self.parts.train))
            records = measure_classifier(self.model, train, test, config)
        elif isinstance(self.task, tasks.Reconstruct):
            records = measure_autoencoder(self.model, test, config)
        if isinstance(self.task, tasks.Classify):
            arrays |= self.for_ensembles(test, ood)
        return figures, arrays, records

    def for_ensembles(self, test: tasks.Split, ood: OodImages | None) -> dict[str, np.ndarray]:
        """What is kept beside the predictions of ``val`` and ``test``; see kept_arrays."""
        config, precision = self.config, self.config.optimizer.precision
        splits = {"val": self.validation(), "test": test}
        arrays: dict[str, np.ndarray] = {}
        if ood is not None:
            called, images = ood
            name = ood_split(called)
            splits[name] = self.all_of(images, np.zeros(len(images), dtype=np.int64))
            arrays |= members.ood_arrays(self.model, name, splits[name], precision)
        if config.repetition.bootstrap:
            train = tasks.Split(self.train_examples, self.positions(self.parts.train))
            arrays |= members.out_of_bag_arrays(self.model, train, self.parts, precision)
        if self.snapshots:
            arrays |= members.snapshot_arrays(self.model, self.snapshots, splits, precision)
        if config.dropout.mc_samples:
            arrays |= members.monte_carlo_arrays(self.model, splits, config)
        return arrays
