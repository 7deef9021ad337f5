"""torch.compile for training, done before the first step so that the compile time is measured separately."""

import logging
import warnings
from collections.abc import Iterable, Sequence
from time import perf_counter
from typing import cast

import torch
from torch import nn

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.control import dropout_layers
from dropbench.dropout.in_graph import Place, drawing
from dropbench.engine.device import autocast

_log = logging.getLogger(__name__)

LIMIT = 64
"""Graphs of one function that a process may hold, of which torch allows 8.

A net takes one for each size of its batches, and several where its graph breaks at each site. A sweep over
several nets takes as many for each.
"""


def compiled_for(model: nn.Module, batches: Sequence[torch.Tensor], precision: str) -> "Compiled":
    """Compile ``model`` for training on batches of these shapes; the result shares its weights.

    The compiled net draws the same masks as ``model``. The passes that trigger the compilation have no side
    effects: weights, buffers and random streams are restored afterwards. Nets of the same shapes share their
    graphs in a process, whatever their seeds, drop probabilities and conventions are.

    Where there are too many graphs, all are thrown away, and those of this net are compiled anew. If it has
    too many by itself, be it in a later pass, it goes on uncompiled, and a warning is logged.

    Raises:
        Exception: whatever torch.compile raises, for instance on the CPU if there is no C++ compiler.

    """
    from torch._dynamo import reset  # here, since the import takes a second
    from torch._dynamo.exc import FailOnRecompileLimitHit

    start = perf_counter()
    compiled = Compiled(model, batches[0].device)
    for _ in range(2):
        try:
            compiled.warm_up(batches, precision)
        except FailOnRecompileLimitHit:
            reset()
        else:
            compiled.seconds = perf_counter() - start
            return compiled
    compiled.give_up()
    return compiled


class Compiled:
    """A net that is trained by its graphs, until torch refuses to compile one; see compiled_for."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        from torch._dynamo import config

        self.seconds = 0.0
        """How long the compilation took; 0 if the net is not compiled to the end."""
        self._model = model
        self._in_graph: list[tuple[BernoulliDropout, Place]] = []
        for layer in dropout_layers(model):
            if type(layer) is not BernoulliDropout:  # draws its noise outside the graph
                name = "into" if layer.on_weights else "forward"
                setattr(layer, name, torch.compiler.disable(getattr(layer, name)))  # type: ignore[no-untyped-call]
            elif layer.p_drop:
                layer.place = Place(len(self._in_graph), device)
                self._in_graph.append((layer, layer.place))
        # With dynamic shapes, a net's graphs and the bits of its run would depend on the runs before it.
        self._graphs = cast(nn.Module, torch.compile(model, dynamic=False))
        self._limits = config.patch(recompile_limit=LIMIT, fail_on_recompile_limit_hit=True)
        self._gave_up = False

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Return the outputs of the net for a batch of images."""
        from torch._dynamo.exc import FailOnRecompileLimitHit

        if not self._gave_up:
            before = _State(self._model, self._model.named_buffers())
            try:
                return self._by_graphs(images)
            except FailOnRecompileLimitHit:
                before.restore()
                self.give_up()
        return cast(torch.Tensor, self._model(images))

    def give_up(self) -> None:
        """Go on uncompiled, and say so."""
        self._gave_up, self.seconds = True, 0.0
        _log.warning(
            "torch.compile gave up after %d graphs of a function: a net is trained uncompiled.", LIMIT
        )

    def _by_graphs(self, images: torch.Tensor) -> torch.Tensor:
        for layer, place in self._in_graph:
            place.follow(layer.scale)
        with self._limits, drawing([layer.next_mask for layer, _ in self._in_graph]):
            return cast(torch.Tensor, self._graphs(images))

    def warm_up(self, batches: Sequence[torch.Tensor], precision: str) -> None:
        """Compile by passing each batch forward and back; raise FailOnRecompileLimitHit if torch does."""
        before = _State(self._model, self._model.state_dict().items())
        self._graphs.train()
        try:
            for images in batches:
                with warnings.catch_warnings():
                    # torch itself causes this warning, since it inspects what passes between graphs.
                    warnings.filterwarnings("ignore", "The .grad attribute of a Tensor that is not a leaf")
                    with autocast(images.device, precision):
                        outputs = self._by_graphs(images)
                    outputs.float().sum().backward()  # type: ignore[no-untyped-call]
        finally:
            self._model.zero_grad()
            before.restore()


class _State:
    """The positions of a net's random streams, and the values of these tensors of its state."""

    def __init__(self, model: nn.Module, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
        self._model = model
        self._tensors = {name: tensor.detach().clone() for name, tensor in tensors}
        streams = [layer.stream for layer in dropout_layers(model) if layer.stream is not None]
        self._positions = [(stream, stream.position) for stream in streams]

    def restore(self) -> None:
        """Give them back what they were when this was made."""
        self._model.load_state_dict(self._tensors, strict=False)
        for stream, position in self._positions:
            stream.position = position
