"""Building the dropout layer for a site of a model; dropbench.catalog.dropouts has the variants' names."""

from importlib import import_module
from typing import cast

from torch import nn

from dropbench.catalog import user_code
from dropbench.catalog.dropouts import VARIANTS
from dropbench.dropout.layer import DropoutLayer, Site
from dropbench.dropout.own import OwnDropout
from dropbench.dropout.thinned import ThinnedDropout
from dropbench.run.config import RunConfig


def make_dropout(config: RunConfig, site: str, before: nn.Module | None = None) -> DropoutLayer:
    """Return a dropout layer of ``config``'s variant for ``site``: input, conv, hidden or head.

    ``before`` is the next layer, which the units go into. It is not a submodule of the dropout layer.

    Raises:
        UsageError: if the variant cannot be used at this site, or if the user's own code fails.

    """
    p_drop = config.dropout.p_at(site)
    place = Site(site, before, config.dropout.convention)
    if config.dropout.thinned:
        layer: DropoutLayer = ThinnedDropout.at(p_drop, place)
    elif config.dropout.variant in VARIANTS:
        module_name, _, attribute = VARIANTS[config.dropout.variant].factory.partition(":")
        variant = cast(type[DropoutLayer], getattr(import_module(module_name), attribute))
        layer = variant.at(p_drop, place)
    else:
        own = user_code.load(config.dropout.variant)
        is_layer = isinstance(own, type) and issubclass(own, DropoutLayer)
        layer = own.at(p_drop, place) if is_layer else OwnDropout(p_drop, own)
    layer.site = site
    layer.lead_into(before)
    return layer
