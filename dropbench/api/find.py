"""Finding the best setting in the time there is."""

import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dropbench.api.keywords import Keywords, sort_out
from dropbench.api.sweep import P_DEFAULT
from dropbench.api.work import Data, Done, Work, check_classifier
from dropbench.datasets.dataset import DataSet
from dropbench.errors import DropbenchError, UsageError
from dropbench.experiments.estimate import Bench, Images, estimate
from dropbench.experiments.find.budget import Budget
from dropbench.experiments.find.candidates import candidates_of, parse_averaged
from dropbench.experiments.find.carry_out import FindRun, OnLook
from dropbench.experiments.find.figures import FindPlan
from dropbench.experiments.sweep import expand
from dropbench.experiments.watching import LogWatcher, Watcher
from dropbench.report.find.answer import answer
from dropbench.report.find.find import Find
from dropbench.report.find.standing import FIRST_LOOK, Within
from dropbench.report.find.words import look_line
from dropbench.report.folder import find_report
from dropbench.report.metrics import ERROR, Metric, find_metric, lacking
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.telling import counted, duration

_log = logging.getLogger(__name__)
OnEstimate = Callable[[Callable[[], "Expected"]], None]
_FEWEST_OF_A_TEST = 6
"""Test images that one net alone has wrong, at least, where McNemar's exact test tells two apart at 5 %."""
_MARGIN = 1.2
"""The factor of an estimate for a budget that surely does."""


@dataclass(frozen=True)
class Expected:
    """The cost of a find's first seed here, by the rate just measured."""

    candidates: int
    runs: int
    """The runs of one seed that are not done."""
    seconds: float
    """The seconds that all these runs take."""
    run_seconds: float
    """The seconds that one of them takes."""

    def __str__(self) -> str:
        """Return it as a sentence."""
        return (
            f"{counted(self.candidates, 'candidate')}; one seed of each is {counted(self.runs, 'run')}, "
            f"about {duration(self.seconds)} at the rate just measured here"
        )


@dataclass(frozen=True, repr=False)
class FindDone(Done):
    """A find that was carried out."""

    found: Find | None = field(default=None)
    """The race as it ended; None where the budget ended it before each candidate had a run."""

    @property
    def decided(self) -> bool:
        """Whether the answer is sure: nothing else can be better by more than ``within``."""
        return self.found is not None and self.found.race.decided

    @property
    def answer(self) -> dict[str, Any]:
        """The answer for scripts: whether it is decided, the best setting, its errors, the state of all.

        Where there is no race yet, it has the first two alone.
        """
        return {"decided": False, "best": None} if self.found is None else answer(self.found)

    @property
    def best(self) -> dict[str, Any]:
        """The settings of the answer that candidates differ in, by their names, for ``train`` or ``sweep``.

        Raises:
            DropbenchError: if no run ended well.

        """
        best = self.found.best if self.found is not None else None
        if self.found is None or best is None:
            raise DropbenchError("No run of it ended well.", "See message in runs.csv.")
        return self.found.varied(best)


def find(
    data: Data = "mnist5k",
    *,
    budget: str | int = "10m",
    p: str | float | Iterable[float] | None = None,
    candidates: str | Iterable[str] = (),
    within: str | float | None = None,
    metric: str = "",
    baseline: bool = True,
    out: Path | str = "results",
    data_dir: Path | str | None = None,
    watcher: Watcher | None = None,
    on_estimate: OnEstimate | None = None,
    on_look: OnLook | None = None,
    **settings: Any,
) -> FindDone:
    """Find the setting with the lowest error on validation, and stop as soon as it is sure.

    All candidates start on the same seeds. After each seed those that are worse beyond doubt are left out,
    and those that cannot be better than the best by more than ``within`` are trained no more. The intervals
    hold at all looks together, so that the same call with more budget goes on, as often as wanted. The test
    examples are looked at once, at the end, for those that may be the best.

    Args:
        data: a data set, or its name.
        budget: what this call may spend: a time, like ``10m`` or ``2h``, or ``30 runs``. Runs that are
            recorded cost nothing.
        p: probabilities of *dropping* a hidden unit, as ``sweep`` takes them.
        candidates: arms that take part, too, with the number of nets or passes that they average:
            ``ensemble:5``, ``bagging:5``, ``dropout-mc:20``, or any other of compare-bagging.
        within: a difference that does not matter, in the unit of the metric, or a share of the best's like
            ``"2%"``. By default it is 0.2 points or 2 % of the error, whichever is larger.
        metric: what is compared; the error, or the RMSE of a regression, unless told.
        baseline: add the net without any dropout to the candidates.
        out: the folder of the results.
        data_dir: where torchvision's data sets are, or go when downloaded.
        watcher: sees the runs happen; they are logged unless given.
        on_estimate: is told before the first run what one seed takes, and may have it measured.
        on_look: is told how the race stands after each wave of runs; a line is logged unless given.
        settings: any setting of a run by its name, with all its values to try, of the machine, or of what is
            done again.

    Raises:
        UsageError: for a budget that is too small for a run of each candidate, one candidate alone, or a
            ``within`` that the test examples cannot tell.
        DropbenchError: if the data are not to be had, or a result cannot be written.

    """
    spendable, averaged = Budget.parse(budget), parse_averaged(candidates)
    keywords = sort_out({"p": p, **settings}, p_drop=P_DEFAULT)
    if "seed" in keywords.settings:
        raise UsageError("`seed` is for one run.", "A find takes as many as it needs, from 0 on.")
    for name in keywords.settings.get("model", ()):
        check_classifier(name)

    def of_one_seed(on_data: Keywords) -> list[RunConfig]:
        fixed, swept = on_data.swept()
        made = expand(fixed, swept, 1, baseline)
        candidates_of(made, averaged)  # what cannot take part is told before any data are fetched
        return made

    work = Work.prepare(of_one_seed, data, keywords, out, data_dir)
    made = work.bench.data
    compared = find_metric(metric, made.task)
    if compared is None:
        raise lacking(metric, made.task)
    matters = _within(within, compared, made)
    plan = FindPlan(tuple(candidates_of(work.runs, averaged)), compared, matters)
    run = FindRun(
        plan,
        work.bench,
        Store(work.out),
        watcher or LogWatcher(),
        spendable,
        work.policy,
        on_look=on_look or (lambda find, before: _log.info(look_line(find, before))),
    )
    # What an arm changes may not fit the data; the settings themselves were tried before.
    work.bench.bind([each for of in plan.candidates if of.averaged for each in of.runs(0)])
    _expect(run, on_estimate)
    run.ends = keywords.began + spendable.seconds
    found = run.carry_out()
    run_ids = found.run_ids if found else frozenset(result.config.run_id for result in run.outcome.ok)
    return FindDone(work.out, run_ids, run.outcome, partial(find_report, work.out, plan.find_id), found)


def _within(told: str | float | None, metric: Metric, data: DataSet) -> Within:
    """The difference that does not matter; raises UsageError for one that no test examples tell."""
    usual = Within.usual(metric)
    examples = len(data.test_targets)
    one = 100 / examples
    if told is None:
        if metric != ERROR or one <= usual.least:
            within = usual
        else:
            _log.info(
                f"`within` is {one:.2g} points: one of the {examples:,} test {data.noun} of {data.name}."
            )
            return Within(one, usual.share)
    else:
        within = _parse(told, metric)
    if metric == ERROR and within.least:
        if within.least < one * (1 - 1e-9):
            raise UsageError(
                f"`within={told}`: one of the {examples:,} test {data.noun} of {data.name} is {one:.2g} "
                "points already, so they tell nothing smaller.",
                f"Write `within={math.ceil(10 * one) / 10:g}` or more; {within.least:g} points take "
                f"{math.ceil(100 / within.least):,} test {data.noun}.",
            )
        needed = math.ceil(100 * _FEWEST_OF_A_TEST / within.least)
        if examples < needed:
            _log.info(
                f"The choice is made on validation. On {examples:,} test {data.noun} two nets that differ by "
                f"{within.least:g} points cannot be told apart; it takes {needed:,} at least."
            )
    return within


def _parse(told: str | float, metric: Metric) -> Within:
    """Read ``0.2`` or ``2%``."""
    text = str(told).strip()
    share = text.endswith("%")
    hint = "Write a number, like 0.2 for points of an error, or a share of the best's, like 2%."
    try:
        value = float(text.removesuffix("%").strip())
    except ValueError:
        raise UsageError(f"`within`: {text!r} is no number.", hint) from None
    if not math.isfinite(value) or value <= 0:
        raise UsageError(f"`within` is {text}.", "Write a number above 0: nothing is told apart for sure.")
    if share and metric.of_density:
        raise UsageError("`within`: this NLL may be 0, so that no share of it means anything.", "Write nats.")
    if (share and value >= 100) or (not share and metric == ERROR and value >= 100):
        raise UsageError(f"`within` is {text}: then every setting would do.", hint)
    return Within(share=value / 100) if share else Within(least=value)


def _expect(run: FindRun, on_estimate: OnEstimate | None) -> None:
    """Measure what one seed takes if anything is to be done, and refuse a budget that is too small for it.

    Raises:
        UsageError: if the budget does not do for one run each.

    """
    missing, candidates, budget = run.missing(), len(run.plan.candidates), run.budget
    if not missing:
        return
    if budget.runs < len(missing):
        raise UsageError(
            f"`budget={budget.text}` is too small for a run of each of the {candidates} candidates.",
            f"Write `budget={len(missing)} runs` or more; {FIRST_LOOK * len(missing)} for a first look.",
        )
    bench = run.bench
    images = Images.of(bench.data)
    on = Bench.of(bench.device, bench.precision, len(missing), bench.machine, missing, images)
    told: list[Expected] = []

    def measure() -> Expected:
        seconds = estimate(dict.fromkeys(missing, 1), images, on, bench.data).seconds
        told.append(Expected(candidates, len(missing), seconds, seconds * on.jobs / len(missing)))
        return told[-1]

    if on_estimate is not None:
        on_estimate(measure)
    elif math.isfinite(budget.seconds):
        _log.info(str(measure()))
    if not told:
        return
    expected = told[-1]
    run.expected = expected.run_seconds
    if expected.seconds > budget.seconds:
        least = _MARGIN * expected.seconds
        raise UsageError(
            f"`budget={budget.text}` is too small for a run of each of the {candidates} candidates, which "
            f"takes about {duration(expected.seconds)} here.",
            f"Write `budget={_minutes(least)}` or more; {_minutes(FIRST_LOOK * least)} for a first look.",
        )
    if FIRST_LOOK * expected.seconds > budget.seconds:
        _log.warning(
            f"In `budget={budget.text}` there is hardly time for the {FIRST_LOOK} seeds of a first look: "
            f"that takes about {duration(FIRST_LOOK * expected.seconds)}."
        )


def _minutes(seconds: float) -> str:
    """A time as a budget is written, rounded up."""
    if seconds <= 90:
        return f"{math.ceil(seconds / 10) * 10}s"
    return f"{math.ceil(seconds / 60)}m"
