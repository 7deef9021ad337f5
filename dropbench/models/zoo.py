"""The nets that torchvision and timm have for classifying images: their names, sizes, weights and parts."""

import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import nn

from dropbench.catalog.models import InputShape
from dropbench.catalog.user_code import library_of, make
from dropbench.errors import DropbenchError, UsageError, unknown_name
from dropbench.models.sites import put

_USUAL_SIDE = 224
_COLOURS = 3
_AUXILIARY = ("googlenet", "inception_v3")
"""torchvision's nets with more classifiers than one, in training, unless told to have none."""


def has_timm() -> bool:
    """Return whether timm is installed."""
    return find_spec("timm") is not None


@functools.cache
def names(library: str) -> tuple[str, ...]:
    """Return the nets of ``torchvision`` or ``timm`` that classify images, in alphabetical order.

    Raises:
        UsageError: if timm is not installed.

    """
    if library == "torchvision":
        from torchvision import models

        return tuple(sorted(models.list_models(module=models)))
    if not has_timm():
        raise UsageError("timm is not installed.", 'Install it by: pip install "dropbench[timm]".')
    return tuple(_timm().list_models())


@dataclass(frozen=True)
class Net:
    """A net of torchvision: its name as a model, its parameters, and the side of the images in pixels."""

    name: str
    parameters: int
    side: int


def torchvision() -> list[Net]:
    """Return torchvision's nets, with what it tells of their pretrained ones, of 1,000 classes."""
    from torchvision import models

    return [
        Net(name, models.get_model_weights(net).DEFAULT.meta["num_params"], side_of(name))
        for net in names("torchvision")
        for name in [f"torchvision:{net}"]
    ]


def net_of(name: str) -> str:
    """Return the net's name within its library; ``name`` is ``torchvision:net`` or ``timm:net``.

    A net of timm may have the tag of its weights, as in ``timm:resnet18.a1_in1k``.

    Raises:
        UsageError: if the library has no such net, or is not installed.

    """
    library, net = library_of(name), name.partition(":")[2]
    known = names(library)
    tagged = library == "timm" and "." in net and net in _timm().list_pretrained(f"{net.partition('.')[0]}.*")
    if net in known or tagged:
        return net
    error = unknown_name(f"net of {library}", net, known)
    near, _, _ = error.hint.partition("Known:")
    raise UsageError(error.message, f"{near}The {len(known):,} nets are shown by: dropbench model list.")


def side_of(name: str) -> int:
    """Return the height and width in pixels of the images that a net was made for."""
    net = net_of(name)
    if library_of(name) == "timm":
        config = _timm().get_pretrained_cfg(net)
        return int(config.input_size[-1]) if config is not None else _USUAL_SIDE
    from torchvision import models

    made_for = models.get_model_weights(net).DEFAULT.transforms.keywords.get("crop_size", _USUAL_SIDE)
    return int(made_for if isinstance(made_for, int) else made_for[0])


def build(name: str, input_shape: InputShape, outputs: int, pretrained: bool) -> nn.Module:
    """Return a net for inputs of ``input_shape`` ``(channels, height, width)`` and so many outputs.

    A pretrained net has a new classifier; its first convolution has the mean of its weights over the colours
    in the place of each, and their sum stays the same, where the inputs have other channels than three.

    Raises:
        UsageError: if there is no such net, if it cannot be built so, or if there are no weights for it.
        DropbenchError: if the weights cannot be fetched.

    """
    net, library = net_of(name), library_of(name)
    of_library = _build_timm if library == "timm" else _build_torchvision
    hint = "Use another net, or another size of the images."

    def built() -> nn.Module:
        return of_library(net, input_shape, outputs, pretrained)

    if pretrained:
        _check_weights(name, net)
        try:
            with _hub_is_quiet(library):
                return of_library(net, input_shape, outputs, pretrained)
        except OSError as error:
            raise _not_fetched(name, error) from error
    return make(name, nn.Module, hint, _also_on_meta(built))


def _also_on_meta(built: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """Return a function that builds a net on ``meta`` even where its constructor reads values of tensors."""

    def build_somewhere() -> nn.Module:
        try:
            return built()
        except (NotImplementedError, RuntimeError):
            if torch.get_default_device().type != "meta":
                raise
        with torch.device("cpu"):
            return built().to("meta")

    return build_somewhere


def _build_torchvision(net: str, input_shape: InputShape, outputs: int, pretrained: bool) -> nn.Module:
    from torchvision import models

    more: dict[str, Any] = {}
    if pretrained and net == "inception_v3":  # a pretrained googlenet has no other classifiers, untold
        more = {"aux_logits": False}
    if not pretrained:
        more = {"num_classes": outputs}
        if net in _AUXILIARY:
            more |= {"aux_logits": False, "init_weights": True}
        if net.startswith("vit_") and input_shape[1] == input_shape[2]:
            more["image_size"] = input_shape[1]
    model: nn.Module = models.get_model(net, weights="DEFAULT" if pretrained else None, **more)
    if hasattr(model, "transform_input"):  # to what ImageNet's colours were; the data's are standardised
        cast(Any, model).transform_input = False
    if input_shape[0] != _COLOURS:
        _rebuild_first(model, input_shape[0], pretrained)
    if pretrained:
        _renew_classifier(model, outputs)
    return model


def _rebuild_first(model: nn.Module, channels: int, pretrained: bool) -> None:
    """Replace the first convolution of three channels by one of ``channels``."""
    name, old = next(
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == _COLOURS
    )
    new = nn.Conv2d(
        channels,
        old.out_channels,
        cast(tuple[int, int], old.kernel_size),
        cast(tuple[int, int], old.stride),
        cast(tuple[int, int], old.padding),
        cast(tuple[int, int], old.dilation),
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
    )
    with torch.no_grad():
        if pretrained:
            mean = old.weight.mean(1, keepdim=True) * (_COLOURS / channels)
            new.weight.copy_(mean.expand_as(new.weight))
            if new.bias is not None and old.bias is not None:
                new.bias.copy_(old.bias)
    put(model, name, new)


def _renew_classifier(model: nn.Module, outputs: int) -> None:
    name = _last_layer(model)
    old = model.get_submodule(name)
    new: nn.Module
    if isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, outputs, old.bias is not None)
    else:
        conv = cast(nn.Conv2d, old)
        new = nn.Conv2d(conv.in_channels, outputs, 1, bias=conv.bias is not None)
    put(model, name, new)
    if hasattr(model, "num_classes"):
        cast(Any, model).num_classes = outputs


def _build_timm(net: str, input_shape: InputShape, outputs: int, pretrained: bool) -> nn.Module:
    """Build a net of timm, with stochastic depth and for the size of the images where it takes both.

    The probability of stochastic depth is some, not that of a run: of what the layers have, ratios count.
    """
    timm = _timm()
    told = {"num_classes": outputs, "in_chans": input_shape[0]}
    config = timm.get_pretrained_cfg(net)
    size = {"img_size": tuple(input_shape[1:])} if config is not None and config.fixed_input_size else {}
    tried: Iterable[dict[str, Any]] = ({**size, "drop_path_rate": 0.1}, {"drop_path_rate": 0.1}, size, {})
    for more in tried:
        try:
            return cast(nn.Module, timm.create_model(net, pretrained=pretrained, **told, **more))
        except TypeError as error:
            if not more or "unexpected keyword" not in str(error):
                raise
    raise AssertionError


def classifier_of(name: str, model: nn.Module) -> str:
    """Return where in ``model``, a net ``name``, the classifier is, as ``get_submodule`` takes it.

    Raises:
        UsageError: if it has several, or none that is a layer.

    """
    if library_of(name) == "torchvision":
        return _last_layer(model)
    classifier = cast(Any, model).get_classifier()
    for place, module in model.named_modules():
        if module is classifier and not isinstance(module, nn.Identity):
            return str(place)
    raise UsageError(
        f"The net {name} has no single classifier.", "Use another; dropbench model list shows them."
    )


def _last_layer(model: nn.Module) -> str:
    """Where the last fully connected layer is, or the last convolution of a net without any."""
    for kind in (nn.Linear, nn.Conv2d):
        places = [name for name, module in model.named_modules() if isinstance(module, kind)]
        if places:
            return str(places[-1])
    raise AssertionError("every net of torchvision has a layer")


def _check_weights(name: str, net: str) -> None:
    if library_of(name) == "timm" and not _timm().is_model_pretrained(net):
        raise UsageError(f"timm has no weights for {net}.", "Leave out `pretrained`, or use another net.")


@contextmanager
def _hub_is_quiet(library: str) -> Iterator[None]:
    """Keep the hub that timm's weights come from to itself: what ends an attempt is told by an error."""
    if library != "timm":
        yield
        return
    from huggingface_hub import logging as hub_logging

    level = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        hub_logging.set_verbosity(level)


def _not_fetched(name: str, error: OSError) -> DropbenchError:
    reason = " ".join(str(error).split())[:200]
    return DropbenchError(
        f"The weights of {name} cannot be fetched: {reason or type(error).__name__}.",
        "They are needed once, with a network; leave out `pretrained` to train from scratch.",
    )


def _timm() -> Any:
    import timm

    return timm
