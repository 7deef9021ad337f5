"""Measures of a layer's activations over many images: activity, sparseness, independence."""

import math

import torch

_BLOCK = 512
_PAIRS_NEED = 2


def measure_activations(activations: torch.Tensor) -> dict[str, float]:
    """Return the measures of one layer's activations ``(images, units)``.

    - ``units``: the number of units.
    - ``dead_units``: the number of units whose activation is the same for all images.
    - ``mean_activation``: the mean over images and units.
    - ``zero_share``: the share of activations that are exactly 0.
    - ``sparseness``: 1 − (mean |a|)²/mean(a²) over the units of an image, averaged over images (Treves &
      Rolls 1991). It is 0 if all units are equally active, and 1 − k/n if k of n units are and the rest 0.
    - ``mean_abs_correlation``: |Pearson's r|, averaged over all pairs of units that are not dead.
    - ``effective_rank``: exp of the entropy of the normalised eigenvalues of the units' covariance (Roy &
      Vetterli 2007). It equals ``units`` if they are uncorrelated with the same variance; NaN if all are
      dead, or an activation is not finite.

    Memory: five times that of the activations, plus 1,024 × units and 2 × min(images, units)² numbers.
    """
    activations = activations.float()
    deviations = activations - activations.mean(0)
    lengths = torch.linalg.vector_norm(deviations, dim=0)
    return {
        "units": activations.shape[1],
        "dead_units": int((lengths == 0).sum()),
        "mean_activation": activations.mean().item(),
        "zero_share": 1 - torch.count_nonzero(activations).item() / activations.numel(),
        "sparseness": _sparseness(activations),
        "effective_rank": _effective_rank(deviations),
        "mean_abs_correlation": _mean_abs_correlation(deviations[:, lengths > 0] / lengths[lengths > 0]),
    }


def _sparseness(activations: torch.Tensor) -> float:
    squares = activations.square().mean(1)
    active = squares > 0
    return (1 - activations.abs().mean(1)[active].square() / squares[active]).mean().item()


def _mean_abs_correlation(standard: torch.Tensor) -> float:
    """Return the mean |r| between the columns of ``(images, units)``, which have length 1 and mean 0."""
    units = standard.shape[1]
    if units < _PAIRS_NEED:
        return math.nan
    total = torch.zeros((), dtype=torch.float64, device=standard.device)
    for start in range(0, units, _BLOCK):  # in blocks, since 8,192 units have 67 million pairs
        total += (standard[:, start : start + _BLOCK].T @ standard).abs().sum(dtype=torch.float64)
    return (total.item() - units) / (units * (units - 1))  # without the pairs of a unit with itself


def _effective_rank(deviations: torch.Tensor) -> float:
    images, units = deviations.shape
    # Both products have the same nonzero eigenvalues; the smaller one is used.
    product = deviations.T @ deviations if units <= images else deviations @ deviations.T
    if not product.isfinite().all():
        return math.nan
    # In float32 the algorithm may not converge where many eigenvalues are 0, as with many dead units.
    eigenvalues = torch.linalg.eigvalsh(product.double()).clamp(min=0)
    if not eigenvalues.sum() > 0:
        return math.nan
    shares = eigenvalues / eigenvalues.sum()
    return float(torch.special.entr(shares).sum().exp())
