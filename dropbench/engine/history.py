"""The epochs of a run so far, and what they say: whether it goes on, and which epoch's net is evaluated."""

import math
from collections.abc import Callable
from dataclasses import asdict

from dropbench.engine.members import Weights
from dropbench.engine.patience import Best
from dropbench.engine.tree import Tree
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord


class History:
    """The records of a run's epochs.

    They end with the last epoch, with the run's patience, or with a loss that is not finite.
    """

    def __init__(self, config: RunConfig) -> None:
        self.records: list[EpochRecord] = []
        self.best = Best(config.optimizer.patience)
        self.message = ""
        """Why the run diverged; empty if it did not."""
        self.ended = False
        self._epochs = config.optimizer.epochs

    def add(self, record: EpochRecord, weights: Callable[[], Weights]) -> None:
        """Take note of the epoch that ended; the net's weights are asked for if they are to be kept."""
        self.records.append(record)
        if not self._diverged(record):
            self.best.see(record, weights)
            self.ended = record.epoch == self._epochs or self.best.lost_patience(record.epoch)

    def _diverged(self, record: EpochRecord) -> bool:
        """End with a record whose loss is not finite, and say so."""
        losses = {"training": record.train_loss, "validation": record.val_loss}
        wrong = [split for split, loss in losses.items() if not math.isfinite(loss)]
        if wrong:
            self.message = f"the {wrong[0]} loss was no longer finite in epoch {record.epoch}"
            self.ended = True
        return bool(wrong)

    def state(self) -> Tree:
        """Return the records, and the best epoch with its net."""
        return {"records": [asdict(record) for record in self.records], "best": self.best.state()}

    def restore(self, state: Tree) -> None:
        """Go on from a state, as if all its epochs had been added."""
        self.records = [EpochRecord(**record) for record in state["records"]]
        self.best.go_on(state["best"])
        if self.records and not self._diverged(last := self.records[-1]):
            self.ended = last.epoch == self._epochs or self.best.lost_patience(last.epoch)

    @property
    def tested_epoch(self) -> int:
        """The epoch whose net is evaluated, counted from 1."""
        return self.best.epoch or len(self.records)

    @property
    def train_seconds(self) -> float:
        """The seconds of all epochs, without their validation."""
        return sum(record.seconds for record in self.records)
