"""Convolutions whose stride is longer than their maps are wide: torch errs in their bfloat16 gradients."""

from typing import Any, cast

from torch import nn

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def spare_narrow_maps(model: nn.Module) -> None:
    """Let no convolution of ``model`` have a stride longer than the maps are wide that it sees.

    On the CPU, oneDNN leaves a part of the weights' gradient in bfloat16 as it was in memory where it is
    (seen with torch 2.14 on a Xeon with AMX: 3×3, stride 2, on 1×1, as in a ResNet on 8×8 pixels). Its output
    is one column, which is the same with a stride that is the width.
    """
    for module in model.modules():
        if isinstance(module, _CONVOLUTIONS) and _is_concerned(module):
            module.register_forward_pre_hook(_shorten)


def _is_concerned(module: Any) -> bool:
    """Whether it has a stride, a kernel that needs one, and no padding with which columns would be more."""
    (stride, kernel), padding = (module.stride[-1], module.kernel_size[-1]), module.padding
    dilated = module.dilation[-1] * (kernel - 1) + 1
    return bool(stride > 1 < kernel and not isinstance(padding, str) and dilated > 2 * padding[-1])


def _shorten(module: nn.Module, given: tuple[Any, ...]) -> None:
    convolution = cast(nn.Conv2d, module)
    width = int(given[0].shape[-1])
    if width < convolution.stride[-1]:
        convolution.stride = cast(tuple[int, int], (*convolution.stride[:-1], max(width, 1)))
