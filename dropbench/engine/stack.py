"""Stacked runs: several runs that train as one net, each as it does alone but for the rounding of sums."""

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, pairwise
from time import perf_counter

import torch

from dropbench.catalog.models import IMAGES, InputShape
from dropbench.catalog.optimizers import SGD
from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import rates
from dropbench.dropout.lending import own_draws
from dropbench.engine.checkpoint import Checkpoint, Checkpoints
from dropbench.engine.device import in_progress, prepare_device
from dropbench.engine.evaluate import EVALUATION_BATCH
from dropbench.engine.graph import CudaLane
from dropbench.engine.history import History
from dropbench.engine.members import Weights
from dropbench.engine.run import OodImages, Run
from dropbench.engine.run_result import result_of
from dropbench.engine.stacked_mlp import StackedMLP, release
from dropbench.engine.train import Underway, begun_or_restored
from dropbench.engine.tree import Tree
from dropbench.engine.turns import Halts, late, never
from dropbench.errors import DropbenchError
from dropbench.models.parts import sizes
from dropbench.run.blocks.data import NO_AUGMENTATION
from dropbench.run.blocks.dropout import PHILOX
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult

OnStacked = Callable[[int, RunConfig, EpochRecord | None], None]
"""Called with a slot, its run, and the epoch that just ended (None when the run starts)."""


def stacks(config: RunConfig) -> bool:
    """Whether a run can be one of a stack.

    It is of the mlp that classifies images as they are, with ReLU, Bernoulli dropout and no penalty, by SGD
    on the loss of its labels, whose gradients are not clipped. It is not in fp16, where each run has a loss
    scale of its own and skips other steps.
    """
    dropout, penalty, optimizer = config.dropout, config.penalty, config.optimizer
    return (
        config.model.name == "mlp"
        and config.data.inputs == IMAGES
        and config.data.augment == NO_AUGMENTATION
        and config.task == "classify"
        and config.model.activation == "relu"
        and dropout.variant == "bernoulli"
        and (dropout.random_numbers == PHILOX or config.without_dropout)
        and not (dropout.thinned or dropout.boosting)
        and not (penalty.l1 or penalty.kl_sparsity)
        and optimizer.name == SGD
        and optimizer.precision != "fp16"
        and not (optimizer.label_smoothing or optimizer.clip_norm or optimizer.snapshots)
    )


def stack_of(config: RunConfig) -> Hashable:
    """Return a key that is equal for the runs that can share a stack; None for one that fits in none."""
    if not stacks(config):
        return None
    return (
        config.data.key,
        config.data.train_size,
        tuple(sizes(config.model.layers, config, "hidden")),
        config.optimizer.batch_size,
        config.optimizer.precision,
        config.dropout.p_drop_input > 0,
    )


def bytes_of_a_slot(config: RunConfig, input_shape: InputShape, classes: int, train_images: int) -> float:
    """Estimate the memory on the device that a run takes in a stack, of a data set with so many images."""
    features, half = math.prod(input_shape), config.optimizer.precision == "bf16"
    widths = (features, *sizes(config.model.layers, config, "hidden"), classes)
    weights = [(inputs + 1) * outputs for inputs, outputs in pairwise(widths)]
    batch = max(EVALUATION_BATCH, config.optimizer.batch_size)
    # Master and velocity in float32; in the precision of products weights and gradients.
    of_parameters = sum(weights) * (8 + (4 if half else 8))
    of_update = 3 * 4 * max(weights)  # what is computed on the way, of one layer at a time
    of_best = 4 * sum(weights) if config.optimizer.patience else 0
    of_units = batch * (features * 3 * 4 + sum(widths[1:]) * 4 * 4)  # with their gradients, and copies
    return float(of_parameters + of_update + of_best + of_units + 8 * train_images)


_EPOCH_SECONDS = 4.0
"""Time for the end of an epoch where the runs are to halt: the states of a stack are between epochs."""


@dataclass
class _Member:
    """A run in a slot."""

    underway: Underway
    checkpoint: Checkpoint
    seconds: float
    """Its share of the time so far."""
    together: int = 1
    """The largest number of runs that the stack had in an epoch of this one."""

    @property
    def run(self) -> Run:
        """The run itself."""
        return self.underway.run

    @property
    def history(self) -> History:
        """Its epochs so far."""
        return self.underway.history

    def state(self, slot: int, stack: StackedMLP) -> Tree:
        """Return its state at the end of an epoch, as it would be if it were alone."""
        state = self.underway.state()
        optimizer = stack.optimizer_state(slot, self.run)
        return {**state, "run": {**state["run"], "optimizer": optimizer}, "seconds": self.seconds}


def train_stacked(
    configs: Iterable[RunConfig],
    data: DataSet,
    device: torch.device | str = "cpu",
    slots: int = 2,
    on_progress: OnStacked = lambda slot, config, record: None,
    panel: bool = False,
    ood: OodImages | None = None,
    graph: bool = True,
    nets: Collection[str] = (),
    checkpoints: Checkpoints | None = None,
    halts: Halts = never,
) -> Iterator[RunResult]:
    """Train runs that share a stack, ``slots`` at a time; yield each result when its run ends.

    The results are those of dropbench.engine.train.train, up to the rounding of sums: on CUDA it may depend
    on the number of slots: cuBLAS chooses its kernels by it. A run that ends makes room for the next one,
    which begins with the next epoch of the others; where there is none, the stack shrinks. The seconds of an
    epoch are the time of the stack's epoch divided by the number of its runs, and so are a run's seconds and
    images per second; the peak memory is the whole stack's.

    Args:
        configs: runs of which ``stack_of`` is equal; each is taken when a slot is free.
        data: the data set.
        device: the device to train on.
        slots: the largest number of runs at a time.
        on_progress: called when a run starts, and after every epoch of it.
        panel: see dropbench.engine.train.train, as for ``ood`` and ``graph``.
        ood: out-of-distribution images.
        graph: replay the steps as CUDA graphs on CUDA.
        nets: the run_ids of those whose nets are returned, too.
        checkpoints: where states are written at the ends of epochs, and gone on from if they are there. They
            are those of runs alone: a run may go on without a stack, and in one at the end of an epoch.
        halts: where it is true after a step, the iterator ends, with the end of the epoch if that comes soon.

    """
    queue = iter(configs)
    if (first := next(queue, None)) is None:
        return
    queue = chain([first], queue)
    device = prepare_device(torch.device(device), first.optimizer.precision)
    with in_progress(device):
        stack: StackedMLP | None = None
        members: list[_Member | None] = [None] * slots
        while True:
            for slot in [slot for slot, member in enumerate(members) if member is None]:
                for config in queue:
                    on_progress(slot, config, None)
                    begun = _begun(config, data, device, checkpoints)
                    for record in begun.history.records:
                        on_progress(slot, config, record)
                    if begun.history.ended:  # before it went on from its checkpoint
                        weights = begun.underway.tested_weights() if config.run_id in nets else None
                        yield _ended(begun, panel, ood, weights)
                        continue
                    if stack is None:
                        stack = StackedMLP(begun.run, slots, _lane(device, graph))
                    stack.take(slot, begun.run)
                    members[slot] = begun
                    break
            filled = {slot: member for slot, member in enumerate(members) if member is not None}
            if stack is None or not filled:
                return
            here = list(filled.values())
            if len(here) < len(members):
                stack.keep(list(filled), [member.run for member in here])
            members = [*here]
            if (records := _epoch(stack, here, late(halts, _EPOCH_SECONDS))) is None:
                return
            for slot, (member, record) in enumerate(zip(here, records, strict=True)):
                member.history.add(record, partial(stack.weights, slot, member.run))
                if member.checkpoint.is_due:
                    member.checkpoint.write(partial(member.state, slot, stack))
                on_progress(slot, member.run.config, record)
            for slot, member in enumerate(here):
                if member.history.ended:
                    weights = None
                    if member.run.config.run_id in nets:
                        weights = member.history.best.weights or stack.weights(slot, member.run)
                    result = _ended(member, panel, ood, weights)
                    release(member.run)
                    members[slot] = None
                    yield result
            if halts():
                for slot, left in enumerate(members):
                    if left is not None:
                        left.checkpoint.write(partial(left.state, slot, stack))
                return


def _lane(device: torch.device, graph: bool) -> CudaLane | None:
    return CudaLane(device) if graph and device.type == "cuda" else None


def _begun(
    config: RunConfig, data: DataSet, device: torch.device, checkpoints: Checkpoints | None
) -> _Member:
    """Return a run that begins, or is at the end of an epoch by its checkpoint."""
    now = datetime.now(UTC).isoformat(timespec="seconds"), perf_counter()

    def begun() -> Underway:
        return Underway(Run.prepare(config, data, device), History(config), own_draws(config, device), *now)

    def restored(underway: Underway, state: Tree) -> None:
        underway.restore(state)
        if underway.run.steps_in_epoch:
            raise DropbenchError("It is in the midst of an epoch, where no stack begins.")

    checkpoint = Checkpoint(checkpoints, config, device)
    underway = begun_or_restored(begun, checkpoint, restored)
    return _Member(underway, checkpoint, perf_counter() - underway.start)


def _epoch(stack: StackedMLP, members: list[_Member], halts: Halts) -> list[EpochRecord] | None:
    """Train all runs for an epoch, and return their records; None if they were to halt before its end."""
    start = perf_counter()
    runs = [member.run for member in members]
    stack.begin_epoch(runs)
    if (trained := stack.train_epoch(halts)) is None:
        return None
    seconds = (perf_counter() - start) / len(runs)
    validated = stack.validate()
    share = (perf_counter() - start) / len(runs)
    records = []
    for member, loss, error, val_loss, val_error in zip(members, *trained, *validated, strict=True):
        member.seconds += share
        member.together = max(member.together, len(runs))
        number, p_drop = len(member.history.records) + 1, rates(member.run.model).get("hidden", 0.0)
        records.append(EpochRecord(number, loss, error, val_loss, val_error, seconds, p_drop))
    return records


def _ended(member: _Member, panel: bool, ood: OodImages | None, weights: Weights | None) -> RunResult:
    """Evaluate the net of a run that ended, with the ``weights`` that are to be kept."""
    underway, now = member.underway, perf_counter()
    result = result_of(member.run, member.history, panel, ood, underway.started_at, now, weights)
    seconds = member.seconds + (result.cost["seconds"] or 0.0)
    where = {**result.where, "stacked": member.together}
    return replace(result, cost={**result.cost, "seconds": seconds}, where=where)
