"""Ensembles: averages of their members' predictions, and the metrics of these averages."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from dropbench.engine.evaluate import from_kept, metrics


@dataclass(frozen=True)
class Ensemble:
    """Sufficient statistics of the predictions of ``count`` members, for the averages and their metrics.

    - ``log_mean`` ``(examples, classes)``: log of the arithmetic mean of the probabilities.
    - ``mean_log`` ``(examples, classes)``: the mean log-probability.
    - ``votes`` ``(examples, classes)``: how many members rank each class first.
    - ``squares`` ``(examples,)``: the mean over members of Σ_c P(c)².
    """

    count: int
    log_mean: torch.Tensor
    mean_log: torch.Tensor
    votes: torch.Tensor
    squares: torch.Tensor

    @classmethod
    def of_members(cls, members: Sequence[torch.Tensor]) -> "Ensemble":
        """Build the statistics from each member's log-probabilities ``(examples, classes)``."""
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
        """Build the statistics of the first ``count`` Monte-Carlo passes from the arrays ``kept`` of a run.

        ``rung`` is the position of ``count`` in mc_ladder, and in the first axis of the arrays.
        """
        mean = from_kept(kept[f"{split}_mc"][rung])
        return cls(
            count,
            mean,
            # For one pass both means are equal; the kept copy would differ by its float16 rounding.
            mean if count == 1 else torch.from_numpy(kept[f"{split}_mc_mean_log"][rung]).float(),
            torch.from_numpy(kept[f"{split}_mc_votes"][rung]).long(),
            torch.from_numpy(kept[f"{split}_mc_squares"][rung]),
        )

    def prediction(self, averaging: str) -> torch.Tensor:
        """Log-probabilities ``(examples, classes)`` of the arithmetic or the normalised geometric mean.

        With a single member both are that member's own prediction.
        """
        if averaging == "arithmetic" or self.count == 1:
            return self.log_mean
        return F.log_softmax(self.mean_log, dim=1)


def log_mean(members: Sequence[torch.Tensor]) -> torch.Tensor:
    """Log of the arithmetic mean of the members' probabilities.

    Each member gives log-probabilities ``(examples, classes)``. A single member is returned as it is, to the
    last bit.
    """
    if len(members) == 1:
        return members[0]
    mean = torch.logsumexp(torch.stack(list(members)), dim=0) - math.log(len(members))
    return mean.clamp(max=0)  # rounding may leave log(M · 1) − log M above 0


def quality(ensemble: Ensemble, averaging: str, labels: torch.Tensor) -> dict[str, float]:
    """Metrics of the averaged prediction, mean metrics of its members, and their diversity.

    Loss of the ensemble = mean loss of its members − ambiguity (Krogh & Vedelsby 1995; for the negative
    log-likelihood of the geometric mean, Heskes 1998). The ambiguity is not taken from this difference, but
    computed directly:

    - NLL, arithmetic mean: the mean over examples of log P̄(y) − mean log P_m(y), which is never negative.
    - NLL, geometric mean: the mean over members of KL(P̄ ‖ P_m) = −log Σ_c exp(mean log P_m(c)); needs no
      labels.
    - Brier, arithmetic mean: the mean over members of Σ_c (P_m(c) − P̄(c))²; needs no labels.
    - Brier, geometric mean: NaN, since it has no such decomposition.

    ``disagreement_percent`` is the share of examples on which two members predict different classes, averaged
    over all pairs of members; NaN for a single member.
    """
    averaged = metrics(ensemble.prediction(averaging), labels)
    at_label = ensemble.mean_log.double().gather(1, labels[:, None])[:, 0]
    probabilities = ensemble.log_mean.double().exp()
    squares = ensemble.squares.double()
    if averaging == "arithmetic":
        nll_ambiguity = ensemble.log_mean.double().gather(1, labels[:, None])[:, 0] - at_label
        brier_ambiguity = (squares - probabilities.square().sum(1)).mean().item()
    else:
        nll_ambiguity = -torch.logsumexp(ensemble.mean_log.double(), dim=1)
        brier_ambiguity = math.nan
    right = ensemble.votes.gather(1, labels[:, None]).double()
    pairs = ensemble.count * (ensemble.count - 1)
    agreeing = (ensemble.votes * (ensemble.votes - 1)).sum(1).double().mean().item()
    return {
        **{f"test_{name}": value for name, value in averaged.items()},
        "mean_member_error_percent": 100 * (1 - right.mean().item() / ensemble.count),
        "mean_member_nll": -at_label.mean().item(),
        "nll_ambiguity": nll_ambiguity.mean().item(),
        "mean_member_brier": (squares + 1).mean().item()
        - 2 * probabilities.gather(1, labels[:, None]).mean().item(),
        "brier_ambiguity": brier_ambiguity,
        "disagreement_percent": 100 * (1 - agreeing / pairs) if pairs else math.nan,
    }


def out_of_bag_error(kept: Sequence[Mapping[str, np.ndarray]]) -> float:
    """Error in percent on training images, each predicted by the members that did not see it (Breiman 1996).

    ``kept`` holds each member's arrays ``oob``, ``oob_positions`` and ``oob_labels``. The members'
    probabilities are averaged arithmetically. Images that every member saw are left out; NaN if none remain.
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
