"""Images that are mirrored and moved at random, each by its own random numbers.

Image i of a batch has the words 4i to 4i + 3 of the batch's draw. The first decides whether it is mirrored,
the second by how many rows it is moved, the third by how many columns; the fourth is not used. To move an
image is to pad it with black, and to cut it out again at a place of which all are equally likely.
"""

import numpy as np
import torch

from dropbench.kernels import compiled
from dropbench.kernels.draws import WORDS, Draw
from dropbench.kernels.philox import words

_WORD = 0xFFFFFFFF
_HALF = 1 << 31


def padding(side: int) -> int:
    """Return by how many pixels an image with this height or width is moved at most: an eighth, 1 or more."""
    return max(1, (side + 4) // 8)


def augmented(
    images: torch.Tensor, positions: torch.Tensor, draw: Draw, flip: bool, crop: bool
) -> torch.Tensor:
    """Return the images at ``positions``, changed at random, ``(batch, channels, height, width)``.

    Args:
        images: ``(examples, channels, height, width)``; black is 0.
        positions: places among the examples, int64 ``(batch,)``.
        draw: the random numbers of the batch.
        flip: mirror an image left and right, with probability 1/2.
        crop: move an image by up to ``padding`` pixels up or down, and left or right.

    """
    if _takes(images):
        batch = torch.empty((len(positions), *images.shape[1:]), dtype=images.dtype)
        drawn = words(WORDS * len(positions), draw, images.device).numpy().view(np.uint32)
        _, _, height, width = images.shape
        most = (padding(height), padding(width)) if crop else (0, 0)
        _change(images.numpy(), positions.numpy(), drawn.reshape(-1, WORDS), flip, *most, batch.numpy())
        return batch
    return augmented_in_torch(images, positions, draw, flip, crop)


def augmented_in_torch(
    images: torch.Tensor, positions: torch.Tensor, draw: Draw, flip: bool, crop: bool
) -> torch.Tensor:
    """Return what ``augmented`` does, by torch's own operations on any device, in channels_last."""
    device, (_, _, height, width) = images.device, images.shape
    drawn = words(WORDS * len(positions), draw, device).long().view(-1, WORDS, 1) & _WORD
    rows = torch.arange(height, device=device).expand(len(positions), height)
    columns = torch.arange(width, device=device).expand(len(positions), width)
    if flip:
        columns = torch.where(drawn[:, 0] < _HALF, width - 1 - columns, columns)
    if not crop:
        return images[positions[:, None, None], :, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
    rows = rows + _moved(drawn[:, 1], padding(height))
    columns = columns + _moved(drawn[:, 2], padding(width))
    outside = _outside(rows, height)[:, :, None] | _outside(columns, width)[:, None]
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    changed = images[positions[:, None, None], :, rows[:, :, None], columns[:, None]]
    return changed.masked_fill_(outside[..., None], 0).permute(0, 3, 1, 2)


def _moved(drawn: torch.Tensor, most: int) -> torch.Tensor:
    """Return whole numbers from −most to most, all equally likely, from words."""
    return (drawn * (2 * most + 1) >> 32) - most


def _outside(places: torch.Tensor, side: int) -> torch.Tensor:
    return (places < 0) | (places >= side)


def _takes(images: torch.Tensor) -> bool:
    """Whether the kernel can be used: bytes or float32 in memory, without gaps."""
    return (
        compiled.usable()
        and images.device.type == "cpu"
        and images.dtype in (torch.uint8, torch.float32)
        and images.is_contiguous()
    )


_TYPES = "{0}[:, :, :, ::1], int64[::1], uint32[:, ::1], boolean, int64, int64, {0}[:, :, :, ::1]"


@compiled.kernel(*(f"void({_TYPES.format(name)})" for name in ("uint8", "float32")))
def _change(images, positions, words, flip, high, wide, batch):  # type: ignore[no-untyped-def]
    _, channels, height, width = batch.shape
    for image in compiled.prange(len(positions)):
        source, target, drawn = images[positions[image]], batch[image], words[image]
        mirrored = flip and drawn[0] < _HALF
        down = ((np.int64(drawn[1]) * (2 * high + 1)) >> 32) - high
        right = ((np.int64(drawn[2]) * (2 * wide + 1)) >> 32) - wide
        # The columns of the batch, from first on up to last, that are columns of the image.
        shift = -right if mirrored else right
        first, last = max(0, -shift), min(width, width - shift)
        for channel in range(channels):
            for row in range(height):
                into, of = target[channel, row], row + down
                if of < 0 or of >= height or first >= last:
                    into[:] = 0
                    continue
                pixels = source[channel, of]
                into[:first] = 0
                into[last:] = 0
                if mirrored:
                    for column in range(first, last):
                        into[column] = pixels[width - 1 - column + right]
                else:
                    into[first:last] = pixels[first + right : last + right]
