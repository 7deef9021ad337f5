"""Data made for regressions, whose noise is known."""

import math

import numpy as np

from dropbench.datasets.column import Column
from dropbench.datasets.dataset import DataSet

REGRESSION = {"model": "mlp", "layers": (16, 16), "inputs": "table", "task": "regression"}
"""Settings of a run on a table that is made here."""
UNIT, OFFSET = 50.0, 150.0
"""The targets are far from mean 0 and variance 1."""


def made(noise: float = 0.3, count: int = 266, tests: int = 90, seed: int = 0) -> DataSet:
    """A table of four columns, with the target OFFSET + UNIT × (a curve + normal noise of this deviation)."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(count + tests, 4))
    curve = np.sin(1.5 * rows[:, 0]) + 0.5 * rows[:, 1]
    targets = OFFSET + UNIT * (curve + noise * generator.normal(size=count + tests))
    return table(rows, targets, count)


def table(rows: np.ndarray, targets: np.ndarray, count: int) -> DataSet:
    """A table of numbers, whose first ``count`` rows are the training rows."""
    columns = tuple(Column(f"f{number}") for number in range(rows.shape[1]))
    numbers = targets.astype(np.float32)
    data = DataSet("made", rows[:count], numbers[:count], rows[count:], numbers[count:], (), columns=columns)
    data.check()
    return data


def numbered(images: DataSet) -> DataSet:
    """The images of a classification, with their mean brightness as target."""

    def brightness(inputs: np.ndarray) -> np.ndarray:
        return inputs.mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)

    return DataSet(
        images.name,
        images.train_inputs,
        brightness(images.train_inputs),
        images.test_inputs,
        brightness(images.test_inputs),
        (),
    )


def likelihood_of_noise(noise: float) -> float:
    """The negative log-likelihood of an example, in nats, where curve and noise are known: the entropy."""
    return 0.5 * math.log(2 * math.pi * math.e) + math.log(noise * UNIT)
