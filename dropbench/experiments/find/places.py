"""Where a net has its dropout: the layers before and after, by their names in the net's own code."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dropbench.catalog.models import InputShape
from dropbench.catalog.user_code import called, is_user_code
from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import set_strength, tapped
from dropbench.dropout.layer import DropoutLayer
from dropbench.dropout.within import SITE
from dropbench.errors import UsageError
from dropbench.models.build import make_module
from dropbench.models.gaussian import GaussianNet
from dropbench.models.library import Headed
from dropbench.run.config import RunConfig

_EXAMPLES = 2
_ENDING = "stochastic_depth"
"""The name of the layer that dropbench puts at the end of a ResNet's branch (dropbench.models.library)."""


@dataclass(frozen=True)
class Place:
    """A dropout layer of a net and the layers around it, by their names in the net's code.

    - ``name``: its own name, or of dropout within a module the module's.
    - ``after``: the layer whose output it drops; empty at the input, or if it was not reached.
    - ``before``: the layer that the units go into; empty if the net does not name it.
    - ``shape``: that of an example's units; empty if it was not reached.
    - ``pooled``: whether the maps of ``after`` are pooled before they arrive.
    - ``added``: whether dropbench alone has it, which put it into a net of a library.
    """

    name: str
    layer: DropoutLayer
    after: str
    before: str
    shape: tuple[int, ...]
    pooled: bool
    added: bool

    @property
    def has_maps(self) -> bool:
        """Whether feature maps arrive; of a layer that was not reached it is what its site has."""
        return len(self.shape) == 3 if self.shape else self.layer.site == "conv"


def places_of(config: RunConfig, data: DataSet) -> list[Place]:
    """Return the places of all dropout layers in the net of ``config``, in the order of a pass.

    Nets of dropbench and of libraries are built on the device ``meta``, without memory. One of the user's own
    is built on the CPU: its code may read values, or keep tensors for the nets that are trained later.

    Raises:
        UsageError: if the net cannot be built (see dropbench.models.build.make_module).

    """
    if is_user_code(config.dropout.variant):  # which may read values, too; no place depends on it
        config = config.replace(dropout="bernoulli", dropout_key=None)
    device = torch.device("cpu" if is_user_code(config.model.name) else "meta")
    with torch.random.fork_rng(devices=[]):
        with device:
            model = make_module(data.input_shape, data.outputs, config)
        net = model.net if isinstance(model, GaussianNet) else model
        arrived = _arrivals(net, config.model.name, data.input_shape, device)
    names = {module: name for name, module in net.named_modules()}
    layers = [module for module in names if isinstance(module, DropoutLayer)]
    order = {layer: number for number, layer in enumerate(arrived)}
    layers.sort(key=lambda layer: order.get(layer, len(order)))  # others stay in their order, at the end
    return [_place(net, layer, names, arrived.get(layer)) for layer in layers]


@dataclass(frozen=True)
class _Arrival:
    """Units that arrive at a dropout layer, and the layer that was the last one before, with its output."""

    shape: tuple[int, ...]
    after: nn.Module | None
    output: tuple[int, ...]


def _arrivals(
    net: nn.Module, name: str, input_shape: InputShape, device: torch.device
) -> dict[DropoutLayer, _Arrival]:
    """Where a pass of zeros first arrives, in its order; a net that fails on them is seen as far as it went.

    Nothing is dropped in it.
    """
    found: dict[DropoutLayer, _Arrival] = {}
    last: list[tuple[nn.Module | None, tuple[int, ...]]] = [(None, ())]

    def look(module: nn.Module, given: object, output: object) -> None:
        shape = tuple(output.shape) if isinstance(output, torch.Tensor) else ()
        last[:] = [(module, shape)]

    def tap(layer: DropoutLayer) -> Callable[[torch.Tensor], torch.Tensor]:
        def arrive(units: torch.Tensor) -> torch.Tensor:
            found.setdefault(layer, _Arrival(tuple(units.shape), *last[0]))
            return units

        return arrive

    sites = [each for each in net.modules() if isinstance(each, DropoutLayer)]
    with_weights = [
        each for each in net.modules() if each not in sites and list(each.parameters(recurse=False))
    ]
    hooks = [each.register_forward_hook(look) for each in with_weights]
    set_strength(net, 0.0)
    net.eval()
    try:
        with torch.no_grad(), device, tapped({site: tap(site) for site in sites if not site.within}):
            inputs: Any = torch.zeros(_EXAMPLES, *input_shape)
            called(name, net, f"inputs {tuple(inputs.shape)}", inputs)
    except UsageError:
        pass  # what is wrong with the net is told where it is tried
    finally:
        for hook in hooks:
            hook.remove()
    set_strength(net, 1.0)
    return found


def _place(
    net: nn.Module, layer: DropoutLayer, names: dict[nn.Module, str], arrival: _Arrival | None
) -> Place:
    name = names[layer]
    parent_name, _, attribute = name.rpartition(".")
    parent = net.get_submodule(parent_name)
    ends_a_branch = attribute == _ENDING and isinstance(parent, nn.BatchNorm2d)
    last = arrival.after if arrival is not None else None
    shape = arrival.shape[1:] if arrival is not None else ()
    pooled = arrival is not None and last is not None and len(shape) == 3 and arrival.output[2:] != shape[1:]
    before = names.get(layer.next_layer, "") if layer.next_layer is not None else ""
    if isinstance(parent, Headed):
        before = parent_name  # where the classifier is in the net's own code
    return Place(
        name=parent_name if attribute == SITE else name,
        layer=layer,
        after=parent_name if ends_a_branch else "" if last is None else names[last],
        before=before,
        shape=shape,
        pooled=pooled,
        added=ends_a_branch or isinstance(parent, Headed),
    )
