"""Continuous noise of mean 1 and variance p/(1 − p), the same as inverted Bernoulli dropout's."""

import math

import torch

from dropbench.dropout.layer import Arriving, DropoutLayer
from dropbench.kernels.draws import Draw
from dropbench.kernels.noise import normal, uniform


class ContinuousNoise(DropoutLayer):
    """Base of noise D with mean 1 and variance p/(1 − p)."""

    def second_moment(self, arriving: Arriving) -> float:
        """Return 1 + p/(1 − p)."""
        return 1 / (1 - self.p_now)


class GaussianDropout(ContinuousNoise):
    """Multiplies units by N(1, σ²) with σ² = p/(1 − p) (Srivastava et al. 2014, section 10)."""

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Multiply the units by new normal noise, drawn in float32 whatever the dtype of the units."""
        deviation = math.sqrt(self.p_now / (1 - self.p_now))
        noise = normal(units.shape, draw, units.device).mul_(deviation).add_(1)
        return (units * noise).to(units.dtype)


class UniformDropout(ContinuousNoise):
    """Multiplies units by uniform noise of mean 1 and variance p/(1 − p), so of half-width √(3p/(1 − p))."""

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Multiply the units by new uniform noise, drawn in float32 whatever the dtype of the units."""
        half = math.sqrt(3 * self.p_now / (1 - self.p_now))
        noise = uniform(units.shape, draw, units.device).mul_(2 * half).add_(1 - half)
        return (units * noise).to(units.dtype)
