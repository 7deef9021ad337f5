"""Experiments of the lecture and the paper out of the rows of paper.csv: theirs beside ours."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from dropbench.report.apart import words_apart
from dropbench.report.paper.tuning import TunedPlace, of_one_choice
from dropbench.report.scale import LOG, Logit, Scale, infer_examples
from dropbench.report.significance import Tested, compare
from dropbench.report.statistics import NOTHING, Estimate, mean_interval
from dropbench.results.schema import PAPER, PAPER_TOLD
from dropbench.run.shell import command_line
from dropbench.run.telling import data_name

_log = logging.getLogger(__name__)

ERROR = "test_error_percent"
AGREES, CONTRARY, UNCLEAR, UNSEEN = "as there", "contrary", "not told apart", "no difference seen"
NO_INTERVAL = "no interval"
"""The reading where there are too few seeds for an agreement."""
LOWER, HIGHER = "lower", "higher"
READINGS = (AGREES, UNSEEN, UNCLEAR, CONTRARY, NO_INTERVAL)
FULL = "full"
"""The scale of the paper's nets on all images, which needs no word."""
CURVE = 2
"""Arms of one net against p."""


@dataclass(frozen=True)
class Place:
    """One arm at one place of the axis: the paper's value and ours."""

    arm: str
    x: float
    """NaN where there is no axis, or the arm has no place on it."""
    p_drop: float
    p_keep: float
    values: Mapping[int, float]
    """Ours, by seed, of the runs that ended well."""
    lost: int
    """Runs that diverged or failed."""
    paper: float
    """NaN where none is known, as is its spread."""
    paper_spread: float
    unverified: str
    against: tuple[str, float | None] | None
    """The key of what it is compared with."""
    expected: str
    """Than ``against``, as there: ``lower``, ``higher``, ``same``, ``not lower``, ``not higher``; empty where
    nothing is said."""
    test: Tested | None = None
    """The test of our values against those of ``against``."""
    paper_difference: float = math.nan
    train_error: float = math.nan
    """The mean error on training examples, dropout off, in percent; NaN where it is not recorded."""
    tuned: TunedPlace | None = None
    """The trials that it had, and its own, where its arm was tuned."""
    scale: Scale = LOG
    """Where our values are tested."""

    @property
    def key(self) -> tuple[str, float | None]:
        """Names it within its experiment."""
        return self.arm, _or_none(self.x)

    @property
    def estimate(self) -> Estimate:
        """Ours, over seeds."""
        return mean_interval(list(self.values.values()), self.scale)

    @property
    def difference(self) -> Estimate:
        """Our figure less that of what it is compared with."""
        return self.test.difference if self.test else NOTHING

    @property
    def ratio(self) -> Estimate:
        """Our figure divided by that of what it is compared with."""
        return self.test.ratio if self.test else NOTHING

    @property
    def agreement(self) -> str:
        """How our difference stands to the paper's; empty where one of them is missing.

        By the 95 % interval of the difference: the paper's direction, the opposite one, or neither. Where
        the paper sees no difference, an interval that holds 0 agrees, and may only be too wide.
        """
        if self.test is None or not self.expected or math.isnan(self.test.difference.low):
            return ""
        found = self.test.difference
        sees_one = self.expected in (LOWER, HIGHER)
        if not found.excludes_zero:
            return UNCLEAR if sees_one else UNSEEN
        direction = LOWER if found.mean < 0 else HIGHER
        if sees_one:
            return AGREES if direction == self.expected else CONTRARY
        return CONTRARY if self.expected in ("same", f"not {direction}") else AGREES

    @property
    def reading(self) -> str:
        """The agreement, or NO_INTERVAL where there is none of a difference that is spoken of."""
        return self.agreement or (NO_INTERVAL if self.expected else "")


@dataclass(frozen=True)
class PaperResult:
    """One experiment at one scale, on one data set."""

    experiment_id: str
    fields: Mapping[str, Any]
    places: tuple[Place, ...]
    run_ids: frozenset[str]
    seconds: float
    """The time that its recorded runs took, one after another; NaN where none is."""

    @cached_property
    def arms(self) -> dict[str, list[Place]]:
        """The places of each arm, in their order."""
        found: dict[str, list[Place]] = {}
        for place in self.places:
            found.setdefault(place.arm, []).append(place)
        return found

    @property
    def has_train_errors(self) -> bool:
        """Whether it is about errors, and those on training examples are recorded."""
        known = any(not math.isnan(place.train_error) for place in self.places)
        return known and bool(self.fields["measure"] == ERROR)

    @property
    def seeds(self) -> int:
        """The number of seeds at the place that has most, ended well or not."""
        return max(len(place.values) + place.lost for place in self.places)

    @property
    def spoken(self) -> list[tuple[Place, Place]]:
        """The places of whose difference something is said there, each with what it is compared with."""
        by_key = {place.key: place for place in self.places}
        return [(p, by_key[p.against]) for p in self.places if p.expected and p.against in by_key]

    @property
    def is_curve(self) -> bool:
        """Whether it is one net against p, so that it is a sweep, too."""
        return bool(self.fields["axis"] == "p_drop") and len(self.arms) == CURVE

    @property
    def unit(self) -> str:
        """The unit of a difference."""
        return "points" if self.fields["measure"] == ERROR else ""

    def command(self) -> str:
        """The command that makes it again."""
        fields = self.fields
        told = {name: str(fields[name]) for name in ("scale", "data", "precision")}
        flags = [word for name, value in told.items() for word in (f"--{name}", value)]
        return command_line(["dropbench", "paper", str(fields["paper"]), *flags, "--seeds", str(self.seeds)])


def find_papers(rows: pd.DataFrame, runs: pd.DataFrame) -> list[PaperResult]:
    """The experiments among the rows of paper.csv; what has no place in a table is left out, and told.

    ``runs`` are the rows of runs.csv, which have the training errors and the time.
    """
    found = []
    recorded = runs.set_index("run_id")
    placed = rows.dropna(subset=["position", "seed"])
    if without := len(rows) - len(placed):
        _log.warning(f"{PAPER.file_name}: rows without a position or a seed are left out: {without}.")
    for experiment_id, group in placed.groupby("experiment_id", sort=False):
        # Another dropbench may have another text for the same experiment: the last one stands.
        last = _by_start(group).iloc[-1]
        scale = _scale(group)
        places = [
            _place(each, scale, recorded)
            for _, each in group.sort_values("position", kind="stable").groupby("position")
        ]
        run_ids = frozenset(" ".join([*group["run_id"], *group["trial_run_ids"]]).split())
        found.append(
            PaperResult(
                str(experiment_id),
                {name: last[name] for name in PAPER_TOLD},
                tuple(_compared(places)),
                run_ids,
                float(recorded["seconds"].reindex(sorted(run_ids)).sum(min_count=1)),
            )
        )
    return found


def _or_none(x: float) -> float | None:
    """NaN is not itself, and names nothing."""
    return None if math.isnan(x) else x


def _scale(rows: pd.DataFrame) -> Scale:
    """Errors in percent are counts of images; other measures are tested as ratios."""
    if (rows["measure"] == ERROR).all():
        return Logit(infer_examples(rows["value"].dropna().unique()))
    return LOG


def _by_start(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, the one whose run was started last at the end."""
    return rows.sort_values("run_started_at", kind="stable")


def _place(rows: pd.DataFrame, scale: Scale, recorded: pd.DataFrame) -> Place:
    rows = _by_start(of_one_choice(rows))
    last, ok = rows.iloc[-1], rows[rows["value"].notna()]
    return Place(
        arm=last["arm"],
        x=last["x"],
        p_drop=last["p_drop"],
        p_keep=last["p_keep"],
        values=dict(zip(ok["seed"].astype(int), ok["value"], strict=True)),
        lost=len(rows) - len(ok),
        paper=last["paper_value"],
        paper_spread=last["paper_spread"],
        unverified=last["unverified"],
        against=(last["against"], _or_none(last["against_x"])) if last["against"] else None,
        expected=last["paper_direction"],
        train_error=float(recorded["train_error_percent"].reindex(ok["run_id"]).mean()),
        tuned=TunedPlace.of(dict(last), len(rows)),
        scale=scale,
    )


def _compared(places: list[Place]) -> list[Place]:
    """The places with their tests, corrected for all differences of which the paper says something."""
    by_key = {place.key: place for place in places}
    tested = dict(by_key)
    for spoken_of in (True, False):
        family = [p for p in places if p.against in by_key and bool(p.expected) == spoken_of]
        pairs = [(p.key, p.against) for p in family if p.against is not None]
        values = {key: place.values for key, place in by_key.items()}
        tests = compare(values, pairs, places[0].scale)
        for place, (_, other), test in zip(family, pairs, tests, strict=True):
            shown = test if spoken_of else replace(test, p=math.nan, p_holm=math.nan)
            difference = place.paper - by_key[other].paper
            tested[place.key] = replace(place, test=shown, paper_difference=difference)
    return list(tested.values())


def paper_title(result: PaperResult) -> str:
    """The experiment, its scale, data and precision."""
    return f"{result.fields['title']} ({_told(result)})"


def names_of(results: Sequence[PaperResult]) -> list[str]:
    """The experiments' names, with every scale but the full one; of one there twice, all that it tells."""
    names = [str(result.fields["paper"]) for result in results]

    def name_of(result: PaperResult, name: str) -> str:
        if names.count(name) > 1:
            return f"{name} ({_told(result)})"
        scale = str(result.fields["scale"])
        return name if scale == FULL else f"{name} ({scale})"

    return [name_of(result, name) for result, name in zip(results, names, strict=True)]


def _told(result: PaperResult) -> str:
    fields = result.fields
    told = [f"{fields['scale']} scale", data_name(fields["data"]), *words_apart(fields), fields["precision"]]
    return ", ".join(told)
