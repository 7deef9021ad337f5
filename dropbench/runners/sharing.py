"""How many runs pay on one GPU at a time."""

import logging
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from dropbench.catalog.models import InputShape
from dropbench.datasets.dataset import DataSet
from dropbench.engine.gpus import Gpu
from dropbench.engine.need import Need, largest, need_of
from dropbench.run.config import RunConfig

_log = logging.getLogger(__name__)
_MEMORY = 0.8  # share of the free memory that runs may take by the estimate
_BUSY = 0.5
"""Share of its time in which a run has work for its GPU: an estimate, since no GPU was at hand to measure it.

The rest are the gaps between short kernels, the ends of epochs, and the start and the end of the run.
"""
_MOST_PROCESSES = 47  # MPS takes 48 for each GPU, and the one that starts the runs may be among them
_MOST_IN_PROCESS = 8  # one thread begins the steps of all: a replay takes tens of microseconds of it


def runs_on(gpu: Gpu, need: Need, cores: int) -> int:
    """Return how many runs pay on a GPU at a time: one or more.

    With MPS they are processes; without it processes would take turns, and the runs are side by side in one
    (dropbench.engine.turns). There are as many as the smallest of these allows:

    - memory: the runs and their data fit into the larger part of what is free;
    - occupancy: together they keep all multiprocessors busy (Need.multiprocessors), each for a part of the
      time;
    - the host, which begins the steps: with MPS each process has one of the ``cores`` that are this GPU's
      share of the machine, and MPS takes so many processes; else a thread has so many runs.
    """
    by_memory = _MEMORY * gpu.memory_bytes / need.memory_bytes
    by_occupancy = gpu.multiprocessors / (_BUSY * need.multiprocessors(gpu.multiprocessors))
    by_host = min(cores, _MOST_PROCESSES) if gpu.mps else _MOST_IN_PROCESS
    return max(1, int(min(by_memory, by_occupancy, by_host)))


@dataclass(frozen=True)
class Workload:
    """The runs of a command and the shape of their data: what the number of runs on a GPU depends on."""

    configs: Sequence[RunConfig]
    input_shape: InputShape
    outputs: int
    examples: int
    """The number of examples, those of all splits together."""
    graph: bool = True
    """Whether steps are replayed as graphs where they can be."""

    @classmethod
    def of(cls, configs: Iterable[RunConfig], data: DataSet, graph: bool = True) -> "Workload":
        """Return the workload of runs on a data set in memory."""
        examples = len(data.train_targets) + len(data.test_targets)
        return cls(tuple(configs), data.input_shape, data.outputs, examples, graph)

    @property
    def replays(self) -> bool:
        """Whether CUDA replays all steps, without which one run takes all the time of a thread."""
        return self.graph and not any(config.with_foreign_code for config in self.configs)

    def runs_on_each(self, gpus: Sequence[Gpu], cores: int) -> int:
        """Return how many runs pay on every one of ``gpus``: as many as on the one that takes fewest.

        If a net cannot be tried on shapes alone, as one of the user's own that looks at values, it is one.
        """
        if not self.configs or not (self.replays or all(gpu.mps for gpu in gpus)):
            return 1
        try:
            needs = [
                need_of(config, self.input_shape, self.outputs, self.examples) for config in self._distinct()
            ]
        except Exception as error:  # whatever the user's code raises
            _log.info(f"One run on each GPU, since the net cannot be tried on shapes alone: {error}")
            return 1
        share = max(1, cores // len(gpus))
        return min(runs_on(gpu, largest(needs, gpu.multiprocessors), share) for gpu in gpus)

    def _distinct(self) -> Iterable[RunConfig]:
        """The configs of which no two have the same need."""
        found: dict[Hashable, RunConfig] = {}
        for config in self.configs:
            dropout = config.dropout if config.dropout.widened else config.dropout.variant
            optimizer = config.optimizer
            found.setdefault((config.model, dropout, optimizer.batch_size, optimizer.snapshots), config)
        return found.values()
