"""Random draws by code that needs a torch.Generator, or that can only use torch's default ones."""

from collections.abc import Iterator, Sequence
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


class Loan:
    """Some of torch's default generators, lent to code that draws from no others.

    In each loan they go on where they were at the end of the last one, and the first begins with ``seed``; in
    between they have their own states. The states are in host memory, even for CUDA, so nothing waits for
    the device.
    """

    def __init__(self, seed: int, generators: Sequence[torch.Generator]) -> None:
        self._generators = generators
        self._seed = seed
        self._states: list[torch.Tensor] | None = None

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Lend the generators in this context."""
        before = [generator.get_state() for generator in self._generators]
        if self._states is None:
            for generator in self._generators:
                generator.manual_seed(self._seed)
        else:
            self._set(self._states)
        try:
            yield
        finally:
            self._states = [generator.get_state() for generator in self._generators]
            self._set(before)

    @property
    def states(self) -> list[torch.Tensor] | None:
        """The states that the next loan begins with; None before the first one."""
        return self._states

    def go_on(self, states: list[torch.Tensor] | None) -> None:
        """Let the next loan begin with these states, of the same generators."""
        if states is not None and len(states) != len(self._generators):
            raise ValueError(f"{len(states)} states are not those of {len(self._generators)} generators")
        self._states = states

    def _set(self, states: list[torch.Tensor]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.set_state(state)


def as_default(draw: Draw, device: torch.device) -> AbstractContextManager[None]:
    """Lend the default generators of the CPU and of ``device`` for what belongs to ``draw``."""
    return Loan(_seed_of(draw), _defaults(device)).lent()


def own_draws(config: RunConfig, device: torch.device) -> Loan:
    """Return the loan of a run of the user's own code, from the run's stream; other runs are lent nothing."""
    seed = key_of(config.repetition.seed, "own", config.repetition.member)
    return Loan(seed, _defaults(device) if config.with_user_code else ())


def _defaults(device: torch.device) -> list[torch.Generator]:
    """The default generators of the CPU and of ``device``, which has an index, and of no other GPU."""
    of_device = [torch.cuda.default_generators[device.index]] if device.type == "cuda" else []
    return [torch.default_generator, *of_device]


def _seed_of(draw: Draw) -> int:
    """64 bits of the draw's part _SEEDS, so that a layer may use the other parts beside the generator."""
    seed = words(2, draw.of_part(_SEEDS), torch.device("cpu")).numpy().view(np.uint64)
    return int(seed[0])
