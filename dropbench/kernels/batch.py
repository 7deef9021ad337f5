"""A batch of normalised images, from bytes to bfloat16 in one pass."""

import torch

from dropbench.kernels import compiled


def takes_images(images: torch.Tensor) -> bool:
    """Whether ``normalised`` can be used: bytes in memory, without gaps."""
    return (
        compiled.usable()
        and images.device.type == "cpu"
        and images.dtype == torch.uint8
        and images.is_contiguous()
    )


def normalised(images: torch.Tensor, positions: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return the images at ``positions`` ``(batch, channels, height, width)``, in bfloat16 and channels_last.

    Args:
        images: bytes ``(examples, channels, height, width)``.
        positions: places among the examples, int64 ``(batch,)``.
        values: what becomes of each byte in each channel, bfloat16 ``(channels, 256)``.

    """
    _, channels, height, width = images.shape
    shape = (len(positions), channels, height, width)
    batch = torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last)
    out = compiled.in_memory(batch).reshape(len(positions), height * width, channels)
    _look_up(
        images.numpy().reshape(len(images), channels, height * width),
        positions.numpy(),
        compiled.in_memory(values).reshape(channels, 256),
        out,
    )
    return batch


@compiled.kernel("void(uint8[:, :, ::1], int64[::1], int16[:, ::1], int16[:, :, ::1])")
def _look_up(images, positions, values, batch):  # type: ignore[no-untyped-def]
    for image in compiled.prange(len(positions)):
        source, target = images[positions[image]], batch[image]
        for channel in range(len(values)):
            pixels, value = source[channel], values[channel]
            for pixel in range(len(pixels)):
                target[pixel, channel] = value[pixels[pixel]]
