"""Regression: Gaussian predictions of a number, whose mean a net learns beside one noise level."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import nn

from dropbench.engine.evaluate import outputs_of
from dropbench.engine.gaussian import gaussian_metrics, log_densities
from dropbench.engine.monte_carlo import monte_carlo_passes
from dropbench.engine.task import Predictor, Split
from dropbench.run.config import RunConfig

STEEPEST = 10.0
"""The most that a batch draws the logarithm of the noise level upwards; downwards it is 1."""


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the targets of a run's training split, in which a net learns them."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, targets: np.ndarray) -> Self:
        """Return the scale of targets ``(examples,)``; the deviation of equal ones is taken as 1."""
        wide = targets.astype(np.float64)
        return cls(float(wide.mean()), float(wide.std()) or 1.0)

    def standardised(self, targets: torch.Tensor) -> torch.Tensor:
        """Return targets in units of the deviation from the mean, in float32."""
        return ((targets.double() - self.mean) / self.deviation).float()

    def in_units(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return predictions in the unit of the target, in float32.

        Args:
            outputs: those of a GaussianNet, ``(…, 2)``.

        Returns:
            mean and standard deviation, ``(…, 2)``.

        """
        mean, log_deviation = outputs.double().unbind(-1)
        made = torch.stack([mean * self.deviation + self.mean, log_deviation.exp() * self.deviation], dim=-1)
        return made.float()


class Regress(Predictor):
    """Regression, with the Gaussian negative log-likelihood as loss, in the unit of the target.

    Args:
        scale: that of the run's training split; see dropbench.models.gaussian.GaussianNet for the outputs.

    """

    target = "targets"
    error = "rmse"

    def __init__(self, scale: Scale) -> None:
        self.scale = scale

    def loss(self, outputs: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood in nats."""
        residuals, log_deviation = self._residuals(outputs, targets)
        of_standardised = 0.5 * residuals.square() * (-2 * log_deviation).exp() + log_deviation
        return of_standardised.mean() + (math.log(self.scale.deviation) + 0.5 * math.log(2 * math.pi))

    def objective(
        self, loss: torch.Tensor, outputs: torch.Tensor, targets: torch.Tensor, penalty: torch.Tensor | None
    ) -> torch.Tensor:
        """Return a scalar whose gradient is that of the loss and the penalties, scaled for each parameter.

        The gradient for the weights is times σ², where σ is the noise level. It is 0 for the same weights:
        σ is one number. By the loss alone, a step would grow as 1/σ² while σ falls, and no learning rate
        suits both the first epochs and the last. Times σ² the loss's is that of half the squared error,
        whatever σ is; it is the natural gradient of a Gaussian's mean (Amari 1998), and β-NLL with β = 1
        (Seitzer et al. 2022). Weight decay, a part of the optimizer, is beside that squared error. Unlike a
        classifier's it has no bound, so that the optimizer clips the gradients of the weights.

        The gradient for log σ is the loss's, 1 − r²/σ², where r² is the mean squared residual of the batch.
        It is STEEPEST upwards at most, since an outlier may be a thousand σ away.

        Only the gradient of the result has a meaning, not its value.
        """
        residuals, log_deviation = self._residuals(outputs, targets)
        variance = (2 * log_deviation.detach()).exp().mean()
        ratio = residuals.detach().square().mean() / variance
        weights = 0.5 * residuals.square().mean()
        if penalty is not None:
            weights = weights + variance * penalty
        return weights + (1 - ratio).clamp(min=-STEEPEST) * log_deviation.mean()

    def _residuals(self, outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return residuals of the standardised target ``(…, batch)`` and log σ, which has the same shape."""
        mean, log_deviation = outputs.unbind(-1)
        return self.scale.standardised(targets) - mean, log_deviation

    def wrong(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return NaN: a number is not right or wrong."""
        return torch.full((), torch.nan, device=outputs.device)

    @torch.no_grad()
    def validate(self, model: nn.Module, split: Split, precision: str) -> tuple[float, float]:
        """Return the negative log-likelihood in nats, and NaN."""
        predicted = self.scale.in_units(outputs_of(model, split.examples, split.positions, precision))
        loss = -log_densities(predicted, split.targets).mean().cpu().item()
        return loss, float("nan")

    def predictions(self, model: nn.Module, split: Split, precision: str) -> np.ndarray:
        """Return mean and standard deviation in the unit of the target, float32 ``(examples, 2)``."""
        return self._kept(outputs_of(model, split.examples, split.positions, precision))

    def metrics(self, kept: np.ndarray, targets: torch.Tensor) -> dict[str, float]:
        """Return RMSE, negative log-likelihood and coverage error; see gaussian_metrics."""
        return gaussian_metrics(torch.from_numpy(kept)[None], targets)

    def monte_carlo(self, model: nn.Module, split: Split, config: RunConfig) -> dict[str, np.ndarray]:
        """Return the predictions of all passes, float32 ``(samples, examples, 2)``.

        Gal & Ghahramani (2016) take mean and variance of the mixture of these; see gaussian.mixture.
        """
        passes = monte_carlo_passes(
            model,
            split.examples,
            split.positions,
            config.optimizer.precision,
            config.dropout.mc_samples,
            config,
        )
        return {"_mc": self._kept(passes)}

    def faults(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the squared errors in the unit of the target, ``(…, examples)``."""
        return (self.scale.in_units(outputs)[..., 0].double() - targets).square()

    def error_of(self, faults: float, examples: int) -> float:
        """Return the root of the mean squared error."""
        return math.sqrt(faults / examples)

    def _kept(self, outputs: torch.Tensor) -> np.ndarray:
        kept: np.ndarray = self.scale.in_units(outputs).cpu().numpy()
        return kept
