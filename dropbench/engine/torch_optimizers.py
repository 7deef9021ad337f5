"""The optimizers of torch: AdamW, Muon for matrices, and any other class of torch.optim."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from dropbench.catalog.optimizers import ADAMW, MUON, class_of, is_captured, takes
from dropbench.engine.loss_scale import LossScale
from dropbench.engine.optim import LARGEST_NORM, Rate, bounded_weights, gradients_of
from dropbench.engine.tree import Tree

_AS_ADAMW = "match_rms_adamw"
_FUSED_ON_CPU_ALONE = "torch.optim:Adagrad"
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class TorchOptimizer:
    """A class of torch.optim, with penalties on weights but not on biases, max-norm and clipping.

    All parameters are in float32. Weights are those of two dimensions and more. Decay is the class's own: in
    AdamW, Muon, and where an option says so, it is decoupled from the gradient. The gradient of the L1
    penalty, l1 × sign(w), is added to that of the loss after clipping.

    ``muon`` is torch's for the matrices within the net and its convolutions, whose kernels are rows of a
    matrix, and AdamW for the rest: biases, norms, embeddings and the output layer (Jordan et al. 2024).
    An update of Muon is scaled to the root mean square of those of AdamW (Liu et al. 2025), so that both have
    one learning rate and one weight decay.

    On CUDA every number of a step lies on the device, where the class can do that
    (dropbench.catalog.optimizers.is_captured).

    With a ``loss_scale``, a step that overflowed changes nothing. Classes but AdamW, Adam and Muon still
    count it among their steps if it is the first one, in which they make their state, or if the count is on
    the host.
    """

    def __init__(
        self,
        model: nn.Module,
        name: str,
        options: Mapping[str, Any],
        weight_decay: float,
        max_norm: float | None = None,
        clipped: Iterable[nn.Parameter] = (),
        largest_norm: float = LARGEST_NORM,
        loss_scale: LossScale | None = None,
        l1: float = 0.0,
    ) -> None:
        self.loss_scale = loss_scale
        self._l1 = l1
        self._parameters = list(model.parameters())
        self._clipped, self._largest_norm = list(clipped), largest_norm
        self._max_norm = max_norm
        self._bounded = bounded_weights(model) if max_norm is not None else []
        matrices = _inner_matrices(model) if name == MUON else []
        self._muon = _Muon(matrices, options, weight_decay) if matrices else None
        others = [each for each in self._parameters if each not in set(matrices)]
        weights, rest = [each for each in others if each.ndim > 1], [each for each in others if each.ndim < 2]
        groups = [
            {"params": params, "weight_decay": decay}
            for params, decay in ((weights, weight_decay), (rest, 0.0))
            if params
        ]
        if name == MUON:
            name, options = ADAMW, {}
        self._rest = made(name, groups, self._parameters[0].device, options) if groups else None
        self._skips = loss_scale is not None and is_captured(name)
        """Whether the kernels of torch's class skip a step themselves: those of Adam and AdamW do."""
        if self._rest is not None and self._skips:
            self._rest.found_inf = loss_scale.overflowed  # type: ignore[attr-defined,union-attr]

    def zero_grad(self) -> None:
        """Set all gradients to None."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: Rate) -> None:
        """Update the parameters that have a gradient by one step."""
        scale, gradients = self.loss_scale, gradients_of(self._parameters)
        if scale is not None:
            scale.unscale(gradients)
        if self._clipped:
            nn.utils.clip_grad_norm_(self._clipped, self._largest_norm)  # without a wait for the device
        if self._l1:
            for weight in self._parameters:
                if weight.grad is not None and weight.ndim > 1:
                    weight.grad.add_(weight.sign(), alpha=self._l1)
        if scale is None:
            self._update(learning_rate)
            return
        with scale.putting_back(self._put_back()):
            # Of zeros the state that a class makes in its first step is the one that it starts from.
            scale.silence(gradients)
            if self._rest is not None and not self._skips:
                scale.silence(_parameters_of(self._rest))
            self._update(learning_rate)
        scale.update()

    def _update(self, learning_rate: Rate) -> None:
        """Do the step of gradients that are as they should be."""
        if self._muon is not None:
            self._muon.step(learning_rate)
        if self._rest is not None:
            for group in self._rest.param_groups:
                group["lr"] = learning_rate
            self._rest.step()
        for weight in self._bounded:
            weight.renorm_(p=2, dim=0, maxnorm=cast(float, self._max_norm))

    def _put_back(self) -> list[torch.Tensor]:
        """Return what a step changes, but for what torch's class leaves alone if it overflowed."""
        tensors = list(self._bounded)
        if self._muon is not None:
            tensors += self._muon.tensors()
        if self._rest is not None and not self._skips:
            tensors += _changed_by(self._rest)
        return list(dict.fromkeys(tensors))

    @contextmanager
    def updating(self, learning_rate: Rate) -> Iterator[None]:
        """Do nothing more: all is updated by ``step``."""
        yield

    def state(self) -> Tree:
        """Return what torch's classes keep of each parameter."""
        return {
            "rest": None if self._rest is None else _state_of(self._rest),
            "muon": None if self._muon is None else self._muon.state(),
        }

    def restore(self, state: Tree) -> None:
        """Let torch's classes go on with what they kept."""
        if self._rest is not None:
            _restore(self._rest, state["rest"])
        if self._muon is not None:
            self._muon.restore(state["muon"])

    def release(self) -> None:
        """Forget the gradients; the net is trained no further."""
        self.zero_grad()

    def snapshot(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """Return a copy of the model's weights and buffers, on the same device."""
        return {name: value.detach().clone() for name, value in model.state_dict().items()}


class _Muon:
    """Torch's Muon, whose learning rate may be a tensor on the device.

    Torch's own step reads the rate, which a CUDA graph cannot hold. An update is in proportion to it, so that
    Muon makes one step of rate 1 from 0, and the weights are moved by it times the rate.
    """

    def __init__(self, matrices: Iterable[nn.Parameter], options: Mapping[str, Any], decay: float) -> None:
        self._decay = decay
        # Of rows, one for each output.
        self._pairs = [(each, torch.zeros_like(each.detach().flatten(1))) for each in matrices]
        updates = [update for _, update in self._pairs]
        self._muon = class_of(MUON)(updates, lr=1.0, weight_decay=0.0, adjust_lr_fn=_AS_ADAMW, **options)

    def tensors(self) -> list[torch.Tensor]:
        """Return what a step changes: the matrices and the moments."""
        changed = _changed_by(self._muon)
        updates = {update for _, update in self._pairs}
        return [matrix for matrix, _ in self._pairs] + [each for each in changed if each not in updates]

    def step(self, learning_rate: Rate) -> None:
        """Update the matrices that have a gradient."""
        moving = [pair for pair in self._pairs if pair[0].grad is not None]
        for matrix, update in moving:
            update.grad = cast(torch.Tensor, matrix.grad).flatten(1)
            update.zero_()
        self._muon.step()
        for matrix, update in moving:
            matrix.mul_(1 - learning_rate * self._decay).add_(update.view_as(matrix) * learning_rate)
            update.grad = None

    def state(self) -> Tree:
        """Return what torch's Muon keeps of each matrix."""
        return _state_of(self._muon)

    def restore(self, state: Tree) -> None:
        """Let torch's Muon go on with what it kept."""
        _restore(self._muon, state)


def _state_of(optimizer: torch.optim.Optimizer) -> Tree:
    """Return the state that a class of torch has for each of its parameters, in their order."""
    return [dict(optimizer.state.get(each, {})) for each in _parameters_of(optimizer)]


def _restore(optimizer: torch.optim.Optimizer, state: Tree) -> None:
    """Let a class of torch go on with what it kept.

    Its own load_state_dict would take the memory format of what was read, which is not always the parameter's
    as its fused steps need it, and move to the device what some classes keep on the host.
    """
    for parameter, kept in zip(_parameters_of(optimizer), state, strict=True):
        if kept:
            optimizer.state[parameter] = {name: _laid_out(value, parameter) for name, value in kept.items()}


def _laid_out(value: Tree, parameter: torch.Tensor) -> Tree:
    if isinstance(value, torch.Tensor) and value.ndim and value.shape == parameter.shape:
        return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
    return value


def _parameters_of(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [each for group in optimizer.param_groups for each in group["params"]]


def _changed_by(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """The parameters of an optimizer, and its state on their device."""
    parameters = _parameters_of(optimizer)
    of_state = [value for each in parameters for value in optimizer.state.get(each, {}).values()]
    device = parameters[0].device
    state = [each for each in of_state if isinstance(each, torch.Tensor) and each.device == device]
    return [*parameters, *state]


def _inner_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that Muon is for: matrices and kernels, without embeddings and the last of a net."""
    embeddings = {each.weight for each in model.modules() if isinstance(each, nn.Embedding)}
    kernels = {each.weight for each in model.modules() if isinstance(each, _CONVOLUTIONS)}
    found = [
        each for each in model.parameters() if each not in embeddings and (each.ndim == 2 or each in kernels)
    ]
    return found[:-1]


def made(
    name: str, groups: list[dict[str, Any]], device: torch.device, options: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """Return an optimizer of torch for groups of parameters, in a form that waits for no device."""
    how: dict[str, Any] = {}
    if takes(name, "fused") and name != _FUSED_ON_CPU_ALONE:
        how["fused"] = True
    elif takes(name, "foreach"):
        how["foreach"] = device.type != "cpu"
    if device.type == "cuda" and is_captured(name):
        how["capturable"] = True
    return cast(torch.optim.Optimizer, class_of(name)(groups, **how, **options))
