"""Finds: races of settings and arms, as the rows of finds.csv tell them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from dropbench.catalog.arms import ARMS
from dropbench.report.find.race import STATES, Race, State, run_race
from dropbench.report.find.standing import Within
from dropbench.report.metrics import Metric, find_metric, metrics_of
from dropbench.report.scale import Scale, scale_of
from dropbench.report.statistics import NOTHING, Estimate, mean_interval
from dropbench.run.blocks.dropout import PROBABILITIES
from dropbench.run.config import SETTINGS

_NOT_TOLD = ("seed", "member", "bootstrap", "thinned", "joint", "snapshots", "mc_samples")
"""Settings that an arm sets for its own runs, or that are the same for every entrant."""


@dataclass(frozen=True, eq=False)
class Entrant:
    """A setting in the race, or an arm of several nets or passes with that setting."""

    place: int
    """Its number in the race, from 0 on."""
    arm: str
    """A name of dropbench.catalog.arms.ARMS; empty for one net that predicts with all its units."""
    members: int
    """The nets or passes that it averages; 1 for one net."""
    settings: Mapping[str, Any]
    """The settings of its runs, as values."""
    val: Mapping[int, float]
    """The metric on validation by seed; NaN where a run gave none."""
    test: Mapping[int, float]
    """The same on the test examples, where it was asked for."""
    run_ids: Mapping[int, tuple[str, ...]]
    training: float
    """FLOPs of its training for one seed; NaN if not known."""
    prediction: float
    """FLOPs of one prediction; NaN if not known."""
    passes: int
    """Forward passes of a prediction."""
    in_code: str
    """The same in code of the user's own."""
    message: str
    """Why a run of it gave no figure."""

    def told(self, names: Iterable[str]) -> str:
        """The named settings in words, after what it averages."""
        words = [
            SETTINGS[name].said(self.settings[name])
            for name in names
            if (self.drops or not SETTINGS[name].of_dropout)
            and (name == "p_drop" or self.settings[name] not in (None, False, 0, ()))
        ]
        return ", ".join([*([self.averaged] if self.arm else []), *words])

    @property
    def drops(self) -> bool:
        """Whether its nets drop anything."""
        return any(self.settings[name] for name in PROBABILITIES.values())

    @property
    def averaged(self) -> str:
        """The nets or passes that it averages, in words; empty for one net."""
        if not self.arm:
            return ""
        if ARMS[self.arm].monte_carlo:
            return f"dropout, {self.members} Monte-Carlo passes"
        return ARMS[self.arm].phrase.format(members=self.members)


@dataclass(frozen=True)
class Find:
    """A race with its entrants, in their order."""

    fields: Mapping[str, Any]
    """The cells of one row: the data, and what all entrants share."""
    entrants: tuple[Entrant, ...]
    metric: Metric
    within: Within
    validation_examples: float
    test_examples: float
    seconds: Mapping[str, float]
    """The seconds that each run took, by run_id."""

    @cached_property
    def race(self) -> Race:
        """The race as far as it came."""
        return run_race([each.val for each in self.entrants], self.within, self.scale("val"))

    @property
    def best(self) -> Entrant | None:
        """The answer as it stands; None where no run gave a figure."""
        return None if self.race.best is None else self.entrants[self.race.best]

    def state(self, entrant: Entrant) -> State:
        """The state of an entrant in the race."""
        return self.race.state(entrant.place)

    def having(self, *states: State) -> list[Entrant]:
        """The entrants of which the race says one of these, in their order."""
        return [each for each in self.entrants if self.state(each) in states]

    @property
    def final(self) -> list[Entrant]:
        """The entrants that may be the best by more than chance: these alone are tested."""
        return self.having("best", "as good", "no better", "open")

    def difference(self, entrant: Entrant) -> Estimate:
        """How far an entrant is above the best on validation; the interval holds at all looks together."""
        best = self.race.best
        return NOTHING if best is None else self.race.difference(entrant.place, best)

    @property
    def margin(self) -> float:
        """The difference that does not matter beside the best, in the unit of the metric."""
        return self.within.at(self.mean(self.best)) if self.best else math.nan

    def mean(self, entrant: Entrant) -> float:
        """The mean of the metric on validation over the seeds that an entrant has."""
        return self.race.mean(entrant.place)

    def gain(self, entrant: Entrant) -> float:
        """How much better than the best an entrant may be, by the interval that the race is decided by."""
        best, looks = self.race.best, self.race.looks
        if best is None or best == entrant.place or not looks:
            return math.nan
        standing, scale, start = looks[-1].standing, self.scale("val"), self.race.mean(best)
        step = float(standing.effects[entrant.place, best] - standing.short[entrant.place, best])
        return (
            start - float(scale.back(float(scale.forward(start)) + step)) if math.isfinite(step) else math.nan
        )

    def left_out(self, entrant: Entrant) -> int | None:
        """The number of seeds after which an entrant was left out; None for the best and those still open."""
        if self.state(entrant) in ("best", "open"):
            return None
        last = self.race.last_look(entrant.place)
        return self.race.broken.get(entrant.place, last.seeds if last else len(entrant.val))

    @property
    def ranked(self) -> list[Entrant]:
        """The entrants, the best first, then by what the race says of them and how far they are from it."""

        def key(entrant: Entrant) -> tuple[int, bool, float]:
            above = self.difference(entrant).mean
            return STATES.index(self.state(entrant)), math.isnan(above), above

        return sorted(self.entrants, key=key)

    def test(self, entrant: Entrant) -> Estimate:
        """The metric on the test examples with its 95 % interval over the seeds; nothing if not tested."""
        return mean_interval(
            [value for value in entrant.test.values() if math.isfinite(value)], self.scale("test")
        )

    def scale(self, split: str) -> Scale:
        """Where the metric on ``val`` or ``test`` examples is compared."""
        return scale_of(self.metric, self.validation_examples if split == "val" else self.test_examples)

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """The settings in which entrants differ, and p_drop."""
        first, *others = self.entrants
        return tuple(
            name
            for name, each in SETTINGS.items()
            if each.flag
            and name not in _NOT_TOLD
            and (each.groups or each.axis)
            and (name == "p_drop" or any(other.settings[name] != first.settings[name] for other in others))
        )

    def varied(self, entrant: Entrant) -> dict[str, Any]:
        """The values of an entrant's settings that tell it from the others, by their names."""
        return {name: entrant.settings[name] for name in self.varying}

    def label(self, entrant: Entrant) -> str:
        """The words that tell an entrant from the others."""
        return entrant.told(self.varying)

    def runs_until(self, seed: int) -> frozenset[str]:
        """The runs of all entrants of the seeds up to one."""
        return frozenset(
            run_id
            for each in self.entrants
            for of, ids in each.run_ids.items()
            if of <= seed
            for run_id in ids
        )

    def spent(self, seed: int) -> float:
        """The seconds of training up to a seed, summed over its runs."""
        return self._seconds_of(self.runs_until(seed))

    @property
    def took(self) -> float:
        """The seconds of training of all its runs, also of those that the race has not come to."""
        return self._seconds_of(self.run_ids)

    def _seconds_of(self, run_ids: Iterable[str]) -> float:
        return sum(self.seconds.get(run_id, math.nan) for run_id in run_ids)

    @property
    def run_ids(self) -> frozenset[str]:
        """All its runs."""
        return frozenset(run_id for each in self.entrants for ids in each.run_ids.values() for run_id in ids)


def find_finds(rows: Iterable[Mapping[str, Any]], seconds: Mapping[str, float]) -> list[Find]:
    """The finds among rows of finds.csv; ``seconds`` are those of the rows of runs.csv, by run_id."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["find_id"], []).append(row)
    return [make_find(group, seconds) for group in groups.values()]


def make_find(rows: Iterable[Mapping[str, Any]], seconds: Mapping[str, float]) -> Find:
    """One find of all its rows."""
    by_place: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_place.setdefault(int(row["place"]), []).append(row)
    entrants = tuple(_entrant(number, by_place[place]) for number, place in enumerate(sorted(by_place)))
    latest = max((row for group in by_place.values() for row in group), key=_seed)
    metric = find_metric(latest["metric"], latest["task"]) or metrics_of(latest["task"])[0]
    figures = (value for each in entrants for value in each.val.values())
    found = Find(
        fields=latest,
        entrants=entrants,
        metric=metric.fitted(figures),
        within=Within(latest["within"], latest["within_share"]),
        validation_examples=_examples(by_place.values(), "validation_images"),
        test_examples=_examples(by_place.values(), "test_images"),
        seconds=seconds,
    )
    # Seeds that the race has not come to, of another find or of workers that were free, have no say yet.
    return replace(found, entrants=tuple(_until(found.race.seeds, each) for each in entrants))


def _until(seeds: int, entrant: Entrant) -> Entrant:
    """The entrant with its figures of the first seeds, and with those that a run did not give."""
    val, test = (
        {seed: value for seed, value in figures.items() if seed < seeds or math.isnan(value)}
        for figures in (entrant.val, entrant.test)
    )
    return replace(entrant, val=val, test=test) if seeds else entrant


def _seed(row: Mapping[str, Any]) -> int:
    return int(row["seed"])


def _examples(groups: Iterable[list[Mapping[str, Any]]], column: str) -> float:
    """How many examples figures are of; a row without a figure does not say it."""
    known = (row[column] for group in groups for row in group)
    return max((number for number in known if number > 0), default=1.0)


def _entrant(place: int, rows: list[Mapping[str, Any]]) -> Entrant:
    rows = sorted(rows, key=_seed)
    first = rows[0]
    members = first["members"]
    return Entrant(
        place=place,
        arm=first["arm"],
        members=1 if math.isnan(members) else int(members),
        settings={name: each.value(first[name]) for name, each in SETTINGS.items()},
        val={_seed(row): float(row["val_figure"]) for row in rows},
        test={_seed(row): row["test_figure"] for row in rows if math.isfinite(row["test_figure"])},
        run_ids={_seed(row): tuple(row["member_run_ids"].split()) for row in rows},
        training=first["train_flops"],
        prediction=first["prediction_flops"],
        passes=1 if math.isnan(first["passes_per_prediction"]) else int(first["passes_per_prediction"]),
        in_code=first["in_code"],
        message=next((row["message"] for row in rows if row["message"]), ""),
    )
