"""Runs that train together as one net, in this process; the others are carried out by another runner."""

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice

import torch

from dropbench.datasets.dataset import DataSet
from dropbench.engine.device import prepare_process
from dropbench.engine.stack import bytes_of_a_slot, stack_of, train_stacked
from dropbench.engine.stacked_mlp import give_back_memory
from dropbench.kernels.ready import make_ready
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.run.result import RunResult
from dropbench.runners.base import Extras, OnProgress, Runner, check_device, data_of
from dropbench.runners.choose import cores

_log = logging.getLogger(__name__)
MOST_SLOTS = 64
"""Runs of a stack where the rule decides."""
_SHARE_OF_MEMORY = 0.7  # of what is free: graphs, the evaluation and fragments need some


class StackRunner:
    """Carries out runs in stacks (dropbench.engine.stack), and those that fit in none by the runner ``rest``.

    It is made for ``runs``, of which those that share a stack follow one another; as many of them are trained
    at a time as ``slots_of`` says of the first. If a stack fails, this is logged, and those of its runs that
    have not ended are carried out by ``rest``.
    """

    def __init__(
        self,
        rest: Runner,
        runs: Iterable[RunConfig],
        slots_of: Callable[[RunConfig], int],
        device: torch.device,
        threads: int,
        extras: Extras,
        most_slots: int = MOST_SLOTS,
    ) -> None:
        self._rest = rest
        self._groups = [list(group) for _, group in groupby(runs, key=stack_of)]
        self._slots_of = slots_of
        self._device = device
        self._threads = threads
        self._extras = extras
        together = (len(group) for group in self._groups if stack_of(group[0]) is not None)
        self.jobs = max(rest.jobs, min(most_slots, max(together, default=1)))

    def run(self, configs: Iterable[RunConfig], on_progress: OnProgress) -> Generator[RunResult, None, None]:
        """Yield one result per config as the runs end; the configs are the first of its runs, or all.

        Raises:
            DeviceLostError: if a run that failed left the device unusable, and there are more.

        """
        queue = iter(configs)
        for group in self._groups:
            here, first = islice(queue, len(group)), group[0]
            slots = self._slots_of(first) if stack_of(first) is not None else 1
            if slots > 1:
                yield from self._stacked(first, slots, here, on_progress)
            else:
                yield from self._rest.run(here, on_progress)

    def _stacked(
        self, first: RunConfig, slots: int, configs: Iterator[RunConfig], on_progress: OnProgress
    ) -> Iterator[RunResult]:
        """Carry out runs that share a stack."""
        prepare_process(self._threads, self._device)
        if self._device.type == "cpu":
            make_ready()
        extras, begun = self._extras, dict[str, RunConfig]()

        def begin() -> Iterator[RunConfig]:
            for config in configs:
                begun[config.run_id] = config
                yield config

        failed = ""
        try:
            data, ood = data_of(first, extras)
            for result in train_stacked(
                begin(), data, self._device, slots, on_progress, extras.panel, ood, extras.graph
            ):
                del begun[result.config.run_id]
                yield result
        except Exception as error:  # the fault may lie in one run, and the others can have their results
            failed = f"{type(error).__name__}: {error}"
            check_device(self._device, failed)
        give_back_memory(self._device)  # to other processes; here, where no error holds on to the stack
        if failed:
            _log.warning(f"A stack failed, and its runs are carried out one by one ({failed}).")
            yield from self._rest.run(chain(begun.values(), configs), on_progress)


def with_stacks(
    rest: Runner,
    runs: Sequence[RunConfig],
    data: DataSet,
    device: torch.device,
    machine: Machine,
    extras: Extras,
) -> tuple[Runner, Sequence[RunConfig]]:
    """Return the runner that stacks such of the runs as pay, or ``rest``, and the runs in the order it wants.

    As many runs are in a stack as ``machine.stack`` says. By rule there are stacks only where there is one
    GPU, of as many runs as its memory holds: each of several GPUs has a process of its own, and on the CPU a
    process on each core is as fast (docs/speed.md).
    """
    together = Counter(key for config in runs if (key := stack_of(config)) is not None)
    if (machine.stack or 1) > 1 and not together:
        _log.warning(
            f"`stack={machine.stack}` does nothing: only runs of the mlp with ReLU and Bernoulli dropout, "
            "without penalties, are stacked."
        )
    by_rule = device.type == "cuda" and torch.cuda.device_count() == 1
    may = machine.stack != 1 if machine.stack else by_rule
    if not may or extras.compiled or machine.runner == "ray" or max(together.values(), default=0) < 2:
        return rest, runs

    def slots_of(config: RunConfig) -> int:
        most = machine.stack or slots_that_fit(
            torch.cuda.mem_get_info(device)[0],
            bytes_of_a_slot(config, data.image_shape, len(data.classes), len(data.train_labels)),
        )
        return min(most, together[stack_of(config)])

    order = {key: number for number, key in enumerate(dict.fromkeys(map(stack_of, runs)))}
    in_order = sorted(runs, key=lambda config: order[stack_of(config)])
    threads = machine.threads or cores()
    most_slots = machine.stack or MOST_SLOTS
    return StackRunner(rest, in_order, slots_of, device, threads, extras, most_slots), in_order


def slots_that_fit(free_bytes: int, bytes_of_one: float) -> int:
    """Return how many runs fit into this much memory of a GPU at a time, at most MOST_SLOTS."""
    return max(1, min(MOST_SLOTS, int(_SHARE_OF_MEMORY * free_bytes / bytes_of_one)))
