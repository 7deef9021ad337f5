"""Random streams: each use of randomness has its own named stream, derived from the run's seed.

Draws from one stream do not affect any other, so two runs with the same seed and different drop probabilities
start from the same weights and see the same batches. Nothing draws from a global generator.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# A stream's place in this list seeds it, so every recorded number depends on it: append, never reorder.
STREAMS = ("init", "order", "mask", "bootstrap", "subset", "augment", "mc", "validation", "panel", "own")


def seed_sequence(seed: int, name: str, *keys: int) -> np.random.SeedSequence:
    """Return the seed of stream ``name``; different ``keys`` (a member) give independent streams."""
    return np.random.SeedSequence(seed, spawn_key=(STREAMS.index(name), *keys))


def numpy_generator(seed: int, name: str, *keys: int) -> np.random.Generator:
    """Return stream ``name`` as a numpy generator."""
    return np.random.Generator(np.random.PCG64(seed_sequence(seed, name, *keys)))


def key_of(seed: int, name: str, *keys: int) -> int:
    """Return 64 bits of stream ``name``: the key of its counter-based random numbers."""
    return int(seed_sequence(seed, name, *keys).generate_state(1, np.uint64)[0])


def torch_generator(
    seed: int, name: str, *keys: int, device: "torch.device | str" = "cpu"
) -> "torch.Generator":
    """Return stream ``name`` as a torch generator on ``device``."""
    import torch  # here, so that code that only needs numpy does not import torch

    return torch.Generator(device=device).manual_seed(key_of(seed, name, *keys))
