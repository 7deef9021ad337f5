"""The split into training and validation examples, decided by a run's seed and member."""

from dataclasses import dataclass

import numpy as np

from dropbench.datasets.dataset import DataSet
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig
from dropbench.run.streams import numpy_generator

VALIDATION_SHARE = 0.1
"""Share of the training examples that form the validation split of data without one."""


@dataclass(frozen=True)
class SplitPositions:
    """Positions in the training examples, int64 ``(examples,)``.

    ``train`` holds each example of the training split once. ``drawn`` is what the run trains on: the same, or
    with ``bootstrap`` a sample of ``train`` that has duplicates.
    """

    train: np.ndarray
    drawn: np.ndarray
    validation: np.ndarray


def stratified_order(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a random order of the examples in which every prefix is a stratified subset, up to rounding.

    Smaller subsets are therefore contained in larger ones.
    """
    shuffled = generator.permutation(len(labels))
    position_in_class = np.empty(len(labels))
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels[shuffled] == label)
        position_in_class[of_class] = (np.arange(len(of_class)) + 0.5) / len(of_class)
    return shuffled[np.argsort(position_in_class, kind="stable")]


def largest_train_size(examples: int, validation: int = 0) -> int:
    """Return how many of ``examples`` remain after the validation split, which has ``validation`` if told."""
    return examples - (validation or max(1, round(VALIDATION_SHARE * examples)))


def split(data: DataSet, config: RunConfig) -> SplitPositions:
    """Split the training examples of ``data`` into training and validation examples.

    A validation split of the data's own is that of every run. Else it depends on the seed alone, as does the
    subset of ``train_size`` examples, so the members of an ensemble share them; the bootstrap also depends on
    the member. Both are stratified by the classes; numbers as targets are no classes.

    Raises:
        UsageError: if ``train_size`` is larger than the training split.

    """
    most = largest_train_size(len(data.train_targets), data.validation)
    if config.data.train_size is not None and config.data.train_size > most:
        raise UsageError(
            f"`train_size` {config.data.train_size:,} is more than {config.data.name} has.",
            f"Write at most {most:,}, the training {data.noun} that the validation split leaves.",
        )
    labels = data.train_targets if data.classes else np.zeros(len(data.train_targets), dtype=np.int64)
    if data.validation:
        train, validation = np.split(np.arange(len(labels)), [most])
    else:
        order = stratified_order(labels, numpy_generator(config.repetition.seed, "validation"))
        validation, train = order[: len(labels) - most], order[len(labels) - most :]
    if config.data.train_size is not None:
        subset = stratified_order(labels[train], numpy_generator(config.repetition.seed, "subset"))
        train = train[subset[: config.data.train_size]]
    drawn = train
    if config.repetition.bootstrap:
        generator = numpy_generator(config.repetition.seed, "bootstrap", config.repetition.member)
        drawn = train[generator.integers(0, len(train), len(train))]
    return SplitPositions(train, drawn, validation)
