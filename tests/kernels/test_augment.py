"""Augmented images are those of numpy's padding, cutting and mirroring, by the draw's own words."""

import numpy as np
import pytest
import torch

from dropbench.kernels.augment import augmented, augmented_in_torch, padding
from dropbench.kernels.draws import Draw
from dropbench.kernels.philox import words

CPU = torch.device("cpu")
DRAW = Draw(key=0x1234_5678_9ABC_DEF0, number=7, site=0)
SHAPES = [(3, 32, 32), (1, 28, 28), (3, 5, 12), (1, 64, 9), (1, 1, 3), (1, 1, 1)]
SETS = [(True, False), (False, True), (True, True)]


def images_of(shape: tuple[int, ...], dtype: type, count: int = 60) -> torch.Tensor:
    """Images without a black pixel."""
    return torch.from_numpy(np.random.default_rng(0).integers(1, 256, (count, *shape)).astype(dtype))


def by_numpy(image: np.ndarray, drawn: np.ndarray, flip: bool, crop: bool) -> np.ndarray:
    """Pad by an eighth, cut out at the drawn corner, and mirror."""
    _, height, width = image.shape
    mirrored = flip and drawn[0] < 1 << 31
    if crop:
        high, wide = padding(height), padding(width)
        top = int(drawn[1]) * (2 * high + 1) >> 32
        left = int(drawn[2]) * (2 * wide + 1) >> 32
        padded = np.pad(image, ((0, 0), (high, high), (wide, wide)))
        image = padded[:, top : top + height, left : left + width]
    return image[:, :, ::-1] if mirrored else image


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("flip", "crop"), SETS)
def test_images_are_padded_cut_and_mirrored(flip, crop, shape, dtype):
    images = images_of(shape, dtype)
    positions = torch.from_numpy(np.random.default_rng(1).integers(0, 60, 41))
    drawn = words(4 * 41, DRAW, CPU).numpy().view(np.uint32).reshape(41, 4)
    chosen = zip(images.numpy()[positions.numpy()], drawn, strict=True)
    expected = np.stack([by_numpy(image, own, flip, crop) for image, own in chosen])
    for found in (
        augmented(images, positions, DRAW, flip, crop),
        augmented_in_torch(images, positions, DRAW, flip, crop),
    ):
        assert found.dtype == images.dtype
        assert np.array_equal(found.numpy(), expected)
    assert images.min() > 0, "the images themselves stay as they are"
