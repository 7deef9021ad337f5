"""Training: from a RunConfig and a data set to a RunResult."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

import torch

from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import check_random_numbers
from dropbench.dropout.lending import Loan, own_draws
from dropbench.engine import run_state
from dropbench.engine.checkpoint import Checkpoint, Checkpoints
from dropbench.engine.device import in_progress, prepare_device
from dropbench.engine.history import History
from dropbench.engine.members import Weights
from dropbench.engine.run import OodImages, Run
from dropbench.engine.run_result import result_of
from dropbench.engine.tree import Tree
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
    checkpoints: Checkpoints | None = None,
) -> RunResult:
    """Train the net of ``config`` on ``data``, and evaluate it on the test images once, at the end.

    With a patience the validation loss decides when training ends, and which epoch's net is evaluated;
    without one the validation split is only measured. If the loss is not finite, the run ends with the status
    ``diverged`` and without metrics. The numbers depend on ``config`` and ``data`` alone, up to rounding.

    Args:
        config: all settings of the run.
        data: the data set.
        device: the device to train on.
        on_epoch: called after every epoch; where the run goes on from a checkpoint, also for each before it.
        compiled: train through torch.compile.
        panel: measure the panel (dropbench.engine.panel); an autoencoder's is always measured.
        ood: out-of-distribution images that a classifier predicts too.
        graph: replay the steps as CUDA graphs, where they can be: on CUDA, without torch.compile and without
            code of the user's own.
        keep_net: return the net that was tested, too.
        checkpoints: where the run's state is written, and gone on from if it is there; None: nowhere.

    Raises:
        UsageError: if ``config`` does not fit ``data``, or draws its noise as only recorded runs do.

    """
    return to_its_end(
        training(config, data, device, on_epoch, compiled, panel, ood, graph, keep_net, checkpoints)
    )


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
    checkpoints: Checkpoints | None = None,
) -> Turns[RunResult]:
    """Return the turns of ``train``, each a step: between them other runs can be advanced.

    Closing them before their end writes the run's state first, where there are ``checkpoints``.
    """
    check_random_numbers(config)
    now = datetime.now(UTC).isoformat(timespec="seconds"), perf_counter()
    device = prepare_device(torch.device(device), config.optimizer.precision)

    def begun() -> Underway:
        run = Run.prepare(config, data, device, graph and not compiled)
        if compiled:
            run.compile()
        return Underway(run, History(config), own_draws(config, device), *now)

    with in_progress(device):
        checkpoint = Checkpoint(checkpoints, config, device, compiled)
        underway = begun_or_restored(begun, checkpoint)
        run, history, loan = underway.run, underway.history, underway.loan
        for record in history.records:
            on_epoch(record)
        try:
            while not history.ended:
                record = yield from with_lent(loan, run.epoch())
                history.add(record, run.weights)
                if checkpoint.is_due:
                    checkpoint.write(underway.state)
                on_epoch(record)
        except GeneratorExit:  # from without, between two steps
            checkpoint.write(underway.state)
            raise
        with loan.lent():
            weights = underway.tested_weights() if keep_net else None
            return result_of(run, history, panel, ood, underway.started_at, underway.start, weights)


@dataclass
class Underway:
    """A run on its way, and all beside the run itself that its result depends on."""

    run: Run
    history: History
    loan: Loan
    started_at: str
    start: float
    """When perf_counter would have been if the run had never been interrupted."""

    def tested_weights(self) -> Weights:
        """Return the weights in float32 of the net that is tested."""
        return self.history.best.weights or self.run.weights()

    def state(self) -> Tree:
        """Return all that the rest of the run depends on, between any two steps."""
        return {
            "run": run_state.state_of(self.run),
            "history": self.history.state(),
            "draws": self.loan.states,
            "started_at": self.started_at,
            "seconds": perf_counter() - self.start,
        }

    def restore(self, state: Tree) -> None:
        """Go on from a state; raises what dropbench.engine.run_state.restore does."""
        run_state.restore(self.run, state["run"])
        self.history.restore(state["history"])
        self.loan.go_on(state["draws"])
        self.started_at, self.start = state["started_at"], self.start - state["seconds"]


def begun_or_restored(
    begun: Callable[[], Underway],
    checkpoint: Checkpoint,
    restore: Callable[[Underway, Tree], None] = Underway.restore,
) -> Underway:
    """Return the run that ``begun`` makes, at the state of its checkpoint if there is one that fits."""
    underway = begun()
    if (state := checkpoint.read()) is not None:
        try:
            restore(underway, state)
        except Exception as error:  # of a net's own code, too; it is told, and the run spoiled
            checkpoint.pass_over(error)
            return begun()
    return underway
