"""The steps of an epoch, done one after another without a wait for the device until its end."""

import functools
import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from dropbench.catalog.optimizers import is_captured
from dropbench.dropout.control import dropout_layers
from dropbench.dropout.stream import Counters
from dropbench.engine.graph import WARM_UP, CudaLane, Graphs, Lane
from dropbench.engine.step import Step


@dataclass(frozen=True)
class Part:
    """The part of an epoch that was done before its run went on from a state."""

    steps: int
    loss: torch.Tensor
    """The sum of the losses over images, a scalar."""
    wrong: torch.Tensor
    """The number of wrong predictions, a scalar."""


class Steps(Protocol):
    """The protocol of an epoch's steps: ``begin``, then ``advance`` for each batch, then ``end``."""

    def begin(self, order: np.ndarray, rates: np.ndarray) -> None:
        """Begin an epoch.

        Args:
            order: the positions of its images in their order, int64 ``(images,)``, as many in each epoch.
            rates: the learning rate of each step, float32 ``(steps,)``.

        """

    def go_on(self, part: Part) -> None:
        """Go on after a part of the epoch that has begun; the streams are where the part ended."""

    def figures(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both sums of the epoch so far, which the device may still be at work on."""

    def advance(self) -> None:
        """Do the next step, without a wait for the device."""

    def working(self) -> AbstractContextManager[Any]:
        """Return a context whose work on the device comes between the steps before and those after."""

    def end(self) -> tuple[float, float]:
        """Return the sum of the epoch's losses over images, and the number of wrong predictions; wait."""


class EagerSteps:
    """Steps whose batch and learning rate are chosen here."""

    def __init__(self, step: Step, device: torch.device) -> None:
        self._step = step
        self._device = device
        self._batches: Iterator[tuple[torch.Tensor, float]] = iter(())

    def begin(self, order: np.ndarray, rates: np.ndarray) -> None:
        """Copy the order to the device."""
        positions = torch.from_numpy(order).to(self._device)
        batches = torch.split(positions, self._step.config.optimizer.batch_size)
        self._batches = zip(batches, rates.tolist(), strict=True)
        self._loss = torch.zeros((), device=self._device)
        self._wrong = torch.zeros((), device=self._device)

    def go_on(self, part: Part) -> None:
        """Pass over the batches of the part."""
        self._batches = itertools.islice(self._batches, part.steps, None)
        self._loss.copy_(part.loss)
        self._wrong.copy_(part.wrong)

    def figures(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both sums."""
        return self._loss, self._wrong

    def advance(self) -> None:
        """Do the next step."""
        positions, rate = next(self._batches)
        loss, wrong = self._step(positions, rate)
        self._loss += loss * len(positions)
        self._wrong += wrong

    def working(self) -> AbstractContextManager[Any]:
        """Return a context that changes nothing: all is done in order."""
        return nullcontext()

    def end(self) -> tuple[float, float]:
        """Read the figures."""
        return _read(self._loss, self._wrong)


class GraphSteps:
    """Steps that choose their batch, learning rate and masks on the device, so that graphs can hold them.

    What changes from step to step is in tensors that are made before the first one: the order, the learning
    rates, the number of the step, and the counters of its draws. Drop probabilities are in a graph as they
    were captured; where the strength of their schedule changes, the step is captured again. A smaller batch
    at the end is a step of its own kind.
    """

    def __init__(
        self, step: Step, images: int, device: torch.device, lane: Lane, warm_up: int = WARM_UP
    ) -> None:
        batch_size = step.config.optimizer.batch_size
        self._step = step
        self._lane = lane
        self._graphs = Graphs(lane, warm_up)
        self._layers = dropout_layers(step.model)
        self._strengths: list[float] = []
        self._order = torch.zeros(images, dtype=torch.int64, device=device)
        self._rates = torch.zeros(-(-images // batch_size), device=device)
        self._in_batch = torch.arange(batch_size, device=device)
        self._number = torch.zeros((), dtype=torch.int64, device=device)
        self._loss = torch.zeros((), device=device)
        self._wrong = torch.zeros((), device=device)
        self._counters = Counters(step.streams, device)
        self._drawn: dict[int, list[int]] = {}
        self._left = 0

    def begin(self, order: np.ndarray, rates: np.ndarray) -> None:
        """Copy order and rates to the device, where they stay in the same place."""
        strengths = [layer.strength for layer in self._layers]
        if strengths != self._strengths:
            self._strengths = strengths
            self._graphs.forget()
        self._order.copy_(torch.from_numpy(order))
        self._rates.copy_(torch.from_numpy(rates))
        for figure in (self._number, self._loss, self._wrong):
            figure.zero_()
        self._left = len(order)
        self._lane.begin()

    def go_on(self, part: Part) -> None:
        """Set the number of the step and the counters of its draws."""
        with self._lane.working():
            self._number.fill_(part.steps)
            self._loss.copy_(part.loss)
            self._wrong.copy_(part.wrong)
            self._counters.go_on()
        self._left -= min(self._left, part.steps * len(self._in_batch))

    def figures(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both sums, which change in the lane."""
        return self._loss, self._wrong

    def advance(self) -> None:
        """Do the next step, or replay it."""
        size = min(len(self._in_batch), self._left)
        self._graphs.do(size, functools.partial(self._do, size))
        self._counters.follow(self._drawn[size])
        self._left -= size

    def working(self) -> AbstractContextManager[Any]:
        """Return a context in the lane."""
        return self._lane.working()

    def end(self) -> tuple[float, float]:
        """Read the figures."""
        self._lane.end()
        return _read(self._loss, self._wrong)

    def _do(self, size: int) -> None:
        """Do a step of ``size`` images."""
        self._counters.begin()
        places = self._in_batch[:size] + self._number * len(self._in_batch)
        loss, wrong = self._step(self._order.take(places), self._rates.take(self._number))
        self._loss += loss * size
        self._wrong += wrong
        self._number += 1
        self._drawn[size] = self._counters.move_on()


def steps_of(step: Step, images: int, device: torch.device, graph: bool) -> Steps:
    """Return the steps of a run, whose epochs have so many images; with ``graph`` as graphs where they fit.

    They do not fit the CPU, which has none, code of the user's own, which may change with every step, and
    optimizers that count their steps on the host.
    """
    fits = is_captured(step.config.optimizer.name) and not step.config.with_foreign_code
    if graph and device.type == "cuda" and fits:
        return GraphSteps(step, images, device, CudaLane(device))
    return EagerSteps(step, device)


def _read(loss: torch.Tensor, wrong: torch.Tensor) -> tuple[float, float]:
    """Return both figures by one read of the device."""
    loss_sum, wrong_sum = torch.stack([loss, wrong]).tolist()
    return loss_sum, wrong_sum
