"""A session of measurements: a process for each side, shared data, and rounds in which sides take turns."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch

from dropbench.catalog.models import InputShape
from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import largest_train_size
from dropbench.engine.device import prepare_process
from dropbench.run.config import RunConfig
from dropbench.runners.choose import cores
from dropbench.runners.signals import signals_blocked

DROPBENCH, PLAIN = "dropbench", "plain loop"
COLOUR, GREY = (3, 32, 32), (1, 28, 28)
"""The shapes of made-up images: those of CIFAR-10 and MNIST."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class Figures:
    """The measurements of a contender, in ``values``: one for each repetition.

    Those of two contenders with the same item and work are paired.
    """

    item: str
    work: str
    contender: str
    unit: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Session:
    """The device and precision of the measurements, and a process for each side.

    dropbench prepares the process ``fast`` (threads, allocator); ``plain`` is as Python starts it.
    """

    device: torch.device
    precision: str
    repetitions: int
    fast: ProcessPoolExecutor
    plain: ProcessPoolExecutor

    def take_turns(self, contenders: Mapping[str, Callable[[], Value]]) -> dict[str, tuple[Value, ...]]:
        """Call every contender once a round, in the opposite order in every other round.

        A drifting clock rate and other work on the machine then affect all contenders alike.
        """
        values: dict[str, list[Value]] = {name: [] for name in contenders}
        for repetition in range(self.repetitions):
            names = list(contenders)
            for name in names if repetition % 2 == 0 else reversed(names):
                values[name].append(contenders[name]())
        return {name: tuple(measured) for name, measured in values.items()}

    def compare(
        self, item: str, work: str, unit: str, contenders: Mapping[str, Callable[[], float]]
    ) -> list[Figures]:
        """Measure contenders that take turns, after one call of each to warm up."""
        for measure in contenders.values():
            measure()
        values = self.take_turns(contenders)
        return [Figures(item, work, name, unit, values[name]) for name in contenders]

    def with_fewer_rounds(self) -> "Session":
        """The session for work of which a round takes long: half as many rounds are precise enough."""
        return replace(self, repetitions=(self.repetitions + 1) // 2)

    def in_fast(self, function: Callable[..., Value], *arguments: Any) -> Callable[[], Value]:
        """Return a function that calls ``function`` in dropbench's process."""
        return lambda: self.fast.submit(function, *arguments).result()

    def in_plain(self, function: Callable[..., Value], *arguments: Any) -> Callable[[], Value]:
        """Return a function that calls ``function`` in the plain loop's process."""
        return lambda: self.plain.submit(function, *arguments).result()

    def config(self, data: DataSet, **fields: Any) -> RunConfig:
        """A run on ``data`` in the session's precision."""
        return RunConfig(data=data.name, data_key=data.key, precision=self.precision, **fields)


@contextmanager
def open_session(device: torch.device, precision: str, repetitions: int) -> Iterator[Session]:
    """Open a session whose processes live as long as the context."""
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(1, context, initializer=prepare_process, initargs=(cores(), device)) as fast,
        ProcessPoolExecutor(1, context) as plain,
    ):
        with signals_blocked(signal.SIGINT):  # only the driver answers Ctrl-C
            for side in (fast, plain):
                side.submit(int).result()
        yield Session(device, precision, repetitions, fast, plain)


@contextmanager
def made_up_data(input_shape: InputShape, train: int, test: int, classes: int = 10) -> Iterator[DataSet]:
    """Cache a data set of random images for the context; the speed does not depend on their content.

    ``train`` is the number of training images after the validation split.
    """
    generator = np.random.default_rng(0)

    def make(count: int) -> tuple[np.ndarray, np.ndarray]:
        images = generator.integers(0, 256, (count, *input_shape), dtype=np.uint8)
        return images, (np.arange(count) % classes).astype(np.int64)

    names = tuple(str(label) for label in range(classes))
    name = f"made-up-{'x'.join(map(str, input_shape))}"
    with_validation = next(count for count in range(train, 2 * train) if largest_train_size(count) == train)
    data = cache.save(DataSet(name, *make(with_validation), *make(test), classes=names))
    try:
        yield data
    finally:
        cache.remove(data.key)
