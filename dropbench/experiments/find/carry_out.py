"""Carry out a find: waves of runs and looks at the race, until it is decided or the budget is spent."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dropbench.experiments.agenda import once
from dropbench.experiments.bagging.rows import MADE_FROM
from dropbench.experiments.find.budget import Budget
from dropbench.experiments.find.figures import Figures, FindPlan
from dropbench.experiments.watching import Watcher
from dropbench.experiments.workbench import Outcome, Workbench, carry_out
from dropbench.report.find.find import Find, make_find
from dropbench.report.find.standing import FIRST_LOOK
from dropbench.results.cells import as_read
from dropbench.results.csv_file import read_rows
from dropbench.results.read import latest
from dropbench.results.schema import FINDS, RUNS
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import CAREFUL, Policy
from dropbench.runners.choose import shares

OnLook = Callable[[Find, int], None]
"""Called with the find as it stands, and the number of seeds that it had before, after every wave of runs."""
_FIGURES = ("val_figure", "test_figure")
_LEAST_SECONDS = 10.0
"""The least time of a wave, where that needs no more than half as many seeds again."""


@dataclass
class FindRun:
    """A find in progress.

    - ``ends``: when the budget is spent, by time.monotonic.
    - ``expected``: the seconds of a run, before any has ended.
    """

    plan: FindPlan
    bench: Workbench
    store: Store
    watcher: Watcher
    budget: Budget
    policy: Policy = CAREFUL
    ends: float = math.inf
    expected: float = 0.0
    on_look: OnLook = lambda find, before: None
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        """Read which rows are written, and see how many runs go on at a time."""
        self._figures = Figures(self.plan, self.bench.data, self.store.folder, self.budget.text)
        self._written = self.store.recorded(FINDS)
        self._now: set[str] = set()
        self._seeds = 0
        machine, first = self.bench.machine, self.runs_of([(place, 0) for place in self._places])
        self._jobs, _ = shares(len(first), self.bench.device, machine, self.bench.workload(first))
        self.bench = self.bench.as_for(first)  # in every wave, however small

    @property
    def _places(self) -> range:
        return range(len(self.plan.candidates))

    def runs_of(self, wanted: Iterable[tuple[int, int]]) -> list[RunConfig]:
        """The runs of candidates, by place, and seeds; a run that they share is listed once."""
        return once(run for place, seed in wanted for run in self.plan.candidates[place].runs(seed))

    def carry_out(self) -> Find | None:
        """Carry out the find, and return it as it ends; None if it ends before all candidates have a seed.

        Raises:
            DropbenchError: if a result cannot be written.
            TimeLimitError: if the time limit was over before.
            KeyboardInterrupt: if the watcher wanted to stop before.

        """
        find = self.look()
        while wave := self._wave(find):
            ended = self._carry_out(wave)
            find = self.look()
            if not ended or (self.policy.fail_fast and self.outcome.failed):
                break
        return self.look(tested=True) if find else None

    def look(self, tested: bool = False) -> Find | None:
        """Return the find by what is recorded, and write the rows that finds.csv lacks.

        ``tested`` looks at the test examples, for those that may be the best by more than chance. There is no
        find before each candidate has a seed.
        """
        recorded = self._recorded()
        pairs = self._known(recorded)
        if len({place for place, _ in pairs}) < len(self._places):
            return None
        seconds = {run_id: row["seconds"] for run_id, row in recorded.items()}

        def written(final: Container[int]) -> Find:
            rows = [self._figures.row(place, seed, recorded, place in final) for place, seed in pairs]
            found = [as_read(row, FINDS) for row in rows]
            differs = [self._differs(row) for row in found]
            self.store.append_rows(FINDS, itertools.compress(rows, differs))
            self._written |= {row["row_id"]: row for row in itertools.compress(found, differs)}
            return make_find(found, seconds)

        find = written(final=())
        if tested:
            find = written({each.place for each in find.final})
        else:
            self.on_look(find, self._seeds)
            self._seeds = find.race.seeds
        return find

    def missing(self) -> list[RunConfig]:
        """The runs of the first seed that are not recorded."""
        recorded = self._recorded()
        complete = self._complete()
        first = self.runs_of([(place, 0) for place in self._places])
        return [run for run in first if not self._is_known(run, recorded, complete)]

    def _recorded(self) -> dict[str, dict[str, Any]]:
        return {row["run_id"]: row for row in latest(read_rows(self.store.folder, RUNS), RUNS)}

    def _complete(self) -> Callable[[RunConfig], bool]:
        return self.bench.keeps(self.store.folder, self.plan.averages)

    def _is_known(
        self, run: RunConfig, recorded: Mapping[str, Mapping[str, Any]], complete: Callable[[RunConfig], bool]
    ) -> bool:
        """Whether a run ended, and is not to be done again."""
        row = recorded.get(run.run_id)
        if row is None:
            return False
        if run.run_id not in self._now and (
            self.policy.force or (self.policy.retry_failed and row["status"] != "ok")
        ):
            return False
        return row["status"] != "ok" or complete(run)

    def _known(self, recorded: Mapping[str, Mapping[str, Any]]) -> list[tuple[int, int]]:
        """The candidates, by place, and seeds whose runs have all ended, as far as no seed lacks."""
        complete = self._complete()
        found = []
        for place in self._places:
            for seed in itertools.count():
                runs = self.plan.candidates[place].runs(seed)
                if not all(self._is_known(run, recorded, complete) for run in runs):
                    break
                found.append((place, seed))
        return found

    def _differs(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is not written yet, or was made of other runs, or without the test examples."""
        before = self._written.get(row["row_id"])
        if before is None or any(row[name] != before[name] for name in MADE_FROM):
            return True
        return any(not math.isnan(row[name]) and row[name] != before[name] for name in _FIGURES)

    def _wave(self, find: Find | None) -> list[RunConfig]:
        """The runs that the next look needs; none where the find is over.

        Where time is what is spent, runs of later seeds are added that fill all workers.
        """
        if find is None:
            wanted = [(place, seed) for seed in range(FIRST_LOOK) for place in self._places]
            active, seed = list(self._places), FIRST_LOOK
        else:
            race = find.race
            wanted, seed = race.wanted, max(race.seeds + 1, FIRST_LOOK)
            active = sorted(race.active, key=race.mean)
        recorded, complete = self._recorded(), self._complete()

        def todo(pairs: Iterable[tuple[int, int]]) -> list[RunConfig]:
            return [run for run in self.runs_of(pairs) if not self._is_known(run, recorded, complete)]

        runs = todo(wanted)
        if math.isfinite(self.budget.runs):
            return runs[: int(self.budget.runs) - len(self._now)]
        if not runs:
            return []
        # A wave takes seconds to start. Where runs are short, more seeds are begun in one, by half at most.
        worth = math.ceil(_LEAST_SECONDS * self._jobs / max(self._usual_seconds(), 1e-3))
        for later in range(seed, seed + max(1, seed // 2)):
            lack = max(worth - len(runs), -len(runs) % self._jobs)
            if lack <= 0:
                break
            here = {run.run_id for run in runs}
            more = [run for run in todo((place, later) for place in active) if run.run_id not in here]
            runs += more if lack > len(more) else more[: lack + -(len(runs) + lack) % self._jobs]
        return runs

    def _usual_seconds(self) -> float:
        """The seconds of a run in the middle of those that ended, or as it was estimated."""
        took = [float(result.cost["seconds"] or 0) for result in self.outcome.ok]
        return statistics.median(took) if took else self.expected

    def _carry_out(self, runs: list[RunConfig]) -> int:
        """Carry out a wave, and return how many of its runs ended."""
        longest = max((float(each.cost["seconds"] or 0) for each in self.outcome.ok), default=self.expected)

        def enough() -> bool:
            return time.monotonic() + longest > self.ends

        if enough():
            return 0
        done = carry_out(
            runs,
            self.bench,
            self.store,
            self.watcher,
            self.policy,
            with_predictions=self.plan.averages,
            enough=enough,
        )
        ended = [*done.ok, *done.unsuccessful]
        self._now |= {result.config.run_id for result in ended}
        self.outcome.ok += [replace(result, predictions={}) for result in done.ok]
        self.outcome.diverged += done.diverged
        self.outcome.failed += done.failed
        return len(ended)
