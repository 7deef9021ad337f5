"""A step of SGD with momentum, weight decay and max-norm for the weights of several runs at once."""

from dataclasses import dataclass

import torch

_LEAST_NORM = 1e-7  # as in torch.renorm
# Of a row that a program of Triton's keeps in its registers. A thread has 255; by `ptxas -v` for sm_80 a row
# of bfloat16 needs 210 of them, all at twice the columns, and spills 1 KB into memory at four times.
MOST_COLUMNS = 1 << 13


@dataclass(frozen=True)
class Settings:
    """The numbers of each run, float32 ``(runs, 1, 1)``; none of them is read back from the device."""

    momentum: torch.Tensor
    weight_decay: torch.Tensor
    max_norm: torch.Tensor
    """∞ where a run has none."""


@torch.no_grad()
def sgd_step_of_runs(
    used: torch.Tensor,
    master: torch.Tensor,
    velocity: torch.Tensor,
    gradient: torch.Tensor,
    rates: torch.Tensor,
    settings: Settings,
    is_weight: bool,
) -> None:
    """Update weights or biases in place, as dropbench.engine.optim.SGD does it for each run.

    On CUDA it is one pass over them by Triton, where Triton works and a row has at most 8,192 columns.

    Args:
        used: what the nets compute with, ``(runs, rows, columns)``: ``master`` itself, or the same rounded.
        master: the values in float32.
        velocity: the sum of past gradients, in float32.
        gradient: in the dtype of ``used``.
        rates: the learning rates, float32 ``(runs, 1, 1)``.
        settings: the other numbers.
        is_weight: whether weight decay and max-norm apply, which biases do not have.

    """
    if _triton_takes(master):
        _launch(used, master, velocity, gradient, rates, settings, is_weight)
        return
    change = gradient.float()
    if is_weight:
        change = torch.addcmul(change, settings.weight_decay, master)
    velocity.mul_(settings.momentum).add_(change)
    master.addcmul_(rates, velocity, value=-1)
    if is_weight:
        norms, bound = torch.linalg.vector_norm(master, 2, dim=2, keepdim=True), settings.max_norm
        master.mul_(torch.where(norms > bound, bound / (norms + _LEAST_NORM), 1.0))
    if used is not master:
        used.copy_(master)


def _triton_takes(master: torch.Tensor) -> bool:
    if master.device.type != "cuda" or master.shape[2] > MOST_COLUMNS:
        return False
    from dropbench.kernels import on_cuda  # here, since Triton is there on CUDA only

    return on_cuda.takes(master)


def _launch(
    used: torch.Tensor,
    master: torch.Tensor,
    velocity: torch.Tensor,
    gradient: torch.Tensor,
    rates: torch.Tensor,
    settings: Settings,
    is_weight: bool,
) -> None:
    from dropbench.kernels import in_triton

    runs, rows, columns = master.shape
    numbers = (rates, settings.momentum, settings.weight_decay, settings.max_norm)
    whole = 1 << (columns - 1).bit_length()
    with torch.cuda.device(master.get_device()):
        in_triton.sgd_of_runs[(runs * rows,)](
            used, master, velocity, gradient.contiguous(), *numbers, rows, columns,
            is_weight, used is not master, whole, num_warps=warps_for(whole),
        )  # fmt: skip


def warps_for(columns: int) -> int:
    """Return the warps, of 32 threads each, of a program that updates a row with so many columns."""
    return min(8, max(1, columns // 256))
