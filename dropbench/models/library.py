"""Nets of torchvision and timm by name, built for the data, with the dropout sites of a run."""

from typing import Any, cast

import torch
from torch import nn

from dropbench.catalog.models import InputShape
from dropbench.dropout.control import set_strength
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.registry import make_dropout
from dropbench.dropout.residual import StochasticDepth
from dropbench.errors import UsageError
from dropbench.models import zoo
from dropbench.models.sites import check_sites, place_sites, put
from dropbench.models.stem import use_small_stem
from dropbench.run.config import RunConfig

_STOCHASTIC_DEPTH = {"StochasticDepth": "p", "DropPath": "drop_prob"}
"""torchvision's and timm's modules for it, with the attribute that has the probability."""

_END_OF_BRANCH = {
    "torchvision.models.resnet.BasicBlock": "bn2",
    "torchvision.models.resnet.Bottleneck": "bn3",
}
"""The last layer of a residual branch, by the blocks of torchvision that have no stochastic depth."""


class Headed(nn.Module):
    """A classifier with the dropout of its input, the site ``head``."""

    def __init__(self, dropout: DropoutLayer, classifier: nn.Module) -> None:
        super().__init__()
        self.dropout = dropout
        self.classifier = classifier

    def forward(self, units: torch.Tensor) -> torch.Tensor:
        """Return the classifier's outputs for the units after dropout."""
        if self.dropout.on_weights:
            return self.dropout.into(self.classifier, units)
        return cast(torch.Tensor, self.classifier(self.dropout(units)))


def make_net(input_shape: InputShape, outputs: int, config: RunConfig) -> nn.Module:
    """Return the net of ``config``, from scratch or pretrained, with all of its sites.

    Its Dropout layers are hidden sites, its Dropout2d layers conv sites. Where it has stochastic depth, this
    is the site ``residual``: the layer with the largest probability gets that of ``config``, each other its
    share of it. torchvision's ResNets, which have none, get it as Huang et al. (2016) have it. The input of
    its classifier is the site ``head``. On the device ``meta`` it has no weights, so that none are loaded.

    Raises:
        UsageError: if there is no such net, if it cannot take inputs of ``input_shape`` ``(channels, height,
            width)``, or if it lacks a site where ``config`` drops units.
        DropbenchError: if its pretrained weights are not to be had.

    """
    name = config.model.name
    weights = config.model.pretrained and torch.get_default_device().type != "meta"
    model = zoo.build(name, input_shape, outputs, weights)
    classifier = zoo.classifier_of(name, model)
    if config.model.small_images:
        use_small_stem(name, model)
    if config.model.frozen:
        of_classifier = set(model.get_submodule(classifier).parameters())
        for parameter in model.parameters():
            parameter.requires_grad_(parameter in of_classifier)
    _use_modules_for_attention(model)
    place_sites(model, config)
    _replace_stochastic_depth(model, config)
    _add_stochastic_depth(model, config)
    layer = model.get_submodule(classifier)
    put(model, classifier, Headed(make_dropout(config, "head", before=layer), layer))
    check_sites(
        model, config, "Use `p_drop_head`, which every net of a library has, or a net that has such layers."
    )
    return model


def _use_modules_for_attention(model: nn.Module) -> None:
    """Let timm's attention use its dropout module, and not a fused function that has a dropout of its own."""
    for module in model.modules():
        if getattr(module, "fused_attn", False) and hasattr(module, "attn_drop"):
            cast(Any, module).fused_attn = False


def _replace_stochastic_depth(model: nn.Module, config: RunConfig) -> None:
    found = {
        name: float(getattr(module, attribute) or 0.0)
        for name, module in model.named_modules()
        if (attribute := _STOCHASTIC_DEPTH.get(type(module).__name__))
    }
    largest = max(found.values(), default=0.0)
    for name, own in found.items():
        share = own / largest if largest else 0.0
        put(model, name, _stochastic_depth(config.dropout.p_drop_residual * share, config))


def _add_stochastic_depth(model: nn.Module, config: RunConfig) -> None:
    """Put stochastic depth at the end of the branches of torchvision's ResNets, if ``config`` wants it.

    Of L blocks, block l leaves out its branch with l/L times the probability of ``config``.
    """
    largest = config.dropout.p_drop_residual
    if not largest:  # the sites that there are decide about the masks of the head: see set_streams
        return
    ends = [
        f"{name}.{end}"
        for name, module in model.named_modules()
        if (end := _END_OF_BRANCH.get(f"{type(module).__module__}.{type(module).__name__}"))
    ]
    for number, end in enumerate(ends, start=1):
        _end_with(model.get_submodule(end), _stochastic_depth(largest * number / len(ends), config))


def _end_with(layer: nn.Module, site: StochasticDepth) -> None:
    """Let ``site``, which becomes a submodule, take what ``layer`` puts out; the layer keeps its name."""
    layer.add_module("stochastic_depth", site)
    layer.__class__ = _ended(type(layer))


def _ended(kind: type[nn.Module]) -> type[nn.Module]:
    class Ended(kind):  # type: ignore[misc,valid-type]
        def forward(self, units: torch.Tensor) -> torch.Tensor:
            return cast(torch.Tensor, self.stochastic_depth(super().forward(units)))

    Ended.__name__, Ended.__qualname__ = kind.__name__, kind.__qualname__
    return cast(type[nn.Module], Ended)


def _stochastic_depth(p_drop: float, config: RunConfig) -> StochasticDepth:
    site = StochasticDepth(p_drop, config.dropout.convention)
    site.site = "residual"
    return site


def check_images(
    model: nn.Module, config: RunConfig, input_shape: InputShape, outputs: int, mend: str
) -> str:
    """Try a net, which is on the device ``meta``, on two inputs; return what is to be told of it, or nothing.

    ``mend`` says what to do about images that are too small.

    Raises:
        UsageError: if the net fails on such images, or does not return as many numbers as there are outputs.

    """
    name, side = config.model.name, "×".join(map(str, input_shape[1:]))
    tiny: list[str] = []

    def look(module: nn.Module, given: object, maps: torch.Tensor) -> None:
        if max(maps.shape[2:]) == 1:
            tiny.append(type(module).__name__)

    wide = [each for each in model.modules() if isinstance(each, nn.Conv2d) and max(each.kernel_size) > 1]
    hooks = [each.register_forward_hook(look) for each in wide]
    set_strength(model, 0.0)  # no shape depends on dropout, and a thinned net's drops in eval mode, too
    try:
        with torch.no_grad(), torch.device("meta"):
            made = model.eval()(torch.empty(2, *input_shape))
    except Exception as error:  # each library fails on shapes in ways of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(f"The net {name} fails on images of {side} pixels ({reason}).", mend) from error
    finally:
        for hook in hooks:
            hook.remove()
        set_strength(model, 1.0)
        model.train()
    if tuple(made.shape) != (2, outputs):
        raise UsageError(
            f"The net {name} returns {tuple(made.shape)} for two images, not (2, {outputs}): "
            "it is not a classifier of images.",
            "Use another; dropbench model list shows them.",
        )
    if tiny and max(input_shape[1:]) > 1:
        return (
            f"Images of {side} pixels shrink to 1×1 in {len(tiny)} of the convolutions of {name}, which "
            f"was made for larger ones. {mend}"
        )
    return ""
