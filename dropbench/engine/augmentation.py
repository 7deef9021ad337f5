"""Augmentation: the training images of a step, each changed at random."""

from typing import cast

import torch

from dropbench.dropout.stream import Stream
from dropbench.engine.batches import Examples, ImageExamples
from dropbench.run.blocks.data import NO_AUGMENTATION
from dropbench.run.config import RunConfig


class Augmentation:
    """The changes that a run makes to its training images, by its own stream.

    Each step has a draw, and each image the random numbers of its place in the batch: so one that a bootstrap
    has drawn twice is changed in two ways. Since an epoch's order is a function of the seed, what becomes of
    the images depends on neither threads nor device, nor on whether steps are replayed.
    """

    def __init__(self, names: str, stream: Stream) -> None:
        chosen = names.split(",")
        self._flip, self._crop = ("flip" in chosen), ("crop" in chosen)
        self.stream = stream

    @classmethod
    def of(cls, config: RunConfig) -> "Augmentation | None":
        """Return that of a run; None where images are left as they are."""
        if config.data.augment == NO_AUGMENTATION:
            return None
        repetition = config.repetition
        return cls(config.data.augment, Stream.of(repetition.seed, "augment", repetition.member))

    def batch(self, examples: Examples, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the changed images, and the targets ``(batch,)``, at ``positions``, for the next step."""
        images = cast(ImageExamples, examples)  # a table is refused by dropbench.run.blocks.data
        return images.augmented(positions, self.stream.draw(), self._flip, self._crop)
