"""Several fully connected nets that are trained as one: each weight has a slice for each of them."""

import contextlib
import functools
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.control import dropout_layers, schedule_strength, set_strength
from dropbench.dropout.stream import Stream
from dropbench.engine.batches import ImageExamples
from dropbench.engine.evaluate import EVALUATION_BATCH
from dropbench.engine.graph import Graphs, Lane
from dropbench.engine.halving import halves_weights
from dropbench.engine.members import Weights
from dropbench.engine.optim import learning_rates
from dropbench.engine.run import Run
from dropbench.engine.stacked_layer import Layer, Parameter
from dropbench.engine.tree import Tree
from dropbench.engine.turns import Halts, never
from dropbench.kernels.batch import takes_images
from dropbench.kernels.draws import NEVER, NO_DRAW, Chance, Draw
from dropbench.kernels.stacked import Drops, drop, relu_drop, scaled
from dropbench.kernels.stacked_sgd import Settings


class StackedMLP:
    """The nets of several runs, whose data, layers, batch size, precision and dropout sites are the same.

    A net is in a slot. Its numbers are those that it has alone, up to the rounding of sums: a product of
    matrices is computed for each slot, on CUDA by a kernel that may depend on their number, masks are drawn
    from the run's own draws (dropbench.kernels.stacked), and the learning rate, momentum, weight decay,
    max-norm and normalisation are the run's. A value that is not finite stays in its slot.

    All that differs from slot to slot or changes from step to step is in tensors that stay where they are,
    and nothing is read from the device within an epoch: a CUDA graph can hold a step.

    Args:
        like: a run whose data, layers, batch size and precision are those of all.
        slots: the number of nets.
        lane: where the steps are recorded, and replayed; None: they are done one by one.

    """

    def __init__(self, like: Run, slots: int, lane: Lane | None = None) -> None:
        device, examples = like.device, like.train_examples
        self.slots = slots
        self._batch_size = like.config.optimizer.batch_size
        self._images = examples.inputs.permute(0, 2, 3, 1).contiguous()  # units of inputs are numbered so
        self._labels = examples.targets
        self._half = halves_weights(like.config)
        self._drops_inputs = bool(like.config.dropout.p_drop_input)
        self._device = device
        self._made: list[torch.Tensor] = []
        new = self._new
        self._layers = [Layer(layer, slots, self._half) for layer in linear_layers(like.model)]
        self._orders = new(len(like.parts.drawn), dtype=torch.int64)
        self._validation = new(len(like.parts.validation), dtype=torch.int64)
        self._rates = new(like.steps_per_epoch)
        self._settings = Settings(momentum=new(1, 1), weight_decay=new(1, 1), max_norm=new(1, 1))
        channels = self._images.shape[3]
        self._mean, self._deviation = new(1, 1, 1, channels), new(1, 1, 1, channels)
        self._place = torch.zeros(1, dtype=torch.int64, device=device)
        self._in_batch = torch.arange(self._batch_size, device=device)
        self._sites = [Drops.make(slots, site, self._place) for site in range(len(self._layers))]
        self._at_test = [new() for _ in self._sites]
        self._loss, self._wrong = new(), new()
        self._lane = lane
        self._graphs = None if lane is None else Graphs(lane)

    def _new(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return zeros for each slot, ``(slots, *shape)``."""
        made = torch.zeros(self.slots, *shape, dtype=dtype, device=self._device)
        self._made.append(made)
        return made

    @property
    def _per_slot(self) -> list[torch.Tensor]:
        """All that a slot has a slice of."""
        of_sites = (tensor for site in self._sites for tensor in site.of_each_run)
        of_layers = (tensor for layer in self._layers for part in layer.parts for tensor in part.tensors)
        return [*self._made, *of_sites, *of_layers]

    @torch.no_grad()
    def keep(self, slots: Sequence[int], runs: Sequence[Run]) -> None:
        """Shrink to the nets in these slots, in this order, whose runs are ``runs``.

        At no time is there more than the whole stack and a tensor of the smaller one, whose nets go on in the
        memory that it leaves.
        """
        if self._graphs is not None:
            self._graphs.forget()  # they read tensors that go, and hold memory that no tensor can have
        give_back_memory(self._device)
        for run in runs:
            release(run)
        places = torch.tensor(slots, device=self._device)
        for tensor in self._per_slot:
            tensor.data = tensor.data.index_select(0, places)
        for layer in self._layers:
            for part in layer.parts:
                part.begin_leaf()
        self.slots = len(slots)
        for slot, run in enumerate(runs):
            self._lend(slot, run)

    def take(self, slot: int, run: Run) -> None:
        """Put the net of a run into a slot, whose weights the run's own model has from now on.

        The run's optimizer is released: the stack updates the weights, and goes on with its velocities.
        """
        velocities = run.optimizer.state()["velocities"]
        run.optimizer.release()
        settings = run.config.optimizer
        normalisation = cast(ImageExamples, run.train_examples).normalisation
        for layer, linear in zip(self._layers, linear_layers(run.model), strict=True):
            layer.take(slot, linear)
        for part, velocity in zip(self._parts, velocities, strict=True):
            part.velocity[slot] = velocity
        self._validation[slot] = run.positions(run.parts.validation)
        self._settings.momentum[slot] = settings.momentum or 0.0
        self._settings.weight_decay[slot] = settings.weight_decay
        self._settings.max_norm[slot] = settings.max_norm or torch.inf
        self._mean[slot] = normalisation.mean.view(-1)
        self._deviation[slot] = normalisation.deviation.view(-1)
        self._lend(slot, run)

    @torch.no_grad()
    def _lend(self, slot: int, run: Run) -> None:
        """Let the run's own model share the memory of its slot."""
        for layer, linear in zip(self._layers, linear_layers(run.model), strict=True):
            linear.weight.data, linear.bias.data = layer.weight.used[slot], layer.bias.used[slot, 0]

    def weights(self, slot: int, run: Run) -> Weights:
        """Return a copy of a net's weights in float32, by their names in the run's own model."""
        copies = (part.master[slot].detach().clone() for part in self._parts)
        return {
            name: copy.view(parameter.shape)
            for (name, parameter), copy in zip(run.model.named_parameters(), copies, strict=True)
        }

    def optimizer_state(self, slot: int, run: Run) -> Tree:
        """Return the state that the run's own optimizer would have; see dropbench.engine.optim.SGD.state."""
        shapes = [parameter.shape for parameter in run.model.parameters()]

        def of_slot(values: Iterable[torch.Tensor]) -> list[torch.Tensor]:
            return [value[slot].view(shape) for value, shape in zip(values, shapes, strict=True)]

        return {
            "velocities": of_slot(part.velocity for part in self._parts),
            "masters": of_slot(part.master for part in self._parts) if self._half else [],
        }

    @property
    def _parts(self) -> list[Parameter]:
        """The weights and biases, in the order of a model's parameters."""
        return [part for layer in self._layers for part in layer.parts]

    def begin_epoch(self, runs: Sequence[Run]) -> None:
        """Copy to the device the next epoch of each slot's run: its order, rates, chances and draws."""
        orders, rates = [], []
        for run in runs:
            steps = range(run.steps_done, run.steps_done + run.steps_per_epoch)
            set_strength(run.model, schedule_strength(run.config, steps.start // len(steps) + 1))
            orders.append(run.parts.drawn[run.order.permutation(len(run.parts.drawn))])
            rates.append(learning_rates(run.config.optimizer, steps, run.total_steps))
            run.steps_done = steps.stop
        self._orders.copy_(torch.from_numpy(np.stack(orders)))
        self._rates.copy_(torch.from_numpy(np.stack(rates)))
        of_sites = zip(*(dropouts(run.model) for run in runs), strict=True)
        for site, at_test, layers in zip(self._sites, self._at_test, of_sites, strict=True):
            site.set([_next_drops(layer, len(rates[0])) for layer in layers])
            at_test.copy_(torch.tensor([_factor_at_test(layer) for layer in layers]))
        for figure in (self._place, self._loss, self._wrong):
            figure.zero_()

    def train_epoch(self, halts: Halts = never) -> tuple[list[float], list[float]] | None:
        """Do the steps of an epoch; return the mean loss and the error in percent of each slot.

        It is None if ``halts`` was true before the last step, where the epoch is left.
        """
        images = self._orders.shape[1]
        if self._lane is not None:
            self._lane.begin()
        for start in range(0, images, self._batch_size):
            if halts():
                return None
            size = min(self._batch_size, images - start)
            if self._graphs is None:
                self._step(size)
            else:
                self._graphs.do(size, functools.partial(self._step, size))
        if self._lane is not None:
            self._lane.end()
        losses, wrong = torch.stack([self._loss, self._wrong]).tolist()
        return [loss / images for loss in losses], [100 * number / images for number in wrong]

    def _step(self, size: int) -> None:
        """Do a step of all nets with the next ``size`` images of each."""
        places = self._place * self._batch_size + self._in_batch[:size]
        images, labels = self._batch(self._orders.index_select(1, places))
        logits = self._logits(images, training=True)
        of_images = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none")
        losses = of_images.view(self.slots, size).mean(1)
        parameters = self._parts
        gradients = torch.autograd.grad(losses.sum(), [part.used for part in parameters])
        with torch.no_grad():
            rates = self._rates.index_select(1, self._place)[:, :, None]
            for part, gradient in zip(parameters, gradients, strict=True):
                part.step(gradient, rates, self._settings)
            self._loss += losses * size
            self._wrong += (logits.argmax(2) != labels).sum(1)
            self._place += 1

    @torch.no_grad()
    def validate(self) -> tuple[list[float], list[float]]:
        """Return the loss in nats and the error in percent of each slot's validation split."""
        predicted = torch.cat(
            [
                F.log_softmax(self._logits(self._batch(part)[0], training=False).float(), dim=2)
                for part in torch.split(self._validation, EVALUATION_BATCH, dim=1)
            ],
            dim=1,
        )
        labels = self._labels[self._validation]
        losses = torch.stack([F.nll_loss(*of_slot) for of_slot in zip(predicted, labels, strict=True)])
        wrong = (predicted.argmax(2) != labels).sum(1)
        nlls, numbers = torch.stack([losses, wrong]).tolist()
        return nlls, [100 * number / labels.shape[1] for number in numbers]

    def _batch(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return normalised images, with the channels last and flattened, and labels ``(slots, batch)``."""
        images = self._images[positions].float().sub_(self._mean).div_(self._deviation)
        if self._half and takes_images(self._images):  # as Examples makes them
            images = images.bfloat16()
        return images.flatten(2), self._labels[positions]

    def _logits(self, units: torch.Tensor, training: bool) -> torch.Tensor:
        """Return the logits ``(slots, batch, classes)`` of normalised images."""
        if self._drops_inputs:
            units = drop(units, self._sites[0]) if training else scaled(units, self._at_test[0])
        # A model flattens its images with the channels first.
        images = units.view(*units.shape[:2], *self._images.shape[1:])
        units = images.permute(0, 1, 4, 2, 3).flatten(2)
        *hidden, output = self._layers
        for layer, site, at_test in zip(hidden, self._sites[1:], self._at_test[1:], strict=True):
            pre_activations = layer(units)
            if training:
                units = relu_drop(pre_activations, site)
            else:
                units = scaled(torch.relu(pre_activations), at_test)
        return output(units)


def release(run: Run) -> None:
    """Let a run's own model hold on to no slot's memory any more: it has no weights from now on."""
    for layer in linear_layers(run.model):
        for parameter in (layer.weight, layer.bias):
            parameter.data = parameter.data.new_empty(0)


def give_back_memory(device: torch.device) -> None:
    """Let others have what torch keeps of a device's memory for tensors to come."""
    if device.type == "cuda":
        with contextlib.suppress(RuntimeError):  # some versions of torch raise it after a capture that failed
            torch.cuda.empty_cache()


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """Return the fully connected layers of a net, in order."""
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def dropouts(model: nn.Module) -> list[BernoulliDropout]:
    """Return the dropout layers of a net, one before each fully connected layer."""
    return [layer for layer in dropout_layers(model) if isinstance(layer, BernoulliDropout)]


def _next_drops(layer: BernoulliDropout, steps: int) -> tuple[Chance, float, Draw]:
    """Return chance and scale of the layer's next masks, and the first draw; as many are then drawn."""
    if layer.does_nothing:
        return NEVER, 1.0, NO_DRAW
    stream = cast(Stream, layer.stream)
    first = Draw(stream.key, stream.position, stream.site)
    stream.position += steps
    return layer.chance, layer.scale, first


def _factor_at_test(layer: BernoulliDropout) -> float:
    """Return the factor on the units at test."""
    return 1.0 if layer.does_nothing else layer.at_test(torch.ones(())).item()
