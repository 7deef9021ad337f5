"""Ensembles as reductions of their members' predictions: the averages, and what is measured of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from dropbench.engine.evaluate import from_kept, metrics


@dataclass(frozen=True)
class Ensemble:
    """The sufficient statistics of ``count`` members' predictions of some examples.

    - ``log_mean`` ``(examples, classes)``: log of the arithmetic mean of the probabilities.
    - ``mean_log``, likewise: the mean log-probability.
    - ``votes``, likewise: how many members have each class first.
    - ``squares`` ``(examples,)``: the mean over members of Σ_c P(c)².
    """

    count: int
    log_mean: torch.Tensor
    mean_log: torch.Tensor
    votes: torch.Tensor
    squares: torch.Tensor

    @classmethod
    def of_members(cls, members: Sequence[torch.Tensor]) -> "Ensemble":
        """Of nets, from their log-probabilities ``(examples, classes)``."""
        together = torch.stack(list(members))
        return cls(
            len(together),
            log_mean(members),
            together.mean(0),
            F.one_hot(together.argmax(2), together.shape[2]).sum(0),
            together.exp().square().sum(2).mean(0),
        )

    @classmethod
    def of_thinned_nets(cls, kept: Mapping[str, np.ndarray], split: str, rung: int, count: int) -> "Ensemble":
        """Of the first ``count`` passes with masks, which are the rung of this number of the kept ladder."""
        mean = from_kept(kept[f"{split}_mc"][rung])
        return cls(
            count,
            mean,
            # Of one pass it is the same, and not only up to its own rounding.
            mean if count == 1 else torch.from_numpy(kept[f"{split}_mc_mean_log"][rung]).float(),
            torch.from_numpy(kept[f"{split}_mc_votes"][rung]).long(),
            torch.from_numpy(kept[f"{split}_mc_squares"][rung]),
        )

    def prediction(self, averaging: str) -> torch.Tensor:
        """Log-probabilities of the mean, arithmetic or (normalised) geometric; of one member its own."""
        if averaging == "arithmetic" or self.count == 1:
            return self.log_mean
        return F.log_softmax(self.mean_log, dim=1)


def log_mean(members: Sequence[torch.Tensor]) -> torch.Tensor:
    """Log of the arithmetic mean of probabilities, from log-probabilities ``(examples, classes)`` each.

    The mean of one is that one, to the last bit.
    """
    if len(members) == 1:
        return members[0]
    mean = torch.logsumexp(torch.stack(list(members)), dim=0) - math.log(len(members))
    return mean.clamp(max=0)  # rounded, log(M · 1) − log M may be above


def quality(ensemble: Ensemble, averaging: str, labels: torch.Tensor) -> dict[str, float]:
    """The metrics of the averaged prediction, those of its members, and how far they are from one another.

    Loss of the ensemble = mean loss of its members − ambiguity (Krogh & Vedelsby 1995; for the negative
    log-likelihood of the geometric mean, Heskes 1998). The ambiguity is computed for itself:

    - NLL, arithmetic: the mean over examples of log P̄(y) − mean log P_m(y), which is 0 or more.
    - NLL, geometric: mean over members of KL(P̄ ‖ P_m) = −log Σ_c exp(mean log P_m(c)), without labels.
    - Brier, arithmetic: mean over members of Σ_c (P_m(c) − P̄(c))², without labels. Of the geometric mean
      the Brier score has no such decomposition (NaN).

    ``disagreement_percent`` is the share of examples on which two members differ, over all pairs; of one
    member NaN.
    """
    measured = metrics(ensemble.prediction(averaging), labels)
    at_label = ensemble.mean_log.double().gather(1, labels[:, None])[:, 0]
    probabilities = ensemble.log_mean.double().exp()
    squares = ensemble.squares.double()
    if averaging == "arithmetic":
        nll_ambiguity = ensemble.log_mean.double().gather(1, labels[:, None])[:, 0] - at_label
        brier_ambiguity = (squares - probabilities.square().sum(1)).mean().item()
    else:
        nll_ambiguity = -torch.logsumexp(ensemble.mean_log.double(), dim=1)
        brier_ambiguity = math.nan
    of_label = ensemble.votes.gather(1, labels[:, None]).double()
    pairs = ensemble.count * (ensemble.count - 1)
    agreeing = (ensemble.votes * (ensemble.votes - 1)).sum(1).double().mean().item()
    return {
        **{f"test_{name}": value for name, value in measured.items()},
        "mean_member_error_percent": 100 * (1 - of_label.mean().item() / ensemble.count),
        "mean_member_nll": -at_label.mean().item(),
        "nll_ambiguity": nll_ambiguity.mean().item(),
        "mean_member_brier": (squares + 1).mean().item()
        - 2 * probabilities.gather(1, labels[:, None]).mean().item(),
        "brier_ambiguity": brier_ambiguity,
        "disagreement_percent": 100 * (1 - agreeing / pairs) if pairs else math.nan,
    }


def out_of_bag_error(kept: Sequence[Mapping[str, np.ndarray]]) -> float:
    """Error in percent on training images, each predicted by the members that did not see it (Breiman 1996).

    The mean is that of probabilities. Images that every member saw are no part of it; NaN if all are.
    """
    size = 1 + max((int(arrays["oob_positions"].max(initial=-1)) for arrays in kept), default=-1)
    labels = np.full(size, -1)
    total: np.ndarray | None = None
    for arrays in kept:
        probabilities = from_kept(arrays["oob"]).double().exp().numpy()
        total = np.zeros((size, probabilities.shape[1])) if total is None else total
        total[arrays["oob_positions"]] += probabilities
        labels[arrays["oob_positions"]] = arrays["oob_labels"]
    seen = labels >= 0
    if total is None or not seen.any():
        return math.nan
    return float(100 * (total[seen].argmax(1) != labels[seen]).mean())
