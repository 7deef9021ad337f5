"""Training: from a RunConfig and a data set to a RunResult."""

from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter

import torch

from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import check_random_numbers
from dropbench.dropout.lending import own_draws
from dropbench.engine.device import in_progress, prepare_device
from dropbench.engine.history import History
from dropbench.engine.run import OodImages, Run
from dropbench.engine.turns import Turns, to_its_end, with_lent
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult

OnEpoch = Callable[[EpochRecord], None]


def train(
    config: RunConfig,
    data: DataSet,
    device: torch.device | str = "cpu",
    on_epoch: OnEpoch = lambda record: None,
    compiled: bool = False,
    panel: bool = False,
    ood: OodImages | None = None,
    graph: bool = True,
    keep_net: bool = False,
) -> RunResult:
    """Train the net of ``config`` on ``data``, and evaluate it on the test images once, at the end.

    With a patience the validation loss decides when training ends, and which epoch's net is evaluated;
    without one the validation split is only measured. If the loss is not finite, the run ends with the status
    ``diverged`` and without metrics. The numbers depend on ``config`` and ``data`` alone, up to rounding.

    Args:
        config: all settings of the run.
        data: the data set.
        device: the device to train on.
        on_epoch: called after every epoch.
        compiled: train through torch.compile.
        panel: measure the panel (dropbench.engine.panel); an autoencoder's is always measured.
        ood: out-of-distribution images that a classifier predicts too.
        graph: replay the steps as CUDA graphs, where they can be: on CUDA, without torch.compile and without
            code of the user's own.
        keep_net: return the net that was tested, too.

    Raises:
        UsageError: if ``config`` does not fit ``data``, or draws its noise as only recorded runs do.

    """
    return to_its_end(training(config, data, device, on_epoch, compiled, panel, ood, graph, keep_net))


def training(
    config: RunConfig,
    data: DataSet,
    device: torch.device | str = "cpu",
    on_epoch: OnEpoch = lambda record: None,
    compiled: bool = False,
    panel: bool = False,
    ood: OodImages | None = None,
    graph: bool = True,
    keep_net: bool = False,
) -> Turns[RunResult]:
    """Return the turns of ``train``, each a step: between them other runs can be advanced."""
    check_random_numbers(config)
    started_at, start = datetime.now(UTC).isoformat(timespec="seconds"), perf_counter()
    device = prepare_device(torch.device(device), config.optimizer.precision)
    with in_progress(device):
        run = Run.prepare(config, data, device, graph and not compiled)
        if compiled:
            run.compile()
        history, loan = History(config), own_draws(config, device)
        while not history.ended:
            record = yield from with_lent(loan, run.epoch())
            on_epoch(record)
            history.add(record, run.weights)
        with loan.lent():
            weights = (history.best.weights or run.weights()) if keep_net else None
            return run.result(history, panel, ood, started_at, start, weights)
