"""A foreign net on two examples: what it makes of them, and the faults that this shows."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from dropbench.catalog import user_code
from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import set_streams, set_strength, tapped
from dropbench.dropout.layer import DropoutLayer
from dropbench.engine.inputs import white_of
from dropbench.errors import UsageError
from dropbench.models.build import make_module
from dropbench.models.gaussian import GaussianNet
from dropbench.run.config import RunConfig
from dropbench.run.telling import counted, listed

_log = logging.getLogger(__name__)
_EXAMPLES = 2


class TriedNet:
    """A net on the CPU as a run has it, whose dropout is off, and normal inputs."""

    def __init__(self, config: RunConfig, data: DataSet) -> None:
        self.name, self._classes = config.model.name, data.outputs
        self.model = make_module(data.input_shape, data.outputs, config)
        self.model.to(memory_format=torch.channels_last)
        set_streams(self.model, "mask", 0, 0)
        set_strength(self.model, 0.0)
        modules = self.model.named_modules()
        self.sites = {name: each for name, each in modules if isinstance(each, DropoutLayer)}
        """The dropout layers by their names."""
        shape, generator = (_EXAMPLES, *data.input_shape), torch.Generator().manual_seed(0)
        draw = torch.rand if white_of(data, config) else torch.randn
        self._inputs = draw(shape, generator=generator)

    def outputs(self, examples: int = _EXAMPLES) -> torch.Tensor:
        """Return what the net makes of the first examples, ``(examples, outputs)``.

        Raises:
            UsageError: if it raises, or makes something else of them.

        """
        inputs = self._inputs[:examples]
        net = self.model.net if isinstance(self.model, GaussianNet) else self.model
        hint = hint_for(self.name, "Its factory is told the shape of an input: make the net for that.")
        outputs: Any = user_code.called(self.name, net, f"inputs {tuple(inputs.shape)}", inputs, hint=hint)
        wanted = (examples, self._classes)
        of_one = isinstance(self.model, GaussianNet) and isinstance(outputs, torch.Tensor)
        if of_one and outputs.ndim and outputs.numel() == examples == len(outputs):
            outputs = outputs.reshape(wanted)
        if not isinstance(outputs, torch.Tensor) or outputs.shape != wanted:
            is_tensor = isinstance(outputs, torch.Tensor)
            found = f"outputs {tuple(outputs.shape)}" if is_tensor else f"a {type(outputs).__name__}"
            raise UsageError(
                f"The model {self.name} makes {found} of inputs {tuple(inputs.shape)}"
                f"{' in training' if self.model.training else ''}; a tensor {wanted} is wanted, a number for "
                f"each {'example' if of_one else 'class'}.",
                hint_for(
                    self.name,
                    "Its factory is told how many: give them to the last layer." if is_tensor else "",
                ),
            )
        return outputs

    def pass_in_training(self) -> tuple[torch.Tensor, Counter[str]]:
        """Return the outputs in train mode, and how often units arrive at each dropout layer, by its name."""
        arrived: Counter[str] = Counter()

        def counts(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
            def count(units: torch.Tensor) -> torch.Tensor:
                arrived[name] += 1
                return units

            return count

        self.model.train()
        with tapped({layer: counts(name) for name, layer in self.sites.items() if not layer.within}):
            return self.outputs(), arrived

    def check_gradients(self, outputs: torch.Tensor) -> None:
        """Warn of parameters that the outputs do not depend on; raise UsageError if they depend on none."""
        if not outputs.requires_grad:
            raise UsageError(
                f"The outputs of the model {self.name} depend on no parameter that can be trained.",
                hint_for(
                    self.name, "Parts of a net are attributes of its module, or in a torch.nn.ModuleList."
                ),
            )
        net = self.model.net if isinstance(self.model, GaussianNet) else self.model
        self._backward(outputs, "the gradient of its outputs")
        own = [name for name, each in net.named_parameters() if each.requires_grad and each.grad is None]
        if own:
            _log.warning(
                f"No gradient reaches {counted(len(own), 'parameter')} of the model {self.name}, so training "
                f"changes nothing there: {listed(sorted(own))}."
            )

    def check_second_step(self) -> None:
        """Raise UsageError if the net cannot be trained again, as one that keeps tensors of a step."""
        self._backward(self.outputs(), "the gradient of its outputs in a second step")

    def _backward(self, outputs: torch.Tensor, what: str) -> None:
        weights = torch.linspace(0.5, 1.5, outputs.numel()).view_as(outputs)
        backward = (outputs * weights).sum().backward
        user_code.called(self.name, backward, what)


def hint_for(name: str, hint: str) -> str:
    """Say what to do about a fault of a net: ``hint`` is for whoever wrote it."""
    return "Use another net; dropbench model list shows them." if user_code.library_of(name) else hint
