"""The arms against the number of members, and Monte-Carlo dropout against the number of thinned nets."""

import math
from collections.abc import Sequence
from typing import Any

from dropbench.catalog.arms import ARMS, AVERAGINGS, REFERENCE
from dropbench.report.comparison.comparison import Comparison, by_seed
from dropbench.report.table import NONE, Column, Row, Table, number
from dropbench.results.schema import COMPARISON_FIGURES

SCALED = tuple(name for name in COMPARISON_FIGURES if name.endswith("_scaled"))
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
        *_reading_columns(comparison),
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
    metric = comparison.metric
    reference = comparison.by_seed(REFERENCE)
    for row in rows:
        ours = row["_by_seed"]
        differences = [ours[seed] - reference[seed] for seed in ours.keys() & reference.keys()]
        row.update(_spread_cells("difference_to_weight_scaling", differences))
    columns = (
        Column("thinned\nnets", lambda row: f"{row['passes_per_prediction']:.0f}"),
        *_reading_columns(comparison),
        Column(
            f"{metric.what} − weight scaling's\n(lowest to highest)",
            lambda row: _spread(row, "difference_to_weight_scaling", f"+.{metric.digits}f"),
        ),
    )
    notes = ("The difference is that of the arithmetic mean, as in Fig. 11 of the 2014 paper.", _OVER_SEEDS)
    return [
        Table("against-passes", f"Monte-Carlo against weight scaling: {title}", columns, tuple(rows), notes)
    ]


def _reading_columns(comparison: Comparison) -> tuple[Column, ...]:
    metric, calibration = comparison.metric, comparison.calibration
    column, form = f"test_{metric.column}", f".{metric.digits}f"
    return (
        Column("seeds", lambda row: str(row["seeds"])),
        Column(f"test {metric.label}\n(lowest to highest)", lambda row: _spread(row, column, form)),
        Column(f"{metric.what},\ngeometric", number(f"geometric_{column}", form)),
        Column("NLL", number("test_nll", ".3f")),
        Column("NLL,\ngeometric", number("geometric_test_nll", ".3f")),
        Column("NLL\nscaled", number("test_nll_scaled", ".3f")),
        Column(calibration.label.replace(" ", "\n"), number(f"test_{calibration.column}", ".3f")),
    )


def _readings(comparison: Comparison, arm: str, size: str) -> list[dict[str, Any]]:
    """A row for each number of members or passes, with both averages."""
    column = f"test_{comparison.metric.column}"
    arithmetic, geometric = (
        dict(iter(comparison.readings(arm, averaging).groupby(size))) for averaging in AVERAGINGS
    )
    rows = []
    for count, group in arithmetic.items():
        errors = by_seed(group, column)
        other = geometric.get(count)
        rows.append(
            {
                size: count,
                "seeds": len(errors),
                **_spread_cells(column, list(errors.values())),
                **{
                    name: float(group[name].mean(skipna=name not in SCALED))
                    for name in ("test_nll", "test_nll_scaled", f"test_{comparison.calibration.column}")
                },
                **{
                    f"geometric_{name}": math.nan if other is None else float(other[name].mean())
                    for name in (column, "test_nll")
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
