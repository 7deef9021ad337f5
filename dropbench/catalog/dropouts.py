"""The dropout variants by name, each with its class and a one-line summary.

This is plain data, so that help texts can describe the variants without importing torch. A new variant is one
file with its class and one line in ``VARIANTS``.
"""

from dataclasses import dataclass

from dropbench.catalog.registry import Registry
from dropbench.catalog.user_code import is_user_code
from dropbench.errors import UsageError


@dataclass(frozen=True)
class Variant:
    """A dropout variant; ``factory`` is the ``module:Class`` of a dropbench.dropout.layer.DropoutLayer."""

    factory: str
    summary: str
    scaled: bool = False
    """Its masks have the mean 1 − p, so inverted dropout and weight scaling both apply."""
    in_chances: bool = False
    """Its masks have one of the probabilities of dropbench.kernels.draws.chance_of."""
    activation: str = ""
    """The only activation that it is made for; empty: any."""
    learns: bool = False
    """Its drop probability is learned, starting from p_drop; the learned one is recorded beside p_drop."""
    on_weights: bool = False
    """Its noise is on the weights of the next layer."""
    of_maps: bool = False
    """It differs from Bernoulli dropout only on feature maps."""


VARIANTS = Registry(
    "dropout",
    {
        "bernoulli": Variant(
            "dropbench.dropout.bernoulli:BernoulliDropout", "units are set to 0", scaled=True, in_chances=True
        ),
        "gaussian": Variant("dropbench.dropout.noise:GaussianDropout", "normal noise of variance p/(1 − p)"),
        "uniform": Variant("dropbench.dropout.noise:UniformDropout", "uniform noise of the same variance"),
        "dropconnect": Variant(
            "dropbench.dropout.dropconnect:DropConnect",
            "the next layer's weights are dropped, per sample",
            in_chances=True,
            on_weights=True,
        ),
        "spatial": Variant(
            "dropbench.dropout.bernoulli:SpatialDropout",
            "whole channels are dropped",
            scaled=True,
            in_chances=True,
            of_maps=True,
        ),
        "dropblock": Variant(
            "dropbench.dropout.dropblock:DropBlock", "squares of a feature map are dropped", of_maps=True
        ),
        "alpha": Variant(
            "dropbench.dropout.alpha:AlphaDropout",
            "for SELU, keeps mean and variance",
            in_chances=True,
            activation="selu",
        ),
        "variational": Variant(
            "dropbench.dropout.variational:VariationalDropout",
            "normal noise on weights, with a learned p",
            learns=True,
            on_weights=True,
        ),
        "concrete": Variant(
            "dropbench.dropout.concrete:ConcreteDropout", "relaxed masks with a learned p", learns=True
        ),
        "standout": Variant(
            "dropbench.dropout.standout:Standout", "units with a large input are dropped less often"
        ),
    },
)
_OWN = Variant("", "a module of the user's own")
_STOCHASTIC_DEPTH = ("stochasticdepth", "droppath")


def variant_of(name: str) -> Variant:
    """Return the variant ``name``, which is one of VARIANTS or ``package.module:Class``.

    Raises:
        UsageError: if it is neither.

    """
    if is_user_code(name):
        return _OWN
    if name.lower().replace("-", "").replace("_", "") in _STOCHASTIC_DEPTH:
        raise UsageError(
            "Stochastic depth is no kind of dropout but a place of it, the residual branches.",
            "Write `p_drop_residual=0.2` and a net of torchvision or timm: `model=torchvision:resnet18`.",
        )
    return VARIANTS.find(name)
