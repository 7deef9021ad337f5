"""Random streams: one master seed, and an independent named generator for every use of chance.

Two runs with the same seed and another drop probability start from the same weights and see the same
batches, because what one stream is asked for never moves another. Nothing reads a global generator.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# The position in this tuple is part of every recorded number: append to it, never reorder it.
STREAMS = ("init", "order", "mask", "bootstrap", "subset", "augment", "mc", "validation", "panel", "own")


def seed_sequence(seed: int, name: str, *keys: int) -> np.random.SeedSequence:
    """The seed of stream ``name`` under master seed ``seed``; ``keys`` (member, site) make it a family."""
    return np.random.SeedSequence(seed, spawn_key=(STREAMS.index(name), *keys))


def numpy_generator(seed: int, name: str, *keys: int) -> np.random.Generator:
    """Stream ``name`` as a numpy generator."""
    return np.random.Generator(np.random.PCG64(seed_sequence(seed, name, *keys)))


def torch_generator(
    seed: int, name: str, *keys: int, device: "torch.device | str" = "cpu"
) -> "torch.Generator":
    """Stream ``name`` as a torch generator on ``device``."""
    import torch  # here, so that the numpy side of the house does not pay for torch

    state = int(seed_sequence(seed, name, *keys).generate_state(1, np.uint64)[0])
    return torch.Generator(device=device).manual_seed(state)
