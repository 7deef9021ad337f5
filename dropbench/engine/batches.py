"""Normalised batches of uint8 images in memory."""

from dataclasses import dataclass

import numpy as np
import torch

from dropbench.kernels.batch import normalised, takes_images

_CHUNK = 4096


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel, both ``(channels, 1, 1)``, of pixel values 0 to 255."""

    mean: torch.Tensor
    deviation: torch.Tensor


def measure(images: np.ndarray, positions: np.ndarray, device: torch.device) -> Normalisation:
    """Return mean and deviation of the images ``(examples, channels, height, width)`` at ``positions``.

    Sums of integers are exact, so the result does not depend on threads or order. A constant channel gets the
    deviation 1.
    """
    channels = images.shape[1]
    total = np.zeros(channels, dtype=np.int64)
    squares = np.zeros(channels, dtype=np.int64)
    in_order = np.sort(positions)
    for start in range(0, len(in_order), _CHUNK):
        chunk = images[in_order[start : start + _CHUNK]].transpose(1, 0, 2, 3).reshape(channels, -1)
        counts = np.stack([np.bincount(channel, minlength=256) for channel in chunk])
        total += counts @ np.arange(256)
        squares += counts @ np.arange(256) ** 2
    pixels = len(positions) * images.shape[2] * images.shape[3]
    mean = total / pixels
    variance = squares / pixels - mean**2
    deviation = np.where(variance > 0, np.sqrt(np.maximum(variance, 0)), 1)
    shape = (channels, 1, 1)
    return Normalisation(
        torch.tensor(mean, dtype=torch.float32, device=device).reshape(shape),
        torch.tensor(deviation, dtype=torch.float32, device=device).reshape(shape),
    )


def pixel_values(channels: int, device: torch.device) -> Normalisation:
    """Return the normalisation that only scales pixel values to 0 to 1."""
    ones = torch.ones(channels, 1, 1, device=device)
    return Normalisation(0 * ones, 255 * ones)


class Examples:
    """Images and labels on the device, from which normalised batches are taken.

    With ``half`` the batches are in bfloat16, where a kernel can make them so; matrix products in bf16 would
    round them, too.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        normalisation: Normalisation,
        device: torch.device,
        half: bool = False,
    ) -> None:
        self.images = torch.from_numpy(images).to(device)
        self.labels = torch.from_numpy(labels).to(device)
        self.normalisation = normalisation
        self.half = half
        bytes_ = torch.arange(256, dtype=torch.float32, device=device).expand(images.shape[1], 1, 256)
        self._values = self._normalise(bytes_.clone()).flatten(1).bfloat16()

    def batch(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the images and the labels ``(batch,)`` at ``positions``.

        The images are normalised, ``(batch, channels, height, width)`` and channels_last.
        """
        if self.half and takes_images(self.images):
            return normalised(self.images, positions, self._values), self.labels[positions]
        images = self.images[positions].to(torch.float32, memory_format=torch.channels_last)
        return self._normalise(images), self.labels[positions]

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        """Normalise pixel values ``(…, channels, height, width)`` in place."""
        return images.sub_(self.normalisation.mean).div_(self.normalisation.deviation)
