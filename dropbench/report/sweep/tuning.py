"""Equal tuning: which trials settings share, and the one of them that each is shown at.

A trial is a value of every setting that is tuned, such as a learning rate. All settings of a table have the
same trials, the one without dropout included, and each is shown at its own best on the validation examples
(the external tuning ruleset of Dahl et al. 2023). The test examples have no say.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Protocol, TypeVar

from dropbench.errors import DropbenchError
from dropbench.report.table import Column
from dropbench.run.config import SETTINGS

TUNED = tuple(name for name, each in SETTINGS.items() if each.tuned)
"""The settings whose values are trials, in the order of the columns of runs.csv."""
Trial = tuple[Any, ...]
"""A value of each of TUNED."""
LARGEST, SMALLEST = "largest", "smallest"


def ordered(value: float | None) -> float:
    """The key that values of a tuned setting are sorted by: no bound is the highest bound."""
    return math.inf if value is None else value


@dataclass(frozen=True)
class Budget:
    """The trials that each of some settings had."""

    trials: tuple[Trial, ...]

    @classmethod
    def of(cls, trials: Iterable[Trial]) -> "Budget":
        """The budget of these trials, in the order of their values."""
        return cls(tuple(sorted(trials, key=lambda trial: tuple(map(ordered, trial)))))

    @classmethod
    def grid(cls, lists: Mapping[str, Sequence[Any]]) -> "Budget":
        """The budget of all combinations of these values."""
        return cls.of(product(*(lists.get(name, (None,)) for name in TUNED)))

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def names(self) -> tuple[str, ...]:
        """The settings that were tuned: those in which trials differ."""
        return tuple(name for at, name in enumerate(TUNED) if len({trial[at] for trial in self.trials}) > 1)

    def values(self, name: str) -> list[Any]:
        """The values of a setting that were tried, in ascending order."""
        at = TUNED.index(name)
        return sorted({trial[at] for trial in self.trials}, key=ordered)

    def end(self, name: str, value: float | None) -> str:
        """LARGEST or SMALLEST of the values tried, where there could be more beyond it; else empty."""
        values, each = self.values(name), SETTINGS[name]
        if len(values) == 1 or value is None or (each.range is not None and value == each.range.least):
            return ""  # nothing is beyond no bound, or no decay
        return LARGEST if value == values[-1] else SMALLEST if value == values[0] else ""

    def own(self) -> str:
        """The tuned settings in words: ``learning rate``, or ``weight decay and learning rate``."""
        return " and ".join(SETTINGS[name].title for name in self.names)

    def text(self) -> str:
        """The trials in words: ``3 learning rates (0.005, 0.02, 0.08)``, or how many of what."""
        lists = {
            name: ", ".join(SETTINGS[name].text(value) for value in self.values(name)) for name in self.names
        }
        if len(lists) == 1:
            ((name, values),) = lists.items()
            return f"{len(self)} {plural(name)} ({values})"
        told = "; ".join(f"{SETTINGS[name].title} {values}" for name, values in lists.items())
        return f"{len(self)} trials ({told})"


def plural(name: str) -> str:
    """The name of a tuned setting's values: ``learning rates``, ``L1 penalties``."""
    title = SETTINGS[name].title
    return f"{title[:-1]}ies" if title.endswith("y") else f"{title}s"


@dataclass(frozen=True)
class Tuning:
    """The trial that a setting is shown at, and what it was chosen on."""

    budget: Budget
    trial: Trial
    seeds: int
    """Seeds on which all trials ended: the choice was made on them."""
    without: int
    """Trials that have no result, because they failed or were not begun."""
    diverged: int
    """Runs of other trials that diverged."""
    beyond: int = 0
    """Trials that this setting had and others had not, so that they have no say."""

    @property
    def values(self) -> dict[str, Any]:
        """The values of the tuned settings."""
        return {name: self.trial[TUNED.index(name)] for name in self.budget.names}

    def said(self) -> str:
        """The values in words, ``learning rate 0.02``."""
        return ", ".join(SETTINGS[name].said(value) for name, value in self.values.items())

    @property
    def cells(self) -> dict[str, Any]:
        """The numbers of an exported row."""
        return {
            **{name: SETTINGS[name].read_back(value) for name, value in self.values.items()},
            "trials": len(self.budget),
            "trials_without_result": self.without,
            "seeds_of_choice": self.seeds,
        }


@dataclass(frozen=True)
class Choice:
    """The trial that is the best on validation, by its number."""

    number: int
    seeds: frozenset[int]
    """Seeds on which all trials ended."""
    without: int
    """Trials that never ended on any seed."""


def choose(validation: Sequence[Mapping[int, float]], diverged: Sequence[Collection[int]]) -> Choice | None:
    """The best of several trials, by their figures on validation (lower is better) and the seeds they lost.

    Trials are compared on the seeds on which all of them ended, well or by diverging; a trial that never
    ended is left out. One that diverged less often is better, and among these the one with the lower mean;
    the first of equals. None where the trials have no seed in common.
    """
    ended = [{*values, *lost} for values, lost in zip(validation, diverged, strict=True)]
    there = [number for number, seeds in enumerate(ended) if seeds]
    common = frozenset.intersection(*(frozenset(ended[number]) for number in there)) if there else frozenset()
    if not common:
        return None
    lost = {number: len(common & set(diverged[number])) for number in there}
    best = [number for number in there if lost[number] == min(lost.values())]
    seeds = common.intersection(*(validation[number] for number in best))

    def mean(number: int) -> float:
        return math.fsum(validation[number][seed] for seed in seeds) / len(seeds)

    number = min(best, key=mean) if seeds else max(best, key=lambda number: len(validation[number]))
    return Choice(number, common, len(validation) - len(there))


class Tried(Protocol):
    """One setting at one trial."""

    @property
    def val(self) -> Mapping[str, Mapping[int, float]]:
        """Its figures on validation, by column, then by seed."""

    @property
    def diverged(self) -> frozenset[int]:
        """Seeds."""


T = TypeVar("T", bound=Tried)


def tuned_tables(
    points: Sequence[Mapping[Trial, T]], column: str
) -> Iterator[tuple[Budget, list[tuple[int, T, Tuning]]]]:
    """The tables of tuned settings among ``points``, each a setting by its trials.

    For every set of two or more trials that a setting had there is a table of all settings that had these.
    Each stands in it by its number, at its own best trial, by its figures in ``column`` on validation. A
    setting with no seed on which all its trials ended is in none. The tables of most settings come first.
    """
    budgets = {frozenset(tried): Budget.of(tried) for tried in points if len(tried) > 1}
    tables = [(budget, list(_members(points, budget, column))) for budget in budgets.values()]
    tables.sort(key=lambda table: (-len(table[1]), -len(table[0])))
    return (table for table in tables if table[1])


def _members(
    points: Sequence[Mapping[Trial, T]], budget: Budget, column: str
) -> Iterator[tuple[int, T, Tuning]]:
    for number, tried in enumerate(points):
        if not tried.keys() >= set(budget.trials):
            continue
        trials = [tried[trial] for trial in budget.trials]
        choice = choose([each.val[column] for each in trials], [each.diverged for each in trials])
        if choice is None:
            continue
        chosen = trials[choice.number]
        diverged = sum(len(each.diverged) for each in trials) - len(chosen.diverged)
        seeds, beyond = len(choice.seeds), len(tried) - len(budget)
        trial = budget.trials[choice.number]
        yield number, chosen, Tuning(budget, trial, seeds, choice.without, diverged, beyond)


def alone(
    points: Sequence[Mapping[Trial, T]], tables: Iterable[tuple[Budget, list[tuple[int, T, Tuning]]]]
) -> list[Trial]:
    """The trials that need a table of their own: some setting had them beside no other that a table shows."""
    shown = [(set(budget.trials), {number for number, _, _ in members}) for budget, members in tables]
    trials = dict.fromkeys(trial for tried in points for trial in tried)
    return [
        trial
        for trial in trials
        for having in [{number for number, tried in enumerate(points) if trial in tried}]
        if not any(trial in of and having <= members for of, members in shown)
    ]


def tuned_columns(budget: Budget | None) -> list[Column]:
    """A column for each setting that was tuned, for rows that have the cells of a Tuning."""

    def column(name: str) -> Column:
        each = SETTINGS[name]
        return Column(each.title.replace(" ", "\n"), lambda row: each.text(each.value(row[name])))

    return [column(name) for name in budget.names] if budget else []


def written(lists: Mapping[str, Sequence[Any]]) -> str:
    """Lists of values as one cell: ``learning_rate=0.01,0.02 max_norm=none,3``."""
    return " ".join(
        f"{name}={','.join(SETTINGS[name].text(value) for value in values)}" for name, values in lists.items()
    )


def read(cell: str) -> dict[str, list[Any]]:
    """The lists of a cell that ``written`` wrote.

    Raises:
        DropbenchError: if it is no such cell.

    """
    lists: dict[str, list[Any]] = {}
    for part in cell.split():
        name, _, values = part.partition("=")
        parse = SETTINGS[name].parse if name in TUNED else None
        if parse is None:
            raise DropbenchError(f"{part!r} is no list of trials.")
        lists[name] = list(parse(values, name))
    return lists
