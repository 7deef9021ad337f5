"""Monte-Carlo dropout: the predictions of thinned nets, each or as means of k, for several numbers k."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from dropbench.catalog.user_code import library_of
from dropbench.dropout.control import copies_fit, dropout_layers, monte_carlo, tapped
from dropbench.dropout.layer import DropoutLayer
from dropbench.engine.batches import Examples
from dropbench.engine.device import autocast
from dropbench.engine.evaluate import EVALUATION_BATCH
from dropbench.run.config import RunConfig

_COPIES = 64
"""Thinned nets that are computed at once if they share the layers before the first mask."""
_EXAMPLES = 64
"""Examples that are evaluated at once in that case."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class ThinnedNets:
    """Averages over the first k passes with new masks, for each k of the ladder ``(ks,)``.

    - ``log_mean`` ``(ks, examples, classes)``: the logarithm of the arithmetic mean of the probabilities.
    - ``mean_log`` ``(ks, examples, classes)``: the mean log-probability; normalised, the geometric mean.
    - ``votes`` ``(ks, examples, classes)``: the number of passes that predict each class.
    - ``squares`` ``(ks, examples)``: the mean over passes of Σ_c P(c)².
    """

    log_mean: torch.Tensor
    mean_log: torch.Tensor
    votes: torch.Tensor
    squares: torch.Tensor


def predict_monte_carlo(
    model: nn.Module,
    examples: Examples,
    positions: torch.Tensor,
    precision: str,
    ladder: Sequence[int],
    config: RunConfig | None = None,
) -> ThinnedNets:
    """Predict ``ladder[-1]`` times with new masks, and average the first k passes for each k of ``ladder``.

    The arithmetic mean is the Monte-Carlo average of Srivastava et al. (2014), section 7.5.
    ``config`` is as in monte_carlo_passes.
    """
    counts = torch.tensor(ladder, device=positions.device)
    parts = _of_batches(
        model,
        examples,
        positions,
        precision,
        ladder[-1],
        config,
        lambda outputs: _averages(F.log_softmax(outputs, dim=2), counts),
    )
    return ThinnedNets(*(torch.cat(of_parts, dim=1) for of_parts in zip(*parts, strict=True)))


def monte_carlo_passes(
    model: nn.Module,
    examples: Examples,
    positions: torch.Tensor,
    precision: str,
    samples: int,
    config: RunConfig | None = None,
) -> torch.Tensor:
    """Return the outputs of passes with new masks, ``(samples, examples, outputs)`` in float32.

    If ``config`` has dropout at hidden sites only, or at the head of a library's net only, the layers before
    the first one (a CNN's convolutions) are computed once.
    """
    parts = _of_batches(model, examples, positions, precision, samples, config, lambda outputs: outputs)
    return torch.cat(parts, dim=1)


@torch.no_grad()
def _of_batches(
    model: nn.Module,
    examples: Examples,
    positions: torch.Tensor,
    precision: str,
    samples: int,
    config: RunConfig | None,
    make: Callable[[torch.Tensor], _T],
) -> list[_T]:
    """Return what ``make`` makes of the passes ``(samples, batch, outputs)`` of each batch."""
    model.eval()
    shared = None if config is None else _first_hidden(model, config)
    copies = 1 if shared is None else min(_COPIES, samples)
    made = []
    with monte_carlo(model):
        for part in torch.split(positions, EVALUATION_BATCH if shared is None else _EXAMPLES):
            inputs, _ = examples.batch(part)
            passes = [
                _predict_copies(model, inputs, precision, shared, min(copies, samples - start))
                for start in range(0, samples, copies)
            ]
            made.append(make(torch.cat(passes)))
    return made


def _first_hidden(model: nn.Module, config: RunConfig) -> DropoutLayer | None:
    """Return the first site with masks if all passes can share the layers before it; else None."""
    drops = config.dropout
    if library_of(config.model.name):  # whose last layer alone is known to see nothing but the head
        if drops.p_drop or drops.p_drop_conv or drops.p_drop_residual:
            return None
        return next(layer for layer in dropout_layers(model) if layer.site == "head")
    if not copies_fit(config) or drops.p_drop_input or drops.p_drop_conv:
        return None
    return next((layer for layer in dropout_layers(model) if layer.site == "hidden"), None)


def _predict_copies(
    model: nn.Module, inputs: torch.Tensor, precision: str, shared: DropoutLayer | None, copies: int
) -> torch.Tensor:
    """Return outputs ``(copies, batch, outputs)``, with a new mask for each copy."""

    def spread(units: torch.Tensor) -> torch.Tensor:
        return units.expand(copies, *units.shape).flatten(0, 1)

    with tapped({} if shared is None else {shared: spread}), autocast(inputs.device, precision):
        outputs: torch.Tensor = model(inputs)
    return outputs.float().view(copies, len(inputs), -1)


def _averages(passes: torch.Tensor, counts: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the fields of ThinnedNets from log-probabilities ``(samples, batch, classes)``."""
    rows = counts - 1
    votes = F.one_hot(passes.argmax(2), passes.shape[2]).cumsum(0)[rows]
    squares = passes.exp().square().sum(2).cumsum(0)[rows] / counts[:, None]
    mean_log = passes.cumsum(0)[rows] / counts[:, None, None]
    log_mean = passes.logcumsumexp(0)[rows] - counts.log()[:, None, None]
    return log_mean, mean_log, votes, squares
