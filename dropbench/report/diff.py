"""Two results folders compared, setting by setting and seed by seed."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from dropbench.errors import DropbenchError
from dropbench.report.folder import Choice, with_metric
from dropbench.report.metrics import OF_TASK
from dropbench.report.scale import Scale, scale_of
from dropbench.report.significance import LEVEL, Tested, compare
from dropbench.report.statistics import mean_interval
from dropbench.report.sweep.find import RANDOM_NUMBERS, find_sweeps
from dropbench.report.sweep.sweep import (
    AXES,
    SETTING,
    Setting,
    Sweep,
    axis_text,
    mean_of,
    sortable,
    sweep_title,
)
from dropbench.report.sweep.tuning import TUNED, Trial, Tuning
from dropbench.report.table import Column, Row, Table, p_text, share_of_seeds
from dropbench.results.read import read_table
from dropbench.results.schema import RUNS
from dropbench.run.config import SETTINGS

_Key = tuple[tuple[Any, ...], frozenset[Trial]]
_Settings = Mapping[_Key, tuple[Sweep, Setting]]
# Between versions, machines and precisions is what folders are compared for; the data must be the same.
_FREE = ("precision", "data", RANDOM_NUMBERS)


def diff_tables(old: Path, new: Path, choice: Choice) -> tuple[list[Table], bool]:
    """The settings that both folders have, with Holm-corrected tests, and whether any is significantly worse.

    There is a table for each task, as its metric is another.

    Raises:
        DropbenchError: if a folder has no runs, or they have no setting and seed in common.
        UsageError: for a metric that no setting has.

    """
    before, after = (_settings(folder, choice) for folder in (old, new))
    tables = [_table(old, new, _of(before, task), _of(after, task)) for task in OF_TASK]
    found = [each for each in tables if each is not None]
    if not found:
        raise DropbenchError(
            f"{old} and {new} have no setting with a seed in common.",
            "Run the same command into both, with another `out`.",
        )
    lone = (task for task, table in zip(OF_TASK, tables, strict=True) if table is None)
    if alone := sum(_alone(_of(before, task), _of(after, task)) for task in lone):
        (first, worse), *others = found
        found = [(replace(first, notes=(*first.notes, _alone_note(alone))), worse), *others]
    return [table for table, _ in found], any(worse for _, worse in found)


def _of(side: _Settings, task: str) -> _Settings:
    return {key: each for key, each in side.items() if each[0].task == task}


def _table(old: Path, new: Path, before: _Settings, after: _Settings) -> tuple[Table, bool] | None:
    """The table of one task, and whether any setting is significantly worse; None if nothing is compared."""
    common = _told_once([key for key in before if key in after])
    if not common:
        return None
    sides = [side[key] for side in (before, after) for key in common]
    metric = sides[0][0].metric.fitted(mean_of(sweep.test(setting)) for sweep, setting in sides)
    column = metric.column
    series = {("new", key): after[key][1].test[column] for key in common}
    series |= {("old", key): before[key][1].test[column] for key in common}
    scale = scale_of(metric, max(setting.examples["test"] for _, setting in sides))
    tests = compare(series, [(("new", key), ("old", key)) for key in common], scale)
    compared = [(key, test) for key, test in zip(common, tests, strict=True) if test.difference.count]
    if not compared:
        return None
    rows = [_row(before[key], after[key], test, scale) for key, test in compared]
    worse = [row for row in rows if row["worse"]]
    better = [row for row in rows if row["better"]]
    alone = _alone(before, after)
    verdict = [
        f"Of {len(rows)} settings {len(worse)} are significantly worse in {new} and {len(better)} better."
    ]
    notes = [
        f"Differences are {new} − {old} over the seeds that both have; paired t-test "
        f"on the scale of the metric, Holm-corrected, below {LEVEL:g} is significant.",
    ]
    if alone:
        notes.append(_alone_note(alone))
        starts = [", ".join(sorted(_starts(found))) for found in (before, after)]
        if starts[0] != starts[1]:
            notes.append(
                f"Nets with dropout start in another way: {starts[0] or 'none'} in {old}, "
                f"{starts[1] or 'none'} in {new}. Such settings are not compared."
            )
    if redrawn := sum(_drawn_otherwise(before[key], after[key]) for key, _ in compared):
        notes.append(
            f"Of {redrawn} of the settings the masks are drawn by another generator: they differ as those of "
            "two seeds do."
        )
    if lost := sum(row["lost_runs"] for row in rows):
        notes.append(f"{lost} runs that ended well in {old} did not in {new}.")
    if all(math.isnan(row["p_value"]) for row in rows):
        notes.append("No test was possible: one seed, or a difference that is the same on every seed.")
    digits = metric.digits
    columns = (
        Column("setting", lambda row: row["setting"], left=True),
        Column("p_drop", lambda row: axis_text(row["p_drop"])),
        Column("p_keep", lambda row: axis_text(row["p_keep"])),
        Column("seeds", lambda row: str(row["seeds"])),
        Column("old", _estimate("_old", digits)),
        Column("new", _estimate("_new", digits)),
        Column("difference\n[95 %]", lambda row: row["_difference"].text(digits, signed=True)),
        Column("seeds\nbetter", share_of_seeds),
        Column("p,\nHolm", lambda row: p_text(row["p_value_holm"])),
        Column("", lambda row: "worse" if row["worse"] else "better" if row["better"] else "", left=True),
    )
    title = f"Test {metric.label}: {new} against {old}"
    return Table("diff", title, columns, tuple(rows), tuple(notes), tuple(verdict)), bool(worse)


def _settings(folder: Path, choice: Choice) -> dict[_Key, tuple[Sweep, Setting]]:
    if not folder.is_dir():
        raise DropbenchError(f"There is no folder {folder}.", "Run one first: dropbench sweep --p 0.1..0.8")
    runs = read_table(folder, RUNS)
    if runs.empty:
        raise DropbenchError(f"{folder} holds no runs.", "Run some first: dropbench sweep --p 0.1..0.8")
    # At its own trial where it had several, and at each of them, as the other folder may have that one alone.
    tuned, untuned = (_with_errors(runs, choice, tune) for tune in (True, False))
    found = {
        _key(sweep, setting): (sweep, setting)
        for sweep in [*(sweep for sweep in with_metric(tuned, choice.metric) if sweep.budget), *untuned]
        if choice.metric in ("", sweep.metric.name)
        for setting in sweep.settings
    }
    return dict(sorted(found.items(), key=lambda each: len(each[0][1]) > 1, reverse=True))


def _with_errors(runs: pd.DataFrame, choice: Choice, tune: bool) -> list[Sweep]:
    """The sweeps of nets that are no autoencoders."""
    found = (sweep for sweep in find_sweeps(runs, choice.metric, tune) if not sweep.reconstructs)
    # Of one setting under two kinds of masks those of today are taken: "philox" comes last.
    return sorted(found, key=lambda each: str(each.fields[RANDOM_NUMBERS]))


def _key(sweep: Sweep, setting: Setting) -> _Key:
    """The identity of a setting beside its trials, and these."""
    fields = (sortable(sweep.fields[name]) for name in SETTING if name not in (*_FREE, *TUNED))
    trials = sweep.budget.trials if sweep.budget else (_trial(sweep),)
    return (*fields, *(sortable(setting.axes[axis]) for axis in AXES)), frozenset(trials)


def _starts(found: Mapping[_Key, tuple[Sweep, Setting]]) -> set[str]:
    """The initialisations of the settings that drop units."""
    return {setting.axes["init"] for _, setting in found.values() if not setting.drops_nothing}


def _drawn_otherwise(before: tuple[Sweep, Setting], after: tuple[Sweep, Setting]) -> bool:
    """Whether masks of the same seed are not the same in both folders."""
    drawn = {sweep.fields[RANDOM_NUMBERS] for sweep, _ in (before, after)}
    return len(drawn) > 1 and not after[1].drops_nothing


def _trial(sweep: Sweep) -> Trial:
    return tuple(SETTINGS[name].value(sweep.fields[name]) for name in TUNED)


def _told_once(keys: Sequence[_Key]) -> list[_Key]:
    """The keys without those of a setting that another has with more trials, these among them."""
    trials_of: dict[tuple[Any, ...], list[frozenset[Trial]]] = {}
    for own, trials in keys:
        trials_of.setdefault(own, []).append(trials)
    return [(own, trials) for own, trials in keys if not any(trials < more for more in trials_of[own])]


def _alone(before: _Settings, after: _Settings) -> int:
    """How many settings one of the folders has alone."""
    return len(_at_one_trial(before) ^ _at_one_trial(after))


def _alone_note(settings: int) -> str:
    which = "1 setting is" if settings == 1 else f"{settings:,} settings are"
    return f"{which} in one of the folders only."


def _at_one_trial(found: Collection[_Key]) -> set[_Key]:
    return {(own, trials) for own, trials in found if len(trials) == 1}


def _row(before: tuple[Sweep, Setting], after: tuple[Sweep, Setting], test: Tested, scale: Scale) -> Row:
    sweep, setting = after
    column = sweep.metric.column
    common = before[1].test[column].keys() & setting.test[column].keys()
    old, new = (
        mean_interval([each.test[column][seed] for seed in sorted(common)], scale)
        for each in (before[1], setting)
    )
    told = [f"{axis} {axis_text(setting.axes[axis], 'all')}" for axis in sweep.varying if axis != "p_drop"]
    if setting.tuning and before[1].tuning:
        told.append(_chosen(before[1].tuning, setting.tuning))
    return {
        "setting": ", ".join([sweep_title(sweep), *told]),
        "p_drop": setting.axes["p_drop"],
        "p_keep": round(1 - setting.axes["p_drop"], 12),
        "seeds": test.difference.count,
        "compared_seeds": test.difference.count,
        **old.cells("old"),
        **new.cells("new"),
        **test.difference.cells("difference"),
        **test.ratio.cells("ratio"),
        "p_value": test.p,
        "p_value_holm": test.p_holm,
        "p_better": test.p_better,
        "worse": test.significant and test.difference.mean > 0,
        "better": test.significant and test.difference.mean < 0,
        "lost_runs": len(before[1].run_ids.keys() & (setting.diverged | setting.failed)),
        "_old": old,
        "_new": new,
        "_difference": test.difference,
    }


def _chosen(before: Tuning, after: Tuning) -> str:
    """The trial of both folders, or of each."""
    old, new = (
        ", ".join(f"{SETTINGS[name].title} {SETTINGS[name].text(value)}" for name, value in values.items())
        for values in (before.values, after.values)
    )
    return f"at {new}" if old == new else f"at {new} (old: {old})"


def _estimate(name: str, digits: int) -> Callable[[Row], str]:
    return lambda row: str(row[name].text(digits))
