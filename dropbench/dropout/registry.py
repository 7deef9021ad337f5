"""The dropout variants by name. A new one is a class, a line here, and its name in dropbench.config."""

from collections.abc import Callable

from dropbench.config import SCALED_VARIANTS, RunConfig
from dropbench.dropout.bernoulli import BernoulliDropout, SpatialDropout
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.noise import GaussianDropout, UniformDropout

VARIANTS: dict[str, Callable[..., DropoutLayer]] = {
    "bernoulli": BernoulliDropout,
    "gaussian": GaussianDropout,
    "uniform": UniformDropout,
    "spatial": SpatialDropout,
}


def make_dropout(config: RunConfig, p_drop: float) -> DropoutLayer:
    """The layer of ``config``'s variant for a site that drops with probability ``p_drop``."""
    variant = VARIANTS[config.dropout]
    return variant(p_drop, config.convention) if config.dropout in SCALED_VARIANTS else variant(p_drop)
