"""Predictions of a number: Gaussian distributions, and mixtures of these, with their metrics."""

import math

import torch

LEVELS = tuple(level / 20 for level in range(1, 20))
"""The levels of the central intervals whose coverage is measured: 5 %, 10 %, … 95 %."""


def log_densities(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the log density of each target, ``(…, examples)``, under Gaussian predictions.

    Args:
        predictions: mean and standard deviation, ``(…, examples, 2)``.
        targets: ``(examples,)``.

    """
    mean, deviation = predictions.double().unbind(-1)
    return -0.5 * ((targets - mean) / deviation).square() - deviation.log() - 0.5 * math.log(2 * math.pi)


def mixture_log_densities(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the log density of each target ``(examples,)`` under the equal mixture of Gaussians.

    ``predictions`` ``(members, examples, 2)`` are those of the members, or of the passes of Monte-Carlo
    dropout. For the latter it is the predictive log-likelihood of Gal & Ghahramani (2016), equation 8.
    """
    return torch.logsumexp(log_densities(predictions, targets), 0) - math.log(len(predictions))


def mixture(predictions: torch.Tensor) -> torch.Tensor:
    """Return mean and standard deviation ``(examples, 2)`` of the mixture of ``(members, examples, 2)``.

    The variance is the mean of the members' variances, and the variance of their means beside it.
    """
    mean, deviation = predictions.double().unbind(-1)
    variance = deviation.square().mean(0) + mean.var(0, correction=0)
    return torch.stack([mean.mean(0), variance.sqrt()], dim=-1)


def probability_below(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the probability that the mixture gives to numbers below each target, ``(examples,)``.

    Of predictions that are calibrated it is uniform (probability integral transform; Dawid 1984).
    """
    mean, deviation = predictions.double().unbind(-1)
    below: torch.Tensor = torch.special.ndtr((targets - mean) / deviation)
    return below.mean(0)


def coverage(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the share of targets in the central interval of each of LEVELS, ``(levels,)``."""
    # A target is in the central interval of level L where |2 F(y) − 1| is at most L.
    distance = (2 * probability_below(predictions, targets) - 1).abs()
    levels = torch.tensor(LEVELS, dtype=distance.dtype, device=distance.device)
    return (distance[:, None] <= levels).double().mean(0)


def gaussian_metrics(predictions: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """Return the metrics of the equal mixture of Gaussian predictions ``(members, examples, 2)``.

    - ``rmse``: the root of the mean squared error of the mixture's mean, in the unit of the targets.
    - ``nll``: the negative log-likelihood in nats, of the density in that unit; it may be below 0.
    - ``coverage_error``: |share of targets in the central interval − its level|, the mean over LEVELS. It is
      0 if the intervals are calibrated.
    """
    targets = targets.double()
    mean = predictions[..., 0].double().mean(0)
    levels = torch.tensor(LEVELS, dtype=torch.float64, device=targets.device)
    return {
        "rmse": (mean - targets).square().mean().sqrt().item(),
        "nll": -mixture_log_densities(predictions, targets).mean().item(),
        "coverage_error": (coverage(predictions, targets) - levels).abs().mean().item(),
    }
