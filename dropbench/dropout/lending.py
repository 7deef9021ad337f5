"""Random draws by code that needs a torch.Generator, or that can only use torch's default ones."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch

from dropbench.kernels.draws import Draw
from dropbench.kernels.philox import words
from dropbench.run.config import RunConfig
from dropbench.run.streams import key_of

_SEEDS = 0xFFFFFFFF


def torch_generator_of(draw: Draw, device: torch.device) -> torch.Generator:
    """Return a generator on ``device`` whose numbers are a function of the draw alone."""
    return torch.Generator(device).manual_seed(_seed_of(draw))


def as_default(draw: Draw, device: torch.device) -> AbstractContextManager[None]:
    """Let the default generators of the CPU and of ``device`` draw what belongs to ``draw``, in this context.

    Afterwards they have their former states again. The states are in host memory, even for CUDA, so nothing
    waits for the device.
    """
    return _seeded(_seed_of(draw), device)


def own_draws(config: RunConfig, device: torch.device) -> AbstractContextManager[None]:
    """Seed those generators from the run's stream in this context, for the user's own code."""
    return _seeded(key_of(config.repetition.seed, "own", config.repetition.member), device)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the default generators of the CPU and of ``device``, which has an index, and of no other GPU."""
    lent = [torch.default_generator]
    if device.type == "cuda":
        lent.append(torch.cuda.default_generators[device.index])
    before = [generator.get_state() for generator in lent]
    for generator in lent:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(lent, before, strict=True):
            generator.set_state(state)


def _seed_of(draw: Draw) -> int:
    """64 bits of the draw's part _SEEDS, so that a layer may use the other parts beside the generator."""
    seed = words(2, draw.of_part(_SEEDS), torch.device("cpu")).numpy().view(np.uint64)
    return int(seed[0])
