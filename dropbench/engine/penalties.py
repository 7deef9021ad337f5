"""Penalties added to the loss: KL sparsity, and those of dropout variants."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from dropbench.dropout.control import penalty, tapped
from dropbench.engine.panel import hidden_sites
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig

_LEAST = 1e-6  # least mean activation, so that its logarithm is finite


def check_compiles(config: RunConfig) -> None:
    """Raise UsageError if a penalty does not work with a compiled net."""
    if config.penalty.kl_sparsity:
        raise UsageError("`kl_sparsity` cannot see the units of a compiled net.", "Leave out `compile`.")


class Penalties:
    """The penalties of a run, except for those on weights, L2 and L1, which are part of the optimizer."""

    def __init__(self, model: nn.Module, config: RunConfig, train_images: int) -> None:
        self._model = model
        self._config = config
        self._train_images = train_images
        self._means: list[torch.Tensor] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record the hidden units' mean activations, if KL sparsity needs them, during a forward pass."""
        if not self._config.penalty.kl_sparsity:
            yield
            return
        self._means = []

        def record(units: torch.Tensor) -> torch.Tensor:
            self._means.append(units.float().flatten(1).mean(0))
            return units

        with tapped(dict.fromkeys(hidden_sites(self._model), record)):
            yield

    def total(self) -> torch.Tensor | None:
        """Return the sum of all penalties, in nats per image; None if there are none.

        The variants' penalties are divided by the number of training images.
        """
        config = self._config
        parts = []
        of_variants = penalty(self._model)
        if of_variants is not None:
            parts.append(of_variants / self._train_images)
        if config.penalty.kl_sparsity:
            divergence = sparsity_divergence(
                torch.cat(self._means), config.penalty.sparsity_target, config.model.activation
            )
            parts.append(config.penalty.kl_sparsity * divergence)
        return torch.stack(parts).sum() if parts else None


def sparsity_divergence(means: torch.Tensor, target: float, activation: str) -> torch.Tensor:
    """Return the divergence of the units' mean activations r in a batch from the target t, summed over units.

    For logistic units it is the Kullback-Leibler divergence of two Bernoulli variables,
    t log(t/r) + (1 − t) log((1 − t)/(1 − r)) (Hinton 2010, A practical guide to training restricted Boltzmann
    machines, section 11). That is undefined for ReLU units, whose means can exceed 1; for them it is the
    divergence of two Poisson variables, t log(t/r) − t + r, which is nearly the same for small t and r.
    """
    means = means.clamp(min=_LEAST)
    targets = torch.full_like(means, target)
    divergence = torch.xlogy(targets, targets / means)
    if activation == "logistic":
        rest, target_rest = (1 - means).clamp(min=_LEAST), 1 - targets
        return (divergence + torch.xlogy(target_rest, target_rest / rest)).sum()
    return (divergence - targets + means).sum()
