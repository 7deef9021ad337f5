"""The preparation of inputs for a net, fitted on the training examples of a run's split alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from dropbench.datasets.column import Column
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.encoding import TableEncoder
from dropbench.engine.batches import (
    Examples,
    ImageExamples,
    Normalisation,
    measure,
    pixel_values,
)
from dropbench.engine.halving import halves_inputs
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig


class Preparation(Protocol):
    """The protocol of a preparation, which is the same for the examples of all splits."""

    def stored(self) -> dict[str, Any]:
        """Return what was fitted, as JSON can hold it, to the last bit."""

    def examples(self, inputs: np.ndarray, targets: np.ndarray) -> Examples:
        """Return the examples whose inputs are those of the data set, or of the same shape, on the device."""


class ImagePreparation:
    """Images, whose channels are normalised."""

    def __init__(self, normalisation: Normalisation, device: torch.device, half: bool) -> None:
        self.normalisation = normalisation
        self._device = device
        self._half = half

    def stored(self) -> dict[str, Any]:
        """Return mean and deviation of each channel, in the unit of the images."""
        return {
            "mean": self.normalisation.mean.flatten().tolist(),
            "deviation": self.normalisation.deviation.flatten().tolist(),
        }

    def examples(self, inputs: np.ndarray, targets: np.ndarray) -> ImageExamples:
        """Return images ``(examples, channels, height, width)`` with their targets."""
        return ImageExamples(inputs, targets, self.normalisation, self._device, self._half)


class TablePreparation:
    """Rows of a table, which are encoded."""

    def __init__(self, encoder: TableEncoder, device: torch.device, half: bool) -> None:
        self._encoder = encoder
        self._device = device
        self._half = half

    def stored(self) -> dict[str, Any]:
        """Return the numbers of the encoder."""
        return dict(self._encoder.stored())

    def examples(self, inputs: np.ndarray, targets: np.ndarray) -> Examples:
        """Return rows ``(examples, columns)`` with their targets."""
        return Examples(self._encoder.encode(inputs), targets, self._device, self._half)


def white_of(data: DataSet, config: RunConfig) -> float | None:
    """Return the pixel value that a run scales to 1; None if it standardises the channels, or has a table.

    Raises:
        UsageError: if it is to scale images whose values have no such meaning.

    """
    if data.columns or not (config.task == "reconstruct" or config.data.pixels == "unit"):
        return None
    if data.white is None:
        needs = "`pixels=unit`" if config.data.pixels == "unit" else f"The model {config.model.name}"
        raise UsageError(
            f"{needs} needs images of bytes or of numbers from 0 to 1, and {data.name} has others.",
            "Scale them, or leave it out.",
        )
    return data.white


def preparation(data: DataSet, train: np.ndarray, config: RunConfig, device: torch.device) -> Preparation:
    """Fit the preparation of a run on its training split, whose positions are ``train``.

    The split is not a bootstrap, so that members share the preparation.
    """
    half = halves_inputs(config)
    if data.columns:
        return TablePreparation(TableEncoder.fitted(data.columns, data.train_inputs[train]), device, half)
    if white := white_of(data, config):
        return ImagePreparation(pixel_values(data.input_shape[0], device, white), device, half)
    return ImagePreparation(measure(data.train_inputs, train, device, data.pixel_sums), device, half)


def stored_preparation(
    stored: Mapping[str, Any], columns: Sequence[Column], config: RunConfig, device: torch.device
) -> Preparation:
    """Return the preparation of what ``stored`` returned, of a table with ``columns`` or of images.

    Raises:
        KeyError, TypeError, ValueError: if it is none.

    """
    half = halves_inputs(config)
    if columns:
        return TablePreparation(TableEncoder.of_stored(columns, stored), device, half)
    mean, deviation = (
        torch.tensor(stored[name], dtype=torch.float32, device=device).reshape(-1, 1, 1)
        for name in ("mean", "deviation")
    )
    return ImagePreparation(Normalisation(mean, deviation), device, half)
