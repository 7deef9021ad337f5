"""From the rows of runs.csv to the table and the curve *error against p*."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dropbench.report.statistics import Estimate, mean_interval, paired_difference
from dropbench.report.table import Column, Row, Table

# What a sweep may vary, in the order of the table's columns; runs that differ in anything else of
# SETTING belong to different experiments and are never put into one table.
AXES = (
    "p_drop",
    "p_drop_input",
    "p_drop_conv",
    "train_size",
    "layers",
    "convention",
    "dropout",
    "dropout_key",
    "dropout_schedule",
    "cutoff_epoch",
    "tied",
)
SETTING = (
    "data",
    "data_key",
    "model",
    "model_key",
    "activation",
    "max_norm",
    "epochs",
    "batch_size",
    "learning_rate",
    "learning_rate_schedule",
    "momentum",
    "weight_decay",
    "precision",
    "width",
    "thinned",
    "joint",
    "snapshots",
)
_MEMBERS: dict[str, str | float] = {"width": 1.0, "thinned": "False", "joint": "False", "snapshots": 0.0}
"""What only members of ensembles are told, and what it was before a dropbench wrote it."""
_PROBABILITIES = ("p_drop", "p_drop_input", "p_drop_conv")
_SAME_NET = ("train_size", "layers", "tied")
_AXIS_TITLES = {
    "p_drop_input": "p_drop input",
    "p_drop_conv": "p_drop conv",
    "train_size": "train size",
    "dropout_key": "dropout's source",
    "dropout_schedule": "schedule",
    "cutoff_epoch": "cutoff epoch",
}
_OF_DROPOUT = ("convention", "dropout", "dropout_key", "dropout_schedule", "cutoff_epoch")


@dataclass(frozen=True)
class Setting:
    """The runs of one point of a sweep: its axes, and figures of its ok runs by seed."""

    axes: Mapping[str, Any]
    test_error: Mapping[int, float]
    val_error: Mapping[int, float]
    test_nll: Mapping[int, float]
    reconstruction_error: Mapping[int, float]
    """On the test images, of autoencoders; empty else."""
    learned_p_drop: Mapping[int, float]
    """At the hidden sites, of variants that learn it; empty else."""
    unsuccessful: int
    run_ids: Mapping[int, str]
    """Of the ok runs, by seed."""

    @property
    def drops_nothing(self) -> bool:
        """Whether this is a net without any dropout."""
        return all(self.axes[name] == 0 for name in _PROBABILITIES)


@dataclass(frozen=True)
class Sweep:
    """All settings that differ in AXES alone; ``varying`` are the axes that really do."""

    fields: Mapping[str, Any]
    settings: tuple[Setting, ...]
    varying: tuple[str, ...]
    run_ids: frozenset[str]

    @property
    def reconstructs(self) -> bool:
        """Whether its nets are autoencoders, which have features and no test error."""
        return bool(self.fields["model"] == "autoencoder")

    def reference(self, setting: Setting) -> Setting | None:
        """The net without any dropout on the same training size, layers and tying of weights."""
        for other in self.settings:
            same_net = all(sortable(other.axes[n]) == sortable(setting.axes[n]) for n in _SAME_NET)
            if other.drops_nothing and same_net:
                return other
        return None

    @property
    def best(self) -> Setting | None:
        """The setting with the lowest mean validation error; the test set has no say."""
        with_runs = [setting for setting in self.settings if setting.val_error]
        return min(with_runs, key=lambda s: mean_interval(list(s.val_error.values())).mean, default=None)


def find_sweeps(runs: pd.DataFrame) -> list[Sweep]:
    """The sweeps among the rows of runs.csv; members of ensembles other than the first are no part."""
    runs = runs[(runs["member"] == 0) & (runs["bootstrap"] != "True")].copy()
    # With nothing dropped the two conventions are the same net, recorded under whichever came first.
    nothing = (runs[list(_PROBABILITIES)] == 0).all(axis=1)
    runs.loc[nothing, "convention"] = "inverted"
    # Likewise the variants; and before there were any, the column was not written.
    runs.loc[nothing | (runs["dropout"] == ""), "dropout"] = "bernoulli"
    runs.loc[nothing | (runs["dropout_schedule"] == ""), "dropout_schedule"] = "constant"
    runs.loc[nothing, "cutoff_epoch"] = math.nan
    runs.loc[nothing, "dropout_key"] = ""
    runs.loc[runs["tied"] == "", "tied"] = "False"
    for name, before in _MEMBERS.items():
        runs[name] = runs[name].replace("", before).fillna(before)
    sweeps = []
    for values, group in runs.groupby(list(SETTING), dropna=False, sort=False):
        fields = dict(zip(SETTING, values if isinstance(values, tuple) else (values,), strict=True))
        settings = [
            _setting(dict(zip(AXES, axes if isinstance(axes, tuple) else (axes,), strict=True)), rows)
            for axes, rows in group.groupby(list(AXES), dropna=False, sort=True)
        ]
        settings.sort(key=lambda s: tuple(sortable(s.axes[name]) for name in reversed(AXES)))
        varying = tuple(n for n in AXES if len({sortable(s.axes[n]) for s in settings}) > 1)
        sweeps.append(Sweep(fields, tuple(settings), varying, frozenset(group["run_id"])))
    return sweeps


def sweep_table(sweep: Sweep) -> Table:
    """*Error against p*: mean, 95 % interval and paired difference to p = 0 of every setting."""
    best = sweep.best
    learned = any(setting.learned_p_drop for setting in sweep.settings)
    rows = [_row(sweep, setting, setting is best) for setting in sweep.settings]
    columns = (
        *axis_columns(sweep),
        *([Column("learned\np_drop", _learned)] if learned else []),
        Column("seeds", lambda row: str(row["seeds"])),
        Column("val\nerror %", lambda row: _mark(row["_val_error"].text().partition(" ")[0], row["best"])),
        Column("test error, %\n[95 % interval]", lambda row: row["_test_error"].text()),
        Column("paired difference to\np = 0 [95 % interval]", _difference_text),
    )
    title = f"Error against p: {sweep_title(sweep)}"
    return Table("sweep", title, columns, tuple(rows), tuple(_notes(sweep)))


def axis_columns(sweep: Sweep) -> tuple[Column, ...]:
    """Those that tell the settings apart, for rows that have the axes and p_keep."""
    extra = [axis for axis in sweep.varying if axis != "p_drop"]
    return (
        Column("p_drop", lambda row: axis_text(row["p_drop"])),
        Column("p_keep", lambda row: axis_text(row["p_keep"])),
        *(Column(_AXIS_TITLES.get(axis, axis), _axis_cell(axis)) for axis in extra),
    )


def _setting(axes: dict[str, Any], rows: pd.DataFrame) -> Setting:
    ok = rows[rows["status"] == "ok"]
    seeds = ok["seed"].astype(int)

    def by_seed(column: str) -> dict[int, float]:
        return {seed: value for seed, value in zip(seeds, ok[column], strict=True) if not math.isnan(value)}

    return Setting(
        axes=axes,
        test_error=by_seed("test_error_percent"),
        val_error=by_seed("val_error_percent"),
        test_nll=by_seed("test_nll"),
        reconstruction_error=by_seed("test_reconstruction_error"),
        learned_p_drop=by_seed("learned_p_drop"),
        unsuccessful=len(rows) - len(ok),
        run_ids=dict(zip(seeds, ok["run_id"], strict=True)),
    )


def _row(sweep: Sweep, setting: Setting, best: bool) -> Row:
    test = mean_interval(list(setting.test_error.values()))
    val = mean_interval(list(setting.val_error.values()))
    reference = sweep.reference(setting)
    is_reference = reference is setting
    difference = (
        paired_difference(setting.test_error, reference.test_error)
        if reference is not None and not is_reference
        else mean_interval([])
    )
    return {
        **{axis: setting.axes[axis] for axis in AXES},
        "p_keep": round(1 - setting.axes["p_drop"], 12),
        "seeds": test.count,
        "unsuccessful_runs": setting.unsuccessful,
        "learned_p_drop": mean_interval(list(setting.learned_p_drop.values())).mean,
        **val.cells("val_error_percent"),
        **test.cells("test_error_percent"),
        **difference.cells("difference_to_reference"),
        "test_nll": mean_interval(list(setting.test_nll.values())).mean,
        "best": best,
        "reference": is_reference,
        "_test_error": test,
        "_val_error": val,
        "_difference": difference,
    }


def sweep_title(sweep: Sweep) -> str:
    """What was trained on what, and how."""
    fields = sweep.fields
    parts = [
        f"{fields['model']} on {fields['data']}",
        f"{fields['epochs']:.0f} epochs",
        str(fields["precision"]),
    ]
    if fields["activation"] != "relu":
        parts.insert(1, f"{fields['activation']} units")
    if not math.isnan(fields["max_norm"]):
        parts.append(f"max-norm {fields['max_norm']:g}")
    if fields["weight_decay"]:
        parts.append(f"weight decay {fields['weight_decay']:g}")
    parts.append(f"learning rate {fields['learning_rate']:g} ({fields['learning_rate_schedule']})")
    parts += [f"{name} {fields[name]}" for name, usual in _MEMBERS.items() if fields[name] != usual]
    return ", ".join(parts)


def _notes(sweep: Sweep) -> list[str]:
    notes = ["p_drop is the probability of dropping a unit (p_keep = 1 − p_drop is the 2014 paper's p)."]
    best = sweep.best
    if best is not None and len(sweep.settings) > 1:
        error = mean_interval(list(best.test_error.values()))
        axes = ", ".join(f"{axis} = {axis_text(best.axes[axis])}" for axis in sweep.varying)
        notes.append(f"* best on validation: {axes}; its test error is {error.text()} %.")
    if all(len(setting.test_error) < 2 for setting in sweep.settings):
        notes.append("One seed: no interval can be given. Repeat with --seeds 3 or more.")
    if unsuccessful := sum(setting.unsuccessful for setting in sweep.settings):
        notes.append(f"{unsuccessful} runs diverged or failed and are in no mean; see status in runs.csv.")
    return notes


def _mark(text: str, best: bool) -> str:
    return f"{text} *" if best else text


def _learned(row: Row) -> str:
    return axis_text(round(row["learned_p_drop"], 3))


def _difference_text(row: Row) -> str:
    if row["reference"]:
        return "reference"
    difference: Estimate = row["_difference"]
    return difference.text(signed=True)


def _axis_cell(axis: str) -> Any:
    def cell(row: Row) -> str:
        if axis in _OF_DROPOUT and not any(row[name] for name in _PROBABILITIES):
            return "–"  # with nothing dropped it is all of them
        return axis_text(row[axis], "all" if axis == "train_size" else "–")

    return cell


def axis_text(value: Any, empty: str = "–") -> str:
    """The value of an axis as people write it; ``empty`` where it has none."""
    if isinstance(value, str):
        return value or empty
    return empty if math.isnan(value) else f"{value:.12g}"


def sortable(value: Any) -> Any:
    """A key that sorts and compares an axis value; no training size means all of it, the most."""
    return math.inf if isinstance(value, float) and math.isnan(value) else value
