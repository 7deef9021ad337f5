"""Random draws by code that can only use torch's default generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from dropbench.run.config import RunConfig
from dropbench.run.streams import torch_generator


@contextmanager
def as_default(generator: torch.Generator) -> Iterator[None]:
    """Let the device's default generator draw from the stream of ``generator``, in this context.

    Afterwards ``generator`` has advanced, and the default generator has its former state again. The states
    are in host memory, even for CUDA, so nothing waits for the device.
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


@contextmanager
def own_draws(config: RunConfig) -> Iterator[None]:
    """Seed torch's default generator from the run's stream in this context, for the user's own code."""
    with torch.random.fork_rng():
        torch.manual_seed(
            torch_generator(config.repetition.seed, "own", config.repetition.member).initial_seed()
        )
        yield
