"""What the objective of a step has beside the task's loss: L1, sparse activations, the variants' own."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dropbench.dropout.control import penalty, tapped
from dropbench.engine.panel import hidden_sites
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig

_LEAST = 1e-6  # of a mean activation: the logarithm of 0 is none


def check_compiles(config: RunConfig) -> None:
    """Raise UsageError where a compiled net could not be trained."""
    if config.penalty.kl_sparsity:
        raise UsageError("A compiled net cannot show its units to `kl_sparsity`.", "Leave out `compile`.")


class Penalties:
    """The penalties of a run; weight decay is no part, the optimizer has it."""

    def __init__(self, model: nn.Module, config: RunConfig, train_images: int) -> None:
        self._model = model
        self._config = config
        self._train_images = train_images
        self._weights = [weight for weight in model.parameters() if weight.ndim > 1]
        self._means: list[torch.Tensor] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Around a step's forward pass: look at the hidden units, where their activity is penalised."""
        if not self._config.penalty.kl_sparsity:
            yield
            return
        self._means = []

        def watch(units: torch.Tensor) -> torch.Tensor:
            self._means.append(units.float().flatten(1).mean(0))
            return units

        with tapped(dict.fromkeys(hidden_sites(self._model), watch)):
            yield

    def total(self) -> torch.Tensor | None:
        """The sum of all of them, in nats for one image; None where there are none."""
        config = self._config
        parts = []
        own = penalty(self._model)
        if own is not None:
            parts.append(own / self._train_images)
        if config.penalty.l1:
            parts.append(
                config.penalty.l1 * torch.stack([weight.abs().sum() for weight in self._weights]).sum()
            )
        if config.penalty.kl_sparsity:
            divergence = sparsity_divergence(
                torch.cat(self._means), config.penalty.sparsity_target, config.model.activation
            )
            parts.append(config.penalty.kl_sparsity * divergence)
        return torch.stack(parts).sum() if parts else None


def sparsity_divergence(means: torch.Tensor, target: float, activation: str) -> torch.Tensor:
    """How far the hidden units' mean activations r over a batch are from the target t, summed over units.

    For logistic units it is the Kullback-Leibler divergence of two Bernoulli variables,
    t log(t/r) + (1 − t) log((1 − t)/(1 − r)) (Hinton 2010, A practical guide to training restricted Boltzmann
    machines, section 11). That has no meaning for ReLU, whose means pass 1; for them it is the divergence of
    two Poisson variables, t log(t/r) − t + r, which for small t and r is the same.
    """
    means = means.clamp(min=_LEAST)
    wanted = torch.full_like(means, target)
    divergence = torch.xlogy(wanted, wanted / means)
    if activation == "logistic":
        rest, wanted_rest = (1 - means).clamp(min=_LEAST), 1 - wanted
        return (divergence + torch.xlogy(wanted_rest, wanted_rest / rest)).sum()
    return (divergence - wanted + means).sum()
