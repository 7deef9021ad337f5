"""Dropout boosting: dropout's noise without its each-for-itself (Warde-Farley et al. 2014)."""

import torch
import torch.nn.functional as F


def boosting_objective(thinned: torch.Tensor, averaged: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What a step goes down so that the thinned nets predict well together, rather than each by itself.

    Dropout goes down −log P(y | mask), each thinned net's own. Here it is −log P̄(y), P̄ the normalised
    geometric mean of all of them, whose logits are E z, the mean of the thinned nets' logits z. Its
    gradient is

        ∇ −log P̄(y) = E over masks of Σ_c (P̄(c) − [c = y]) ∇ z_c,

    and a mask drawn at random gives an unbiased estimate of it, given P̄. As in the paper, P̄ is
    approximated, by weight scaling: the net's prediction at test (exact for one layer before the softmax,
    biased for more).

    Args:
        thinned: logits z of the nets that this step's masks make, ``(batch, classes)``.
        averaged: logits of P̄ ``(batch, classes)``; no gradient passes through them.
        labels: ``(batch,)``.

    Returns a scalar of that gradient; its value means nothing.

    """
    with torch.no_grad():
        missing = averaged.softmax(dim=1) - F.one_hot(labels, averaged.shape[1])
    return (missing * thinned).sum() / len(labels)
