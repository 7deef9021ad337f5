"""Dropout within a torch module that has a drop probability of its own, as attention has."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.lending import as_default

SITE = "dropout_site"
"""The name of the layer in the module that it controls."""


class WithinDropout(BernoulliDropout):
    """Decides about the dropout of another module, whose attribute ``attribute`` is its drop probability.

    The module drops by torch's own code, which is inverted Bernoulli dropout; its draws from torch's default
    generators come from the run's stream. While no noise is wanted, the probability is 0.
    """

    within = True

    def __init__(self, p_drop: float, attribute: str) -> None:
        super().__init__(p_drop)
        self.attribute = attribute

    def forward(self, module: nn.Module, run: Callable[[], Any], like: torch.Tensor) -> Any:  # type: ignore[override]
        """Return the result of ``run``, a pass of the module, with noise if the next pass draws some.

        ``like`` is a tensor on the device of the pass.
        """
        noisy, was_training = self.noisy, module.training
        setattr(module, self.attribute, self.p_now if noisy else 0.0)
        if not noisy:
            return run()
        module.training = True  # in Monte-Carlo passes, too; its submodules stay as they are
        try:
            with as_default(self.draw(), like.device), _by_the_default_generators(like.device):
                return run()
        finally:
            module.training = was_training


def control(module: nn.Module, layer: WithinDropout) -> None:
    """Let ``layer``, which becomes a submodule, decide about the dropout of ``module`` from now on."""
    module.add_module(SITE, layer)
    module.__class__ = _controlled(type(module))


def _controlled(kind: type[nn.Module]) -> type[nn.Module]:
    """Return the class whose passes are those of ``kind`` under the control of their site."""

    class Controlled(kind):  # type: ignore[misc,valid-type]
        def forward(self, *given: Any, **named: Any) -> Any:
            like = next(_tensors((*given, *named.values())))
            run = functools.partial(super().forward, *given, **named)
            return getattr(self, SITE)(self, run, like)

    Controlled.__name__, Controlled.__qualname__ = kind.__name__, kind.__qualname__
    return cast(type[nn.Module], Controlled)


def _tensors(given: Iterable[Any]) -> Iterator[torch.Tensor]:
    """The tensors among these, and in tuples among them, as a packed sequence is one."""
    for each in given:
        if isinstance(each, torch.Tensor):
            yield each
        elif isinstance(each, tuple):
            yield from _tensors(each)


@contextmanager
def _by_the_default_generators(device: torch.device) -> Iterator[None]:
    """Keep cuDNN from the masks of recurrent layers, whose state it seeds once in a process."""
    if device.type != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(enabled=False):
        yield
