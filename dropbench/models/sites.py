"""The dropout sites of a net that was written for torch alone."""

from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.control import dropout_layers
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.registry import make_dropout
from dropbench.dropout.within import SITE, WithinDropout, control
from dropbench.errors import UsageError
from dropbench.run.blocks.dropout import PROBABILITIES
from dropbench.run.config import RunConfig

_OF_MAPS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)
_REPLACED = (nn.Dropout, nn.AlphaDropout, *_OF_MAPS)


def place_sites(model: nn.Module, config: RunConfig) -> None:
    """Make the dropout in ``model`` sites with the drop probabilities of ``config``.

    - torch's layers are replaced by the variant of ``config``: those that drop whole feature maps become conv
      sites, the others hidden sites. A layer at two places of the net becomes two.
    - A module with a drop probability of its own stays, and is given that of its site (see
      dropbench.dropout.within): attention and recurrent layers that were made with dropout, and classes
      derived from torch's dropout layers.

    Raises:
        UsageError: if the model cannot have the noise that it wants.

    """
    modules: list[tuple[str, nn.Module]] = list(model.named_modules(remove_duplicate=False))
    for name, module in modules:
        parent_name, _, attribute = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        if _in_a_site(model, parent_name) or parent._modules.get(attribute) is not module:
            continue  # which was replaced under another name of its parent
        if type(module) in _REPLACED:
            setattr(parent, attribute, _layer(config, _site_of(module)))
        elif (own := _own_probability(module)) and not hasattr(module, SITE):
            _control(name, module, own, config)
        elif isinstance(module, nn.TransformerEncoderLayer):
            # torch's fast path for evaluation knows nothing of its submodules, and so nothing of their sites.
            module.activation_relu_or_gelu = 0


def put(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put ``module`` in the place of the one that is called ``name`` within ``model``."""
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, module)


def check_sites(model: nn.Module, config: RunConfig, hint: str) -> None:
    """Raise UsageError, with ``hint``, if ``config`` drops units at a kind of site that ``model`` lacks."""
    there = {layer.site for layer in dropout_layers(model)}
    for site in PROBABILITIES:
        if config.dropout.p_at(site) and site not in there:
            raise UsageError(
                f"The model {config.model.name} has no {site} dropout site where units could be dropped.",
                hint,
            )


def _layer(config: RunConfig, site: str) -> DropoutLayer:
    """The dropout of a site; where it drops nothing, no variant that wants to know the next layer."""
    if config.dropout.p_at(site):
        return make_dropout(config, site)
    layer = BernoulliDropout(0.0)
    layer.site = site
    return layer


def _site_of(module: nn.Module) -> str:
    return "conv" if isinstance(module, _OF_MAPS) else "hidden"


def _in_a_site(model: nn.Module, name: str) -> bool:
    """Whether the module of this name is a dropout layer, or a part of one, which has control over it."""
    parts = name.split(".")
    above = (model.get_submodule(".".join(parts[:end])) for end in range(len(parts) + 1))
    return any(isinstance(each, DropoutLayer) for each in above)


def _own_probability(module: nn.Module) -> str:
    """The attribute that is the module's drop probability; empty if it has none, or does not drop."""
    if isinstance(module, _DropoutNd):
        return "p"
    recurs = isinstance(module, nn.RNNBase) and module.num_layers > 1  # one layer drops nothing
    attends = isinstance(module, nn.MultiheadAttention)
    return "dropout" if (recurs or attends) and module.dropout else ""


def _control(name: str, module: nn.Module, attribute: str, config: RunConfig) -> None:
    site = _site_of(module)
    layer = WithinDropout(config.dropout.p_at(site), attribute)
    layer.site = site
    if config.dropout.thinned and layer.p_drop:
        raise UsageError(
            f"The {type(module).__name__} {name} of {config.model.name} drops by itself, and cannot have one "
            "mask for a whole run.",
            "Make it with a drop probability of 0, or leave out the arm untied.",
        )
    control(module, layer)
