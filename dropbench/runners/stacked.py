"""Runs that train together as one net, in this process; the others are carried out by another runner."""

import logging
from collections import Counter
from collections.abc import Generator, Hashable, Iterable, Iterator, Sequence
from itertools import chain, islice

import torch

from dropbench.datasets.dataset import DataSet
from dropbench.engine.device import prepare_process
from dropbench.engine.stack import bytes_of_a_slot, stack_of, train_stacked
from dropbench.engine.stacked_mlp import give_back_memory
from dropbench.engine.turns import Halts, never
from dropbench.kernels.ready import make_ready
from dropbench.run import telling
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.run.result import RunResult
from dropbench.runners.base import DeviceLostError, Extras, OnProgress, Runner, check_device, data_of
from dropbench.runners.choose import cores
from dropbench.runners.process import ProcessRunner

_log = logging.getLogger(__name__)
_FEWEST = 2  # runs that share a stack
MOST_SLOTS = 64
"""Runs of a stack where the rule decides."""
_SHARE_OF_MEMORY = 0.7  # of what is free: graphs, the evaluation and fragments need some


class StackRunner:
    """Carries out runs in stacks (dropbench.engine.stack), and those that fit in none by the runner ``rest``.

    Of its runs those that share a stack follow one another, and those that fit in none are the last. If a
    stack fails, this is logged; those of its runs that were in progress are carried out by ``rest``, and the
    others by another stack. If it leaves the device unusable for this process, ``successor`` carries out all
    that are left, in processes of their own.

    Args:
        rest: carries out the runs that fit in no stack.
        groups: the number of runs that share each stack, in order, and the number of its slots.
        device: the device of the stacks.
        threads: their CPU threads.
        extras: options of all runs.
        successor: goes on where the device is lost.

    """

    def __init__(
        self,
        rest: Runner,
        groups: Sequence[tuple[int, int]],
        device: torch.device,
        threads: int,
        extras: Extras,
        successor: Runner,
    ) -> None:
        self._rest = rest
        self._groups = groups
        self._device = device
        self._threads = threads
        self._extras = extras
        self._successor = successor
        self.jobs = max(rest.jobs, *(min(group) for group in groups))

    def run(
        self, configs: Iterable[RunConfig], on_progress: OnProgress, halts: Halts = never
    ) -> Generator[RunResult, None, None]:
        """Yield one result per config as the runs end; the configs are the first of its runs, or all."""
        prepare_process(self._threads, self._device)
        if self._device.type == "cpu":
            make_ready()
        queue, begun = iter(configs), dict[str, RunConfig]()
        try:
            for runs, slots in self._groups:
                yield from self._stacked(slots, islice(queue, runs), begun, on_progress, halts)
        except DeviceLostError as error:
            _log.warning(f"{error.message} Other processes go on.")
            yield from self._successor.run(chain(begun.values(), queue), on_progress, halts)
        else:
            yield from self._rest.run(queue, on_progress, halts)

    def _stacked(
        self,
        slots: int,
        configs: Iterator[RunConfig],
        begun: dict[str, RunConfig],
        on_progress: OnProgress,
        halts: Halts,
    ) -> Iterator[RunResult]:
        """Carry out runs that share a stack, and keep those in progress in ``begun``."""
        extras = self._extras

        def begin(first: RunConfig) -> Iterator[RunConfig]:
            for config in chain([first], configs):
                begun[config.run_id] = config
                yield config

        while not halts() and (first := next(configs, None)) is not None:
            failed = ""
            try:
                data, ood = data_of(first, extras)
                of_stack = begin(first), data, self._device, slots, on_progress
                options = extras.panel, ood, extras.graph, extras.nets, extras.checkpoints
                for result in train_stacked(*of_stack, *options, halts):
                    del begun[result.config.run_id]
                    yield result
            except Exception as error:  # the fault may lie in one run, and the others can have their results
                failed = f"{type(error).__name__}: {error}"
                check_device(self._device, failed)
                slots = max(1, slots // 2) if isinstance(error, torch.OutOfMemoryError) else slots
            give_back_memory(self._device)  # to other processes; here, where no error holds on to the stack
            if failed:
                left = list(begun.values()) or [first]
                begun.clear()
                count = telling.counted(len(left), "run")
                _log.warning(f"A stack failed; {count} of it begin again without it ({failed}).")
                yield from self._rest.run(left, on_progress, halts)


def with_stacks(
    rest: Runner,
    runs: Sequence[RunConfig],
    every: Iterable[RunConfig],
    data: DataSet,
    device: torch.device,
    machine: Machine,
    extras: Extras,
) -> tuple[Runner, Sequence[RunConfig]]:
    """Return the runner that stacks such of the runs as pay, or ``rest``, and the runs in the order it wants.

    As many runs are in a stack as ``machine.stack`` says. By rule there are stacks only where there is one
    GPU, of as many runs as its memory holds, unless ``machine`` says how many runs there are at a time or
    where they are: each of several GPUs has a process of its own, and on the CPU a process on each core is
    as fast (docs/speed.md). ``every`` are all runs of the command, of which some may be done: what is stacked
    depends on all, since the same command goes on with the same bits.
    """
    together = Counter(key for config in every if (key := stack_of(config)) is not None)
    if (machine.stack or 1) > 1 and max(together.values(), default=0) < _FEWEST:
        _log.warning(
            f"`stack={machine.stack}` does nothing: only runs of the mlp that classify images, with ReLU and "
            "Bernoulli dropout, without penalties and not in fp16, are stacked, where two or more have the "
            "same shapes."
        )
    untold = machine.stack is None and machine.jobs is None and machine.runner == "auto" and extras.graph
    by_rule = untold and device.type == "cuda" and torch.cuda.device_count() == 1
    if not (by_rule or (machine.stack or 1) > 1) or extras.compiled:
        return rest, runs

    def slots_of(config: RunConfig) -> int:
        most = machine.stack or slots_that_fit(
            torch.cuda.mem_get_info(device)[0],
            bytes_of_a_slot(config, data.input_shape, data.outputs, len(data.train_targets)),
        )
        return min(most, together[stack_of(config)])

    slots: dict[Hashable, int] = {}
    stacked: dict[Hashable, list[RunConfig]] = {}
    others: list[RunConfig] = []
    for config in runs:
        key = stack_of(config)
        if key not in slots:
            slots[key] = slots_of(config) if together[key] >= _FEWEST else 1
        (stacked.setdefault(key, []) if slots[key] > 1 else others).append(config)
    if not stacked:
        return rest, runs
    groups = [(len(group), slots[key]) for key, group in stacked.items()]
    successor = ProcessRunner(device, 1, machine.threads or 1, extras)
    runner = StackRunner(rest, groups, device, machine.threads or cores(), extras, successor)
    return runner, [*chain.from_iterable(stacked.values()), *others]


def slots_that_fit(free_bytes: int, bytes_of_one: float) -> int:
    """Return how many runs fit into this much memory of a GPU at a time, at most MOST_SLOTS."""
    return max(1, min(MOST_SLOTS, int(_SHARE_OF_MEMORY * free_bytes / bytes_of_one)))
