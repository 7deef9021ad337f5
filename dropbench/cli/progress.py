"""The progress of a set of runs: a live display on a terminal, a plain line per finished run elsewhere."""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from dropbench.cli.console import err, plain_progress, tell
from dropbench.datasets.progress import shown_by
from dropbench.run import telling
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord, RunResult

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dropbench.experiments.agenda import Agenda
    from dropbench.report.find.find import Find


_UNSEEN_SECONDS = 1.0
_LINES_OF_RACE = 5  # of the terminal: its title and heading, and room for a message
_OTHER_LINES = 4  # of the terminal: the bar of all runs, one more bar, and room for a message


class Progress:
    """Base of both displays: it knows how many runs ended, and whether somebody wants the others to stop.

    Of a command that plans its runs in waves, the numbers are those of all waves so far.
    """

    def __init__(self) -> None:
        self._stopping = self._halting = False
        self.names: tuple[str, ...] = ()
        """The settings that tell one run from the others."""
        self._runs = self._before = self._ended = 0
        self._begun = False

    def planned(self, plan: "Agenda", jobs: int) -> None:
        """Take note of the runs to do, and of those that were done before."""
        self.names = telling.telling(plan.todo)
        self._runs += len(plan.todo)
        self._before += plan.before

    def progress(self, worker: int, config: RunConfig, record: EpochRecord | None) -> None:
        """Take note that runs have begun."""
        self._begun = True

    def finished(self, result: RunResult) -> None:
        """Count the run."""
        self._ended += 1

    def looked(self, find: "Find", before: int) -> None:
        """Say how a race of settings stands, which had so many seeds ``before``."""
        from dropbench.report.find.words import look_line

        tell(look_line(find, before))

    @property
    def in_hand(self) -> bool:
        """Whether runs are in progress."""
        return self._begun and self._ended < self._runs

    def so_far(self) -> str:
        """How many runs have ended, in words; empty before there are any."""
        runs = self._runs + self._before
        return telling.so_far(runs, self._ended + self._before) if runs else ""

    def stop(self) -> None:
        """Have no further run begun."""
        self._stopping = True

    def halt(self) -> None:
        """Have the runs in hand stop after their step."""
        self._halting = True

    def wants_to_stop(self) -> bool:
        """Whether no further run is to be begun."""
        return self._stopping

    def wants_to_halt(self) -> bool:
        """Whether the runs in hand are to stop after their step."""
        return self._halting


@contextmanager
def watching() -> "Iterator[PlainProgress | LiveProgress]":
    """The watcher that suits stderr, shown while the context lasts."""
    if plain_progress():
        yield PlainProgress()
        return
    display = LiveProgress()
    with display.bars, shown_by(display.reading):
        yield display


@contextmanager
def reading() -> Iterator[None]:
    """Show on a terminal how far the reading of data is, while the context lasts."""
    if plain_progress():
        yield
        return
    with watching():
        yield


def _tell_lacking(plan: "Agenda") -> None:
    if plan.lacking:
        runs, be, them = (
            ("1 run", "is", "it")
            if len(plan.lacking) == 1
            else (telling.counted(len(plan.lacking), "run"), "are", "them")
        )
        tell(f"{runs} {be} done again: not all was kept of {them} that is wanted now")


class PlainProgress(Progress):
    """One line on stderr per finished run."""

    def planned(self, plan: "Agenda", jobs: int) -> None:
        """Say how much there is to do, and what of it a second time."""
        super().planned(plan, jobs)
        tell(telling.planned(len(plan.todo), plan.before, jobs))
        _tell_lacking(plan)

    def finished(self, result: RunResult) -> None:
        """Say how the run ended."""
        super().finished(result)
        tell(f"[{self._ended}/{self._runs}] {telling.outcome(result, self.names)}")


class _Bars(Bars):
    """Bars, with what stands ``above`` them."""

    above: "RenderableType | None" = None

    def get_renderables(self) -> "Iterable[RenderableType]":
        """Yield all that is shown, from the top down."""
        if self.above is not None:
            yield self.above
        yield from super().get_renderables()


class LiveProgress(Progress):
    """A bar for all runs and one for each worker's run, with its epoch, loss and validation error or loss."""

    def __init__(self) -> None:
        super().__init__()
        self.bars = _Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=err,
            transient=True,
        )
        self._all: TaskID | None = None
        self._epochs = 0
        self._read: TaskID | None = None
        self._began = 0.0
        self._workers: dict[int, TaskID] = {}
        self._bad = 0

    def planned(self, plan: "Agenda", jobs: int) -> None:
        """Start the bar of all runs, measured in epochs; one run has only its own."""
        super().planned(plan, jobs)
        if self._read is not None:
            self.bars.remove_task(self._read)
            self._read = None
        if plan.before:
            done = telling.counted(plan.before, "run")
            tell(f"{done} {'was' if plan.before == 1 else 'were'} done before and skipped")
        _tell_lacking(plan)
        if self._runs > 1:
            self._epochs += sum(config.optimizer.epochs for config in plan.todo)
            if self._all is None:
                self._all = self.bars.add_task("all runs", state=self._count())
            self.bars.update(self._all, total=self._epochs, state=self._count())

    def reading(self, what: str, done: int, total: int) -> None:
        """Move the bar of data that are read, which is shown if that takes more than a second."""
        now = time.monotonic()
        if self._read is None:
            self._began = self._began or now
            if now - self._began < _UNSEEN_SECONDS or done == total:
                return
            self._read = self.bars.add_task("", total=total, state="")
        state = f"{done:,}/{total:,}"
        self.bars.update(self._read, description=what, completed=done, total=total, state=state)

    def progress(self, worker: int, config: RunConfig, record: EpochRecord | None) -> None:
        """Move a worker's bar, and with it that of all runs."""
        super().progress(worker, config, record)
        if record is None:
            if worker in self._workers:
                self.bars.remove_task(self._workers.pop(worker))
            if len(self._workers) + _OTHER_LINES > err.size.height:  # what is higher than the terminal stays
                return
            self._workers[worker] = self.bars.add_task(
                escape(telling.label(config, self.names)),
                total=config.optimizer.epochs,
                state=f"epoch 0/{config.optimizer.epochs}",
            )
            return
        classifies = math.isfinite(record.val_error_percent)
        validated = (
            f"val error {record.val_error_percent:.2f} %" if classifies else f"val loss {record.val_loss:.3f}"
        )
        state = f"epoch {record.epoch}/{config.optimizer.epochs}  loss {record.train_loss:.3f}  {validated}"
        if worker in self._workers:
            self.bars.update(self._workers[worker], completed=record.epoch, state=state)
        if self._all is not None:
            self.bars.advance(self._all)

    def finished(self, result: RunResult) -> None:
        """Count the run; say at once why one gave no result."""
        super().finished(result)
        if result.status != "ok":
            self._bad += 1
            self.bars.console.print(Text(telling.outcome(result, self.names), style="red"), soft_wrap=True)
        if self._all is not None:
            self.bars.advance(self._all, result.config.optimizer.epochs - len(result.epochs))
            self.bars.update(self._all, state=self._count())

    def looked(self, find: "Find", before: int) -> None:
        """Show above the bars which settings are in a race, as many as there is room for."""
        from dropbench.report.find.table import live_table
        from dropbench.report.render.terminal import grid

        table = live_table(find)
        room = err.size.height - len(self.bars.tasks) - _LINES_OF_RACE
        self.bars.above = Group(
            Text(table.title, style="bold"), grid(table, range(len(table.columns)), max(room, 1))
        )
        self.bars.refresh()

    def _count(self) -> str:
        bad = f", {self._bad} without result" if self._bad else ""
        return f"{self._ended}/{self._runs} runs{bad}"
