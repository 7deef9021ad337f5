"""The usual stem of nets for images of 32×32 pixels, in the place of one for large images."""

from torch import nn

from dropbench.errors import UsageError
from dropbench.models.sites import put

_KERNELS = ((3, 3), (7, 7))
_MOST = 3
"""Convolutions of a stem before its pooling: timm's deep stems have three."""


def use_small_stem(name: str, model: nn.Module) -> None:
    """Give ``model``, a net ``name``, a first convolution of 3×3 and stride 1, and no pooling after it.

    It is the stem of He et al. (2016) for CIFAR-10.

    Raises:
        UsageError: if the net has no stem that find_stem knows.

    """
    found = find_stem(model)
    if found is None:
        raise UsageError(
            f"The net {name} has no stem like a ResNet's, of a convolution and a pooling of stride 2.",
            "Leave out `small_images`.",
        )
    place, first, pooling = found
    small = nn.Conv2d(
        first.in_channels, first.out_channels, 3, padding=1, bias=first.bias is not None, groups=first.groups
    )
    put(model, place, small)
    put(model, pooling, nn.Identity())


def find_stem(model: nn.Module) -> tuple[str, nn.Conv2d, str] | None:
    """Return where the first convolution is, this itself, and where the pooling is; None of another stem.

    A stem is known by its form: its first convolution, of 7×7 or 3×3, has the stride 2, and a pooling of
    stride 2 follows after three convolutions at most.
    """
    convolutions: list[tuple[str, nn.Conv2d]] = []
    pooling = ""
    for place, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            convolutions.append((place, module))
        if isinstance(module, nn.MaxPool2d) and _twice(module.stride):
            pooling = place
            break
    if not pooling or not 0 < len(convolutions) <= _MOST:
        return None
    place, first = convolutions[0]
    return (place, first, pooling) if first.kernel_size in _KERNELS and _twice(first.stride) else None


def _twice(stride: object) -> bool:
    return stride in (2, (2, 2))
