"""Loss scaling, without which small gradients in float16 are rounded to 0 (Micikevicius et al. 2018)."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from dropbench.engine.tree import Tree

FIRST = 2.0**16
"""The scale of the first step; this and what follows is as in torch.amp.GradScaler."""
GROWTH, BACKOFF = 2.0, 0.5
GOOD_STEPS = 2_000
"""Steps in a row without an overflow after which the scale grows."""


class LossScale:
    """The factor on the loss of a run in fp16, which follows what its gradients allow.

    Numbers in float16 end at 65,504, and below 6e-8 they are 0. The backward pass is that of the loss times
    the scale, and its gradients are divided by the scale before anything else is done with them. If any of
    them is not finite, the step overflowed: it is skipped, so that weights and the optimizer's state stay as
    they are, and the scale is halved. After 2,000 good steps in a row it is doubled. What the forward pass
    changes goes on in a skipped step, as in torch: statistics of batch norm, masks, the learning rate.

    This is the algorithm of torch.amp.GradScaler, which waits for the device in each step to decide whether
    to skip it. Here all numbers stay on the device, so that a CUDA graph can hold the step.

    - ``scale``: the factor, float32 ``()``.
    - ``good_steps``: steps since the last overflow or growth, int32 ``()``.
    - ``overflows``: all steps so far that overflowed, int64 ``()``.
    - ``overflowed``: 1 if the step in progress overflowed, else 0, float32 ``()``.

    The first three are all that one step leaves to the next.
    """

    def __init__(self, device: torch.device) -> None:
        self.scale = torch.full((), FIRST, device=device)
        self.good_steps = torch.zeros((), dtype=torch.int32, device=device)
        self.overflows = torch.zeros((), dtype=torch.int64, device=device)
        self.overflowed = torch.zeros((), device=device)

    def scaled(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss times the scale."""
        return loss * self.scale

    @torch.no_grad()
    def unscale(self, gradients: list[torch.Tensor]) -> None:
        """Divide the gradients of a step by the scale, in place, and find out whether the step overflowed."""
        self.overflowed.zero_()
        # In float64, as torch does: a quotient of float32 may be off by its last bit.
        inverse = self.scale.double().reciprocal().float()
        torch._amp_foreach_non_finite_check_and_unscale_(gradients, self.overflowed, inverse)

    @torch.no_grad()
    def silence(self, tensors: list[torch.Tensor]) -> None:
        """Set tensors to 0 if the step overflowed, so that nothing that is computed of them becomes NaN."""
        for tensor in tensors:
            tensor.masked_fill_(self.overflowed > 0, 0.0)

    @contextmanager
    def putting_back(self, tensors: Iterable[torch.Tensor]) -> Iterator[None]:
        """Undo at the end of this context what it wrote into these tensors, if the step overflowed."""
        pairs = [(tensor, tensor.detach().clone()) for tensor in tensors]
        yield
        for tensor, before in pairs:
            tensor.copy_(torch.where(self.overflowed > 0, before, tensor))

    @torch.no_grad()
    def update(self) -> None:
        """Count the step that ended, and choose the scale of the next one."""
        self.overflows += self.overflowed.long()
        torch._amp_update_scale_(self.scale, self.good_steps, self.overflowed, GROWTH, BACKOFF, GOOD_STEPS)

    def state(self) -> Tree:
        """Return what one step leaves to the next."""
        return {"scale": self.scale, "good_steps": self.good_steps, "overflows": self.overflows}

    def restore(self, state: Tree) -> None:
        """Go on from a state, whose numbers are copied to where a graph finds them."""
        self.scale.copy_(state["scale"])
        self.good_steps.copy_(state["good_steps"])
        self.overflows.copy_(state["overflows"])
