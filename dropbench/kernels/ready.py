"""All kernels for the CPU, compiled at once: before workers start, which would do so each for itself."""

import logging

import torch

from dropbench.kernels import cache

_log = logging.getLogger(__name__)


def make_ready() -> None:
    """Compile all kernels, unless they were compiled before and are in the cache."""
    if cache.is_complete():
        return  # without importing numba
    # Importing a module makes its kernels known.
    from dropbench.kernels import (  # noqa: F401
        augment,
        batch,
        compiled,
        convolution,
        linear,
        mask,
        philox,
        pool,
        relu,
        sgd,
    )

    if compiled.works():
        _log.info("Compiling the kernels for this processor: half a minute, once for this version.")
        if compiled.compile_kernels():
            cache.mark_complete()


def how_done(device: torch.device) -> tuple[bool, str]:
    """Return whether kernels do the work on this device that torch does in several passes, and by what."""
    from dropbench.kernels import compiled, on_cuda

    slower = "torch's own operations, which are slower"
    if device.type == "cuda":
        return (
            on_cuda.usable(),
            "compiled by Triton" if on_cuda.usable() else f"{slower}: Triton does not work",
        )
    if not compiled.works():
        return False, f"{slower}: numba cannot be used ({compiled.why_not()})"
    make_ready()
    return True, f"compiled by numba {compiled.numba.__version__}"
