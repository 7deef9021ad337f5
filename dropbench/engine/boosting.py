"""Dropout boosting: the noise of dropout with a joint objective (Warde-Farley et al. 2014)."""

import torch


def boosting_objective(thinned: torch.Tensor, averaged: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return a scalar whose gradient trains the thinned nets to predict well jointly, not each alone.

    Dropout minimises −log P(y | mask), the loss of each thinned net. Dropout boosting minimises −log P̄(y),
    where P̄ is the normalised geometric mean of all thinned nets. Its logits are E z, the mean of the thinned
    nets' logits z. The gradient is

        ∇ −log P̄(y) = E over masks of Σ_c (P̄(c) − [c = y]) ∇ z_c,

    so a random mask gives an unbiased estimate of it, if P̄ is known. As in the paper, P̄ is approximated by
    weight scaling, the net's prediction at test. This is exact for a single layer before the softmax, and
    biased for deeper nets. Only the gradient of the result has a meaning, not its value.

    Args:
        thinned: logits z of the thinned nets of this step's masks, ``(batch, classes)``.
        averaged: logits of P̄, ``(batch, classes)``; no gradient flows through them.
        labels: ``(batch,)``.

    """
    with torch.no_grad():
        # F.one_hot would read the labels, to check them.
        truth = torch.zeros_like(averaged).scatter_(1, labels[:, None], 1.0)
        residual = averaged.softmax(dim=1) - truth
    return (residual * thinned).sum() / len(labels)
