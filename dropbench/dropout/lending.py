"""Random draws by code that knows no generator but torch's default one."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def as_default(generator: torch.Generator) -> Iterator[None]:
    """Let the device's default generator take the place of ``generator``; it gets its own state back.

    The states live in host memory, on CUDA too: nothing waits for the device.
    """
    device = generator.device
    default = torch.default_generator
    if device.type == "cuda":
        default = torch.cuda.default_generators[device.index or 0]
    before = default.get_state()
    default.set_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(default.get_state())
        default.set_state(before)
