"""Dropout sites in nets that were not made for dropbench: their own dropout layers become sites."""

from collections.abc import Mapping

from torch import nn

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.control import dropout_layers
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.registry import make_dropout
from dropbench.errors import UsageError
from dropbench.run.blocks.dropout import PROBABILITIES
from dropbench.run.config import RunConfig

_SITE_OF: Mapping[type[nn.Module], str] = {nn.Dropout: "hidden", nn.Dropout2d: "conv"}


def replace_dropout(model: nn.Module, config: RunConfig) -> None:
    """Make torch's Dropout layers hidden sites and its Dropout2d layers conv sites, with ``config``'s p."""
    for name, module in list(model.named_modules()):
        site = _SITE_OF.get(type(module))
        if site is not None:
            put(model, name, _layer(config, site))


def _layer(config: RunConfig, site: str) -> DropoutLayer:
    """The dropout of a site; where it drops nothing, no variant that wants to know the next layer."""
    if config.dropout.p_at(site):
        return make_dropout(config, site)
    layer = BernoulliDropout(0.0)
    layer.site = site
    return layer


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put ``module`` in the place of the one that is called ``name`` within ``model``."""
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)


def check_sites(model: nn.Module, config: RunConfig, hint: str) -> None:
    """Raise UsageError, with ``hint``, if ``config`` drops units at a kind of site that ``model`` lacks."""
    there = {layer.site for layer in dropout_layers(model)}
    for site in PROBABILITIES:
        if config.dropout.p_at(site) and site not in there:
            raise UsageError(f"The model {config.model.name} has no {site} dropout site.", hint)
