"""Batches of examples in memory: normalised images, or the rows of a table."""

import weakref
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch

from dropbench.datasets.dataset import pixel_sums
from dropbench.kernels.augment import augmented
from dropbench.kernels.batch import normalised, takes_images
from dropbench.kernels.draws import Draw


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, both ``(channels, 1, 1)``, in the unit of the images."""

    mean: torch.Tensor
    deviation: torch.Tensor


def measure(
    images: np.ndarray, positions: np.ndarray, device: torch.device, sums: np.ndarray | None = None
) -> Normalisation:
    """Return mean and deviation of the images ``(examples, channels, height, width)`` at ``positions``.

    Sums of integers are exact, so the result does not depend on threads or order. A constant channel gets the
    deviation 1; so does one of float32 whose deviation is no more than their rounding. ``sums`` are
    ``pixel_sums(images)``, where they are known.
    """
    chosen = pixel_sums(images[positions]) if sums is None else sums[:, positions]
    total, squares = chosen.sum(axis=1)
    pixels = len(positions) * images.shape[2] * images.shape[3]
    mean = total / pixels
    variance = squares / pixels - mean**2
    constant = 0 if images.dtype == np.uint8 else (np.finfo(np.float32).eps * mean) ** 2
    deviation = np.where(variance > constant, np.sqrt(np.maximum(variance, 0)), 1)
    shape = (images.shape[1], 1, 1)
    return Normalisation(
        torch.tensor(mean, dtype=torch.float32, device=device).reshape(shape),
        torch.tensor(deviation, dtype=torch.float32, device=device).reshape(shape),
    )


def pixel_values(channels: int, device: torch.device, white: float = 255) -> Normalisation:
    """Return the normalisation that only scales pixel values from 0 to ``white`` to 0 to 1."""
    ones = torch.ones(channels, 1, 1, device=device)
    return Normalisation(0 * ones, white * ones)


_uploads: OrderedDict[tuple[int, torch.device], torch.Tensor] = OrderedDict()
_MOST_UPLOADS = 6  # the images and labels of both splits of a data set, and of out-of-distribution images


def uploaded(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return a tensor of ``array`` on ``device``, which must not be written.

    On the CPU it shares the array's memory. On a GPU the runs of a process share one copy: it is kept as long
    as the array is there, unless others came into use since.
    """
    if device.type == "cpu":
        return torch.from_numpy(array)
    key = (id(array), device)
    if key not in _uploads:
        _uploads[key] = torch.from_numpy(array).to(device)
        weakref.finalize(array, _uploads.pop, key, None)  # before its id is given to another array
    _uploads.move_to_end(key)
    if len(_uploads) > _MOST_UPLOADS:
        _uploads.popitem(last=False)
    return _uploads[key]


class Examples:
    """Inputs and targets on the device, from which batches are taken; the inputs are as a net sees them.

    Args:
        inputs: numbers ``(examples, …)``, as the rows of an encoded table.
        targets: ``(examples,)``.
        device: where they go.
        half: have the inputs in bfloat16, which matrix products in bf16 would round them to.

    """

    def __init__(
        self, inputs: np.ndarray, targets: np.ndarray, device: torch.device, half: bool = False
    ) -> None:
        self.inputs = torch.from_numpy(inputs).to(device, torch.bfloat16 if half else torch.float32)
        self.targets = uploaded(targets, device)

    def batch(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs and the targets ``(batch,)`` at ``positions``."""
        return self.inputs[positions], self.targets[positions]

    @property
    def device(self) -> torch.device:
        """The device that they are on."""
        return self.inputs.device


class ImageExamples(Examples):
    """Images, whose batches are normalised.

    With ``half`` the batches are in bfloat16, where a kernel can make them so; matrix products in bf16 would
    round them, too.
    """

    def __init__(
        self,
        images: np.ndarray,
        targets: np.ndarray,
        normalisation: Normalisation,
        device: torch.device,
        half: bool = False,
    ) -> None:
        self.inputs = uploaded(images, device)
        self.targets = uploaded(targets, device)
        self.normalisation = normalisation
        self.half = half
        bytes_ = torch.arange(256, dtype=torch.float32, device=device).expand(images.shape[1], 1, 256)
        self._values = self._normalise(bytes_.clone()).flatten(1).bfloat16()

    def batch(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images and the targets ``(batch,)`` at ``positions``.

        The images are normalised, ``(batch, channels, height, width)`` and channels_last.
        """
        if self.half and takes_images(self.inputs):
            return normalised(self.inputs, positions, self._values), self.targets[positions]
        return self._as_seen(self.inputs[positions]), self.targets[positions]

    def augmented(
        self, positions: torch.Tensor, draw: Draw, flip: bool, crop: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what ``batch`` does of images that are changed at random; see dropbench.kernels.augment."""
        images = augmented(self.inputs, positions, draw, flip, crop)
        if self.half and takes_images(images):
            seen = normalised(images, torch.arange(len(images)), self._values)
        else:
            seen = self._as_seen(images)
        return seen, self.targets[positions]

    def _as_seen(self, images: torch.Tensor) -> torch.Tensor:
        """Return images normalised in float32, which may overwrite them."""
        return self._normalise(images.to(torch.float32, memory_format=torch.channels_last))

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise pixel values ``(…, channels, height, width)`` in place."""
        return images.sub_(self.normalisation.mean).div_(self.normalisation.deviation)
