"""Which examples a run trains on and which choose: all of it decided by its seed."""

from dataclasses import dataclass

import numpy as np

from dropbench.errors import UsageError
from dropbench.run.config import RunConfig
from dropbench.run.streams import numpy_generator

VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class SplitPositions:
    """Positions in the training images, int64 ``(examples,)``.

    ``train`` holds each example once; ``drawn`` is what the run trains on, which differs from ``train``
    only under a bootstrap, where it has duplicates.
    """

    train: np.ndarray
    drawn: np.ndarray
    validation: np.ndarray


def stratified_order(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random order of the examples in which every prefix has each class in its share, up to rounding.

    A prefix is thus a stratified subset, and a smaller subset is part of every larger one.
    """
    shuffled = generator.permutation(len(labels))
    position_in_class = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels[shuffled] == label)
        position_in_class[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(position_in_class, kind="stable")]


def largest_train_size(examples: int) -> int:
    """How many of ``examples`` training images the validation split leaves to train on."""
    return examples - max(1, round(VALIDATION_SHARE * examples))


def split(labels: np.ndarray, config: RunConfig) -> SplitPositions:
    """SplitPositions the training examples with these labels ``(examples,)`` as ``config`` says.

    The validation split and the subset depend on the seed alone, so the members of an ensemble share
    them; the bootstrap is each member's own.

    Raises:
        UsageError: if ``config.data.train_size`` is more than there is.

    """
    most = largest_train_size(len(labels))
    if config.data.train_size is not None and config.data.train_size > most:
        raise UsageError(
            f"`train_size` {config.data.train_size:,} is more than {config.data.name} has.",
            f"After the validation split it has {most:,} training images.",
        )
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
