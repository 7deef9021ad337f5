"""Monte-Carlo dropout: the mean prediction of thinned nets, for every number of them on a ladder."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from dropbench.dropout.control import copies_fit, dropout_layers, monte_carlo, tapped
from dropbench.dropout.layer import DropoutLayer
from dropbench.engine.batches import Examples
from dropbench.engine.device import autocast
from dropbench.engine.evaluate import EVALUATION_BATCH
from dropbench.run.config import RunConfig

_COPIES = 64
"""Thinned nets that share what comes before the first mask; with them, _IMAGES at a time."""
_IMAGES = 64


@dataclass(frozen=True)
class ThinnedNets:
    """What is kept of the first k of some passes with fresh masks, for each k of a ladder ``(ks,)``.

    - ``log_mean`` ``(ks, examples, classes)``: log of the arithmetic mean of the probabilities.
    - ``mean_log``, likewise: the mean log-probability; normalised, it is the geometric mean.
    - ``votes``, likewise: how many passes had each class first.
    - ``squares`` ``(ks, examples)``: the mean over passes of Σ_c P(c)².
    """

    log_mean: torch.Tensor
    mean_log: torch.Tensor
    votes: torch.Tensor
    squares: torch.Tensor


@torch.no_grad()
def predict_monte_carlo(
    model: nn.Module,
    examples: Examples,
    positions: torch.Tensor,
    precision: str,
    ladder: Sequence[int],
    config: RunConfig | None = None,
) -> ThinnedNets:
    """Passes with fresh masks over a model in eval mode, ``ladder[-1]`` of them.

    The arithmetic mean is that of Srivastava et al. 2014, section 7.5. With a ``config`` that has dropout at
    the hidden sites alone, what comes before the first of these, a CNN's convolutions, is computed once.
    """
    model.eval()
    samples = ladder[-1]
    shared = None if config is None else _first_hidden(model, config)
    copies = 1 if shared is None else min(_COPIES, samples)
    parts = []
    with monte_carlo(model):
        for part in torch.split(positions, EVALUATION_BATCH if shared is None else _IMAGES):
            images, _ = examples.batch(part)
            passes = [
                _pass(model, images, precision, shared, min(copies, samples - start))
                for start in range(0, samples, copies)
            ]
            parts.append(_summary(torch.cat(passes), ladder))
    return ThinnedNets(*(torch.cat(of_parts, dim=1) for of_parts in zip(*parts, strict=True)))


def _first_hidden(model: nn.Module, config: RunConfig) -> DropoutLayer | None:
    """The first layer that draws masks, if what comes before it may be shared by all passes."""
    if not copies_fit(config) or config.dropout.p_drop_input or config.dropout.p_drop_conv:
        return None
    return next((layer for layer in dropout_layers(model) if layer.site == "hidden"), None)


def _pass(
    model: nn.Module, images: torch.Tensor, precision: str, shared: DropoutLayer | None, copies: int
) -> torch.Tensor:
    """Log-probabilities ``(copies, batch, classes)``."""

    def spread(units: torch.Tensor) -> torch.Tensor:
        return units.expand(copies, *units.shape).flatten(0, 1)

    with tapped({} if shared is None else {shared: spread}), autocast(images.device, precision):
        logits = model(images)
    return F.log_softmax(logits.float(), dim=1).view(copies, len(images), -1)


def _summary(passes: torch.Tensor, ladder: Sequence[int]) -> tuple[torch.Tensor, ...]:
    """The fields of ThinnedNets from log-probabilities ``(samples, batch, classes)``."""
    counts = torch.tensor(ladder, device=passes.device)
    rows = counts - 1
    votes = F.one_hot(passes.argmax(2), passes.shape[2]).cumsum(0)[rows]
    squares = passes.exp().square().sum(2).cumsum(0)[rows] / counts[:, None]
    mean_log = passes.cumsum(0)[rows] / counts[:, None, None]
    log_mean = passes.logcumsumexp(0)[rows] - counts.log()[:, None, None]
    return log_mean, mean_log, votes, squares
