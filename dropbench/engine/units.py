"""What a layer's units do over many images: how active, how sparse, how independent."""

import math

import torch

_BLOCK = 512
_PAIRS_NEED = 2


def measure_activations(activations: torch.Tensor) -> dict[str, float]:
    """The measures of one layer's activations ``(images, units)``.

    - ``units``: how many there are; ``dead_units``: how many never change over the images.
    - ``mean_activation``: over images and units; ``zero_share``: of activations that are exactly 0.
    - ``sparseness``: 1 − (mean a)²/mean(a²) over the units, averaged over images (Treves & Rolls 1991): 0
      where all are equally active, 1 − k/n where k of n are; of |a|, for units that go below 0.
    - ``mean_abs_correlation``: |Pearson's r| averaged over all pairs of units that are not dead.
    - ``effective_rank``: of the units' covariance, exp of the entropy of its normalised eigenvalues (Roy &
      Vetterli 2007); as many as the units where they are independent and equally spread. NaN for no spread.

    Memory: five times that of the activations, and 1,024 × units and 2 × min(images, units)² numbers.
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
    """Of the columns of ``(images, units)``, each of length 1 and mean 0."""
    units = standard.shape[1]
    if units < _PAIRS_NEED:
        return math.nan
    total = 0.0
    for start in range(0, units, _BLOCK):  # never all pairs at once: 8,192 units have 67 million
        total += (standard[:, start : start + _BLOCK].T @ standard).abs().sum(dtype=torch.float64).item()
    return (total - units) / (units * (units - 1))  # less each unit with itself


def _effective_rank(deviations: torch.Tensor) -> float:
    images, units = deviations.shape
    # The smaller of both products has the same eigenvalues that are not 0.
    product = deviations.T @ deviations if units <= images else deviations @ deviations.T
    eigenvalues = torch.linalg.eigvalsh(product).double().clamp(min=0)
    if not eigenvalues.sum() > 0:
        return math.nan
    shares = eigenvalues / eigenvalues.sum()
    return float(torch.special.entr(shares).sum().exp())
