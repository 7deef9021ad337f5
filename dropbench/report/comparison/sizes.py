"""The arms against the number of members, and Monte-Carlo dropout against the number of thinned nets."""

import math
from collections.abc import Sequence
from typing import Any

from dropbench.catalog.arms import ARMS, AVERAGINGS, REFERENCE
from dropbench.report.comparison.comparison import Comparison, by_seed
from dropbench.report.table import NONE, Column, Row, Table, number

SCALED = ("test_nll_scaled", "test_brier_scaled", "test_ece_scaled", "val_nll_scaled")
"""Figures that have a mean only where every seed has a temperature: those of other seeds are no match."""
_OVER_SEEDS = "In brackets the lowest and the highest of the seeds."


def against_members(comparison: Comparison, title: str) -> list[Table]:
    """A row for each arm and number of members; no table where no arm has several."""
    rows = [
        {"arm": arm, "_name": ARMS[arm].title, **cells}
        for arm in comparison.arms
        if ARMS[arm].is_ensemble
        for cells in _thinned_out(_readings(comparison, arm, "averaged"))
    ]
    if not rows:
        return []
    columns = (
        Column("arm", lambda row: str(row["_name"]), left=True),
        Column("mem-\nbers", lambda row: f"{row['averaged']:.0f}"),
        *_reading_columns(),
    )
    heading = f"Against the number of members: {title}"
    return [Table("against-members", heading, columns, tuple(rows), (_OVER_SEEDS,), lead=2)]


def against_passes(comparison: Comparison, title: str) -> list[Table]:
    """A row for each number of thinned nets, beside weight scaling; no table without that arm."""
    arms = [arm for arm in comparison.arms if ARMS[arm].monte_carlo]
    rows = [
        {"arm": arm, **cells} for arm in arms for cells in _readings(comparison, arm, "passes_per_prediction")
    ]
    if not rows:
        return []
    reference = by_seed(comparison.fullest(REFERENCE), "test_error_percent")
    for row in rows:
        ours = row["_by_seed"]
        differences = [ours[seed] - reference[seed] for seed in ours.keys() & reference.keys()]
        row.update(_spread_cells("difference_to_weight_scaling", differences))
    columns = (
        Column("thinned\nnets", lambda row: f"{row['passes_per_prediction']:.0f}"),
        *_reading_columns(),
        Column(
            "error − weight scaling's\n(lowest to highest)",
            lambda row: _spread(row, "difference_to_weight_scaling", "+.2f"),
        ),
    )
    notes = ("As in Fig. 11 of the 2014 paper; the difference is that of the arithmetic mean.", _OVER_SEEDS)
    return [
        Table("against-passes", f"Monte-Carlo against weight scaling: {title}", columns, tuple(rows), notes)
    ]


def _reading_columns() -> tuple[Column, ...]:
    return (
        Column("seeds", lambda row: str(row["seeds"])),
        Column("test error, %\n(lowest to highest)", lambda row: _spread(row, "test_error_percent", ".2f")),
        Column("error,\ngeometric", number("geometric_test_error_percent", ".2f")),
        Column("NLL", number("test_nll", ".3f")),
        Column("NLL,\ngeometric", number("geometric_test_nll", ".3f")),
        Column("NLL\nscaled", number("test_nll_scaled", ".3f")),
        Column("ECE", number("test_ece", ".3f")),
    )


def _readings(comparison: Comparison, arm: str, size: str) -> list[dict[str, Any]]:
    """A row for each number of members or passes, with both averages."""
    arithmetic, geometric = (
        dict(iter(comparison.readings(arm, averaging).groupby(size))) for averaging in AVERAGINGS
    )
    rows = []
    for count, group in arithmetic.items():
        errors = by_seed(group, "test_error_percent")
        other = geometric.get(count)
        rows.append(
            {
                size: count,
                "seeds": len(errors),
                **_spread_cells("test_error_percent", list(errors.values())),
                **{
                    name: float(group[name].mean(skipna=name not in SCALED))
                    for name in ("test_nll", "test_nll_scaled", "test_ece")
                },
                **{
                    f"geometric_{name}": math.nan if other is None else float(other[name].mean())
                    for name in ("test_error_percent", "test_nll")
                },
                "_by_seed": errors,
            }
        )
    return rows


def _thinned_out(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Up to ten members every number, then every tenth, and the last: the CSV has all."""
    return [row for row in rows if row["averaged"] <= 10 or row["averaged"] % 10 == 0 or row is rows[-1]]


def _spread_cells(name: str, values: Sequence[float]) -> dict[str, float]:
    """Mean, lowest and highest; NaN without values."""
    if not values:
        return dict.fromkeys((name, f"{name}_lowest", f"{name}_highest"), math.nan)
    mean = sum(values) / len(values)
    return {name: mean, f"{name}_lowest": min(values), f"{name}_highest": max(values)}


def _spread(row: Row, name: str, form: str) -> str:
    mean, low, high = (row[each] for each in (name, f"{name}_lowest", f"{name}_highest"))
    if math.isnan(mean):
        return NONE
    return f"{mean:{form}}" if row["seeds"] < 2 else f"{mean:{form}} ({low:{form}} to {high:{form}})"
