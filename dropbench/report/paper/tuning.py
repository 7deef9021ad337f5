"""Arms of an experiment that were tuned: the trial of each place, and whether budgets are equal."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dropbench.errors import DropbenchError, UsageError
from dropbench.report.sweep.tuning import TUNED, Budget, read
from dropbench.report.table import NONE, Column, Row
from dropbench.run.config import SETTINGS

Key = tuple[str, float | None]
"""The arm and the place on the axis."""


@dataclass(frozen=True)
class TunedPlace:
    """The trials of a place, and its own."""

    budget: Budget
    values: Mapping[str, Any]
    """Of the tuned settings; empty where no trial could be chosen."""
    with_result: int
    """Trials that ended, and had a say."""
    seeds: int
    """Seeds that the choice was made on."""

    @classmethod
    def of(cls, row: Mapping[str, Any], seeds: int) -> "TunedPlace | None":
        """Read the cells of a row of paper.csv, one of so many seeds.

        None where nothing was tuned, or the cells are damaged.
        """
        try:
            lists, own = read(row["tune"]), read(row["trial"])
        except (DropbenchError, UsageError):
            return None
        budget = Budget.grid(lists)
        if len(budget) == 1:
            return None
        with_result = 0 if row["trials"] != row["trials"] else int(row["trials"])  # NaN is not itself
        told = row["seeds_of_choice"]  # NaN of an older dropbench, which chose on all seeds
        values = {name: own[name][0] for name in budget.names if name in own}
        return cls(budget, values, with_result, int(told) if told == told else seeds)


def of_one_choice(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of a place without those of a trial that was chosen before.

    Those of the seeds that the choice was made on, which have every trial, are written again with each
    choice. Others may still have a former one.
    """
    told = zip(rows["trial_run_ids"], rows["trial"], strict=True)
    _, chosen = max(told, key=lambda row: len(row[0].split()))
    kept: pd.DataFrame = rows[rows["trial"] == chosen]
    return kept


def trials_of(tuned: TunedPlace | None) -> int:
    """How many trials a place had; 1 where nothing was tuned."""
    return len(tuned.budget) if tuned else 1


def tuned_names(places: Iterable[TunedPlace | None]) -> list[str]:
    """The settings that any place was tuned in."""
    found = {name for place in places if place for name in place.budget.names}
    return [name for name in TUNED if name in found]


def columns_of(names: Iterable[str]) -> list[Column]:
    """A column for each setting that was tuned, and one for the number of trials; none without any."""

    def column(name: str) -> Column:
        each = SETTINGS[name]

        def text(row: Row) -> str:
            return each.text(each.value(row[name])) if name in row["_own"] else NONE

        return Column(each.title.replace(" ", "\n"), text)

    found = [column(name) for name in names]
    return [*found, Column("trials", lambda row: str(row["trials"]))] if found else []


def cells_of(tuned: TunedPlace | None, names: Collection[str]) -> dict[str, Any]:
    """The chosen values and the number of trials of a row; nothing in an experiment without tuning."""
    if not names:
        return {}
    own = tuned.values if tuned else {}
    cells = {name: SETTINGS[name].read_back(own.get(name)) for name in names}
    seeds = tuned.seeds if tuned else 0
    return {**cells, "trials": trials_of(tuned), "seeds_of_choice": seeds, "_own": own}


def notes_of(
    names: Mapping[Key, str], places: Mapping[Key, tuple[TunedPlace | None, Key | None]]
) -> list[str]:
    """How rows were tuned, what is missing, and where two that are compared had not as many trials.

    ``names`` are the rows'; ``places`` has the trials of each, and the key of what it is compared with.
    """
    found: dict[str, list[str]] = {}  # each sentence to the names that stand before it
    for key, (tuned, against) in places.items():
        if tuned:
            budget = tuned.budget
            over = f"by its mean over {tuned.seeds} seeds" if tuned.seeds > 1 else "on one seed"
            said = [f"each at its own best of {budget.text()} on validation, {over}"]
            if tuned.with_result < len(budget):
                said.append(f"a result of {tuned.with_result} of {len(budget)} trials only")
            for setting, value in tuned.values.items():
                if end := budget.end(setting, value):
                    each = SETTINGS[setting]
                    said.append(f"{each.text(value)} is the {end} {each.title} tried")
            for sentence in said:
                found.setdefault(sentence, []).append(names[key])
        if against is None or against not in places:
            continue
        other, _ = places[against]
        if trials_of(tuned) != trials_of(other):
            unequal = f"{_trials(tuned)} against {_trials(other)} of {names[against]}"
            sentence = f"tuning was not equal, {unequal}; the difference favours what had more"
            found.setdefault(sentence, []).append(names[key])
    return [
        f"{'; '.join(rows) if len(rows) < len(names) else 'All rows'}: {sentence}."
        for sentence, rows in found.items()
    ]


def _trials(tuned: TunedPlace | None) -> str:
    count = trials_of(tuned)
    return f"{count} trial{'' if count == 1 else 's'}"
