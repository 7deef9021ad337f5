"""The scoring of regressions: averages of Gaussian predictions, and scaling of their standard deviation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from dropbench.catalog.arms import AVERAGINGS, losses_of
from dropbench.engine.gaussian import (
    LEVELS,
    coverage,
    gaussian_metrics,
    log_densities,
    mixture,
    mixture_log_densities,
)
from dropbench.experiments.bagging.calibration import detection
from dropbench.experiments.bagging.scoring import OOD, Kept, Scored
from dropbench.run.blocks.data import REGRESSION

MAX_VARIANCE_FACTOR = 1e12
"""Bounds the search for the factor to 10⁻¹² … 10¹²: a net that overfits is far too sure."""
_FIRST_TRIED = 57
"""Factors that are tried first, each e times another: a mixture's likelihood may have several optima."""
_FIRST_EXAMPLES = 500
"""Examples that they are tried on, at most: with a hundred passes, all would take seconds."""


@dataclass(frozen=True)
class Mixture:
    """Gaussian predictions of several members: mean and standard deviation ``(members, examples, 2)``."""

    members: torch.Tensor

    def prediction(self, averaging: str) -> torch.Tensor:
        """Return the average as an equal mixture of Gaussians ``(components, examples, 2)``.

        The arithmetic mean of the densities is the mixture of the members. The geometric mean, normalised, is
        a single Gaussian. Its precision is the mean of the members' precisions, 1/σ² = mean 1/σ_m², and its
        mean is that of their means weighted by their precisions, μ = σ² · mean μ_m/σ_m². With a single member
        both are that member's own prediction.
        """
        if averaging == "arithmetic" or len(self.members) == 1:
            return self.members
        mean, deviation = self.members.double().unbind(-1)
        precision = deviation.square().reciprocal()
        averaged = precision.mean(0)
        weighted = (precision * mean).mean(0) / averaged
        return torch.stack([weighted, averaged.rsqrt()], dim=-1)[None]


def quality(ensemble: Mixture, averaging: str, targets: torch.Tensor) -> dict[str, float]:
    """Return the metrics of the averaged prediction, mean losses of its members, and their diversity.

    Loss of the ensemble = mean loss of its members − ambiguity. The ambiguity is computed directly:

    - NLL, arithmetic mean: the mean over examples of log p̄(y) − mean log p_m(y), never negative (Jensen).
    - NLL, geometric mean: the mean over members of KL(p̄ ‖ p_m), which for Gaussians with the precisions
      1/σ_m² is mean log σ_m − log σ + ½ mean (μ_m − μ)²/σ_m² (Heskes 1998); needs no targets.
    - Squared error, arithmetic mean: the variance of the members' means (Krogh & Vedelsby 1995); needs no
      targets. Squared error of the ensemble is the square of ``test_rmse``.
    - Squared error, geometric mean: NaN, since its mean weighs the members anew in every example.
    """
    predicted = ensemble.prediction(averaging)
    at_target = log_densities(ensemble.members, targets).mean(0)
    mean, deviation = ensemble.members.double().unbind(-1)
    squared_error_ambiguity = math.nan
    if averaging == "arithmetic":
        nll_ambiguity = mixture_log_densities(predicted, targets) - at_target
        squared_error_ambiguity = mean.var(0, correction=0).mean().item()
    else:
        centre, spread = predicted[0].double().unbind(-1)
        apart = ((mean - centre) / deviation).square().mean(0)
        nll_ambiguity = deviation.log().mean(0) - spread.log() + apart / 2
    return {
        **{f"test_{name}": value for name, value in gaussian_metrics(predicted, targets).items()},
        "mean_member_nll": -at_target.mean().item(),
        "nll_ambiguity": nll_ambiguity.mean().item(),
        "mean_member_squared_error": (mean - targets).square().mean().item(),
        "squared_error_ambiguity": squared_error_ambiguity,
    }


def scaled_by(prediction: torch.Tensor, variance_factor: float) -> torch.Tensor:
    """Return the mixture ``(components, examples, 2)`` whose components have that many times the variance.

    All means stay, those of the components and so that of the mixture. A stretch of the whole mixture about
    its mean would do as well for one component; but members that are too sure are narrow peaks, and it would
    draw these apart and not let them overlap.
    """
    mean, deviation = prediction.double().unbind(-1)
    return torch.stack([mean, math.sqrt(variance_factor) * deviation], dim=-1)


def fit_variance_factor(prediction: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the factor of the variance with the lowest negative log-likelihood; 1 where none does better.

    The variance is that of each component. The factor is the square of that of the standard deviation in the
    σ scaling of Laves et al. (2020), and what a temperature is to probabilities: p^(1/T) of a Gaussian,
    normalised, has T times its variance.
    """
    from scipy.optimize import minimize_scalar

    mean, deviation = prediction.double().unbind(-1)
    half_squares, log_deviation = ((targets - mean) / deviation).square() / 2, deviation.log()

    def nll(log_factor: float, every: int = 1) -> float:
        """The mean over every so many examples, but for a constant."""
        logs = -half_squares[:, ::every] * math.exp(-log_factor) - log_deviation[:, ::every]
        return log_factor / 2 - torch.logsumexp(logs, 0).mean().item()

    reach = math.log(MAX_VARIANCE_FACTOR)
    tried = np.linspace(-reach, reach, _FIRST_TRIED)
    step = float(tried[1] - tried[0])
    every = -(-len(targets) // _FIRST_EXAMPLES)
    best = float(tried[np.argmin([nll(each, every) for each in tried])])
    bounds = max(best - step, -reach), min(best + step, reach)
    found = minimize_scalar(nll, bounds=bounds, method="bounded", options={"xatol": 1e-5})
    return math.exp(found.x) if found.fun < nll(0.0) else 1.0


class Numbers:
    """Scoring of Gaussian predictions of numbers."""

    targets = "targets"

    def of_members(self, kept: Sequence[np.ndarray]) -> Mixture:
        """Return the ensemble of members, of each of which means and standard deviations are kept."""
        return Mixture(torch.from_numpy(np.stack(kept)))

    def of_passes(self, kept: Kept, split: str, passes: int, samples: int) -> Mixture:
        """Return the ensemble of the first passes; all are kept, in their order."""
        return Mixture(torch.from_numpy(kept[f"{split}_mc"][:passes]))

    def metrics(self, ensemble: Mixture, targets: torch.Tensor) -> dict[str, float]:
        """Return RMSE, NLL and coverage error of the arithmetic average."""
        return gaussian_metrics(ensemble.prediction(AVERAGINGS[0]), targets)

    def score(
        self, ensembles: Mapping[str, Mixture], targets: Mapping[str, torch.Tensor], averaging: str
    ) -> Scored:
        """Return the metrics, before and after scaling; the variance detects OOD examples."""
        validated = ensembles["val"].prediction(averaging)
        predicted = ensembles["test"].prediction(averaging)
        factor = fit_variance_factor(validated, targets["val"])
        scaled = scaled_by(predicted, factor)
        after = gaussian_metrics(scaled, targets["test"])
        figures = {
            **quality(ensembles["test"], averaging, targets["test"]),
            "temperature": factor,
            "val_nll": gaussian_metrics(validated, targets["val"])["nll"],
            "val_nll_scaled": gaussian_metrics(scaled_by(validated, factor), targets["val"])["nll"],
            "test_nll_scaled": after["nll"],
            "test_coverage_error_scaled": after["coverage_error"],
        }
        if OOD in ensembles:
            figures |= detection(_variance(predicted), _variance(ensembles[OOD].prediction(averaging)))
        return Scored(figures, _bins(predicted, targets["test"]), _losses(predicted, scaled, targets["test"]))

    def out_of_bag(self, kept: Sequence[Kept]) -> dict[str, float]:
        """Return the out-of-bag root mean squared error, in the unit of the target."""
        positions = np.concatenate([arrays["oob_positions"] for arrays in kept])
        if not len(positions):
            return {"oob_rmse": math.nan}
        means = np.concatenate([arrays["oob"][:, 0] for arrays in kept]).astype(np.float64)
        targets = np.concatenate([arrays["oob_targets"] for arrays in kept]).astype(np.float64)
        _, first, place, times = np.unique(
            positions, return_index=True, return_inverse=True, return_counts=True
        )
        averaged = np.bincount(place, weights=means) / times
        return {"oob_rmse": float(np.sqrt(np.square(averaged - targets[first]).mean()))}


def _variance(prediction: torch.Tensor) -> torch.Tensor:
    """Return the variance of each prediction ``(examples,)``."""
    return mixture(prediction)[:, 1].square()


def _bins(predicted: torch.Tensor, targets: torch.Tensor) -> list[dict[str, float]]:
    """Cells of reliability.csv: the level of a central interval as confidence, its coverage as accuracy."""
    shares = coverage(predicted, targets.double()).tolist()
    return [
        {"bin": number, "examples": len(targets), "accuracy": share, "confidence": level}
        for number, (level, share) in enumerate(zip(LEVELS, shares, strict=True))
    ]


def _losses(predicted: torch.Tensor, scaled: torch.Tensor, targets: torch.Tensor) -> dict[str, np.ndarray]:
    """Each loss on every example ``(examples,)``; the RMSE is the root of the mean of the squared errors."""
    losses = {
        "rmse": (predicted[..., 0].double().mean(0) - targets).square(),
        "nll": -mixture_log_densities(predicted, targets),
        "nll_scaled": -mixture_log_densities(scaled, targets),
    }
    return {name: losses[name].numpy() for name in losses_of(REGRESSION)}
