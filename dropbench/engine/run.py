"""A run while it trains, step by step, and what comes of it."""

from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter

import numpy as np
import torch
from torch import nn

from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import SplitPositions, split
from dropbench.dropout.control import (
    learned_rates,
    rates,
    schedule_strength,
    set_streams,
    set_strength,
)
from dropbench.engine import members, optim
from dropbench.engine.augmentation import Augmentation
from dropbench.engine.batches import Examples
from dropbench.engine.compiling import Compiled, compiled_for
from dropbench.engine.device import peak_memory_bytes
from dropbench.engine.epoch import Part, Steps, steps_of
from dropbench.engine.inputs import Preparation, preparation
from dropbench.engine.optimizers import optimizer_of
from dropbench.engine.panel import measure_autoencoder, measure_predictor
from dropbench.engine.penalties import Penalties, check_compiles
from dropbench.engine.step import Step
from dropbench.engine.task import Predictor, Split, Task
from dropbench.engine.tasks import task_of
from dropbench.engine.tree import Tree
from dropbench.engine.turns import Turns
from dropbench.models.build import build_model
from dropbench.run.config import RunConfig
from dropbench.run.result import (
    MOST_TRAINING_IMAGES,
    EpochRecord,
    PanelRecord,
    ood_split,
)
from dropbench.run.streams import numpy_generator

OodImages = tuple[str, np.ndarray]
"""Out-of-distribution images: their name, and the images in the shape of the data set's own."""


@dataclass
class Before:
    """The cost of a run before it went on from a state."""

    epoch_seconds: float = 0.0
    """Spent on the epoch in progress."""
    compile_seconds: float = 0.0
    peak_memory_bytes: int | None = None


@dataclass
class Run:
    """The state of one run while it trains."""

    config: RunConfig
    data: DataSet
    device: torch.device
    parts: SplitPositions
    prepared: Preparation
    train_examples: Examples
    model: nn.Module
    task: Task
    optimizer: optim.Optimizer
    step: Step
    steps: Steps
    order: np.random.Generator
    steps_done: int = 0
    steps_in_epoch: int = 0
    """Those of ``steps_done`` that are of the epoch in progress."""
    epoch_began: float = 0.0
    snapshots: list[members.Weights] = field(default_factory=list)
    before: Before = field(default_factory=Before)
    part: Part | None = None
    """The part of the next epoch that was done before the run went on from a state."""
    order_before: Tree = None
    """The state of ``order`` before it drew the order of the epoch in progress."""

    @classmethod
    def prepare(cls, config: RunConfig, data: DataSet, device: torch.device, graph: bool = False) -> "Run":
        """Return the run before its first step; with ``graph`` its steps are replayed as graphs."""
        parts = split(data, config)
        prepared = preparation(data, parts.train, config, device)
        model = build_model(data.input_shape, data.outputs, config)
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        set_streams(model, "mask", config.repetition.seed, config.repetition.member)
        examples = prepared.examples(data.train_inputs, data.train_targets)
        optimizer = optimizer_of(config, model)
        images = len(parts.drawn)
        penalties = Penalties(model, config, images)
        task = task_of(config, data.train_targets[parts.train])
        augmentation = Augmentation.of(config)
        step = Step(config, examples, model, model, task, penalties, optimizer, augmentation)
        return cls(
            config=config,
            data=data,
            device=device,
            parts=parts,
            prepared=prepared,
            train_examples=examples,
            model=model,
            task=task,
            optimizer=optimizer,
            step=step,
            steps=steps_of(step, images, device, graph),
            order=numpy_generator(config.repetition.seed, "order", config.repetition.member),
        )

    def weights(self) -> members.Weights:
        """Return a copy of the net's weights in float32."""
        return self.optimizer.snapshot(self.model)

    def positions(self, positions: np.ndarray) -> torch.Tensor:
        """Return the positions on the device."""
        return torch.from_numpy(positions).to(self.device)

    def compile(self) -> None:
        """Train through torch.compile from now on; the compile time is measured separately."""
        check_compiles(self.config)
        most, drawn = self.config.optimizer.batch_size, len(self.parts.drawn)
        sizes = [size for size in (min(most, drawn), drawn % most) if size]
        images = [self.train_examples.batch(self.positions(self.parts.drawn[:size]))[0] for size in sizes]
        self.step.trained = compiled_for(self.model, images, self.config.optimizer.precision)

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch; the last one may be smaller."""
        return -(-len(self.parts.drawn) // self.config.optimizer.batch_size)

    @property
    def total_steps(self) -> int:
        """The number of steps in all epochs."""
        return self.config.optimizer.epochs * self.steps_per_epoch

    def epoch(self) -> Turns[EpochRecord]:
        """Train for the next epoch, a step in each turn, and measure the validation split."""
        return self.record(*(yield from self.train_epoch()))

    def train_epoch(self) -> Turns[tuple[float, float, float]]:
        """Train for the next epoch; return its mean loss, its error in percent and its seconds."""
        self.begin_epoch()
        while self.steps_in_epoch < self.steps_per_epoch:
            self.advance()
            yield
        return self.end_epoch()

    def begin_epoch(self) -> None:
        """Set the drop probabilities of the next epoch, and copy its order of images to the device."""
        self.epoch_began = perf_counter() - self.before.epoch_seconds
        drawn, done = self.parts.drawn, self.steps_done - self.steps_in_epoch
        number = done // self.steps_per_epoch + 1
        set_strength(self.model, schedule_strength(self.config, number))
        self.model.train()
        steps = range(done, done + self.steps_per_epoch)
        self.order_before = self.order.bit_generator.state
        self.steps.begin(
            drawn[self.order.permutation(len(drawn))],
            optim.learning_rates(self.config.optimizer, steps, self.total_steps),
        )
        if self.part is not None:
            self.steps.go_on(self.part)
            self.part = None

    def advance(self) -> None:
        """Do the next step of the epoch, without a wait for the device."""
        self.steps.advance()
        self.steps_done += 1
        self.steps_in_epoch += 1
        cycles = self.config.optimizer.snapshots
        if cycles and self.steps_done * cycles % self.total_steps < cycles:
            with self.steps.working():
                self.snapshots.append(self.weights())

    def end_epoch(self) -> tuple[float, float, float]:
        """Wait for the device; return the epoch's mean loss, its error in percent and its seconds."""
        loss, wrong = self.steps.end()
        self.steps_in_epoch, self.before.epoch_seconds = 0, 0.0
        images = len(self.parts.drawn)
        return loss / images, 100 * wrong / images, perf_counter() - self.epoch_began

    @property
    def compile_seconds(self) -> float:
        """The seconds that torch.compile took, 0 if it gave up."""
        trained = self.step.trained
        return self.before.compile_seconds + (trained.seconds if isinstance(trained, Compiled) else 0.0)

    @property
    def peak_memory_bytes(self) -> int | None:
        """The peak memory of the run so far; see dropbench.engine.device.peak_memory_bytes."""
        known = [peak_memory_bytes(self.device), self.before.peak_memory_bytes]
        return max((peak for peak in known if peak is not None), default=None)

    def record(self, loss: float, error: float, seconds: float) -> EpochRecord:
        """Measure the validation split, and return it with the figures of the epoch that ended."""
        number, precision = self.steps_done // self.steps_per_epoch, self.config.optimizer.precision
        val_loss, val_error = self.task.validate(self.model, self.validation, precision)
        p_drop = rates(self.model).get("hidden", 0.0)
        return EpochRecord(number, loss, error, val_loss, val_error, seconds, p_drop)

    @cached_property
    def validation(self) -> Split:
        """The validation split, which each epoch measures."""
        return Split(self.train_examples, self.positions(self.parts.validation))

    def trained_on(self) -> Split:
        """Return the examples that the run trains on, each once; of many, some at equal steps."""
        distinct = np.unique(self.parts.drawn)
        steps = np.linspace(0, len(distinct) - 1, min(len(distinct), MOST_TRAINING_IMAGES)).astype(int)
        return Split(self.train_examples, self.positions(distinct[steps]))

    def split_of(self, inputs: np.ndarray, targets: np.ndarray) -> Split:
        """Return a split of examples that are not training examples, prepared like these."""
        examples = self.prepared.examples(inputs, targets)
        return Split(examples, torch.arange(len(targets), device=self.device))

    def measure(
        self, panel: bool, ood: OodImages | None
    ) -> tuple[dict[str, float], dict[str, np.ndarray], list[PanelRecord]]:
        """Return metrics, predictions and panel of the trained net, as in RunResult."""
        config, data, precision = self.config, self.data, self.config.optimizer.precision
        test = self.split_of(data.test_inputs, data.test_targets)
        splits = {"train": self.trained_on(), "val": self.validation, "test": test}
        figures, arrays = self.task.measure(self.model, splits, precision)
        figures |= learned_rates(self.model, config)
        records: list[PanelRecord] = []
        if not isinstance(self.task, Predictor):
            return figures, arrays, measure_autoencoder(self.model, test, config)
        if panel:
            train = Split(self.train_examples, self.positions(self.parts.train))
            records = measure_predictor(self.model, self.task, train, test, config)
        return figures, arrays | self.ensemble_arrays(self.task, test, ood), records

    def ensemble_arrays(self, task: Predictor, test: Split, ood: OodImages | None) -> dict[str, np.ndarray]:
        """Return the arrays that ensembles need besides ``val`` and ``test``; see kept_arrays."""
        splits = {"val": self.validation, "test": test}
        arrays: dict[str, np.ndarray] = {}
        if ood is not None:
            ood_name, images = ood
            name = ood_split(ood_name)
            splits[name] = self.split_of(images, np.zeros(len(images), dtype=self.data.test_targets.dtype))
            arrays[name] = task.predictions(self.model, splits[name], self.config.optimizer.precision)
        train = Split(self.train_examples, self.positions(self.parts.train))
        return arrays | members.ensemble_arrays(
            self.model, task, splits, train, self.parts, self.snapshots, self.config
        )

    @property
    def overflowed_steps(self) -> int | None:
        """How many steps overflowed in fp16, and were skipped; None in other precisions. It waits."""
        scale = self.optimizer.loss_scale
        return None if scale is None else int(scale.overflows.item())
