"""The dropout variants by name: where each is built, and what it does, in a line.

Plain data, so that help texts can tell of them without importing torch. A new variant is one file with its
class and one line in ``VARIANTS``.
"""

from dataclasses import dataclass

from dropbench.catalog.own_code import is_own
from dropbench.catalog.registry import Registry


@dataclass(frozen=True)
class Variant:
    """How to build a variant. ``factory`` is ``module:Class``, a dropbench.dropout.layer.DropoutLayer."""

    factory: str
    summary: str
    scaled: bool = False
    """Its noise has the mean 1 − p, so that both of the lecture's conventions apply."""
    activation: str = ""
    """The only activation it is meant for; empty for any."""
    learns: bool = False
    """p_drop is where its rate starts; what was learned is recorded beside it."""
    of_maps: bool = False
    """Only on feature maps is it anything else than Bernoulli's."""


VARIANTS = Registry(
    "dropout",
    {
        "bernoulli": Variant("dropbench.dropout.bernoulli:BernoulliDropout", "zeros", scaled=True),
        "gaussian": Variant("dropbench.dropout.noise:GaussianDropout", "normal noise of variance p/(1 − p)"),
        "uniform": Variant("dropbench.dropout.noise:UniformDropout", "uniform noise of that variance"),
        "dropconnect": Variant(
            "dropbench.dropout.dropconnect:DropConnect", "zeros on the next layer's weights, for every sample"
        ),
        "spatial": Variant(
            "dropbench.dropout.bernoulli:SpatialDropout", "whole channels", scaled=True, of_maps=True
        ),
        "dropblock": Variant(
            "dropbench.dropout.borrowed:DropBlock", "squares of a feature map", of_maps=True
        ),
        "alpha": Variant(
            "dropbench.dropout.borrowed:AlphaDropout", "keeps mean and variance, for SELU", activation="selu"
        ),
        "variational": Variant(
            "dropbench.dropout.variational:VariationalDropout",
            "normal noise on weights, its rate learned",
            learns=True,
        ),
        "concrete": Variant("dropbench.dropout.concrete:ConcreteDropout", "p learned", learns=True),
        "standout": Variant("dropbench.dropout.standout:Standout", "strongly driven units are dropped less"),
    },
)
_OWN = Variant("", "a module of the user's own")


def variant_of(name: str) -> Variant:
    """What ``name`` means: one of VARIANTS, or ``package.module:Class``; raises UsageError for another."""
    if is_own(name):
        return _OWN
    return VARIANTS.find(name)
