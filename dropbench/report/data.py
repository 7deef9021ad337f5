"""Tables of a data set: its examples, and its classes or the numbers to predict."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from dropbench.datasets.dataset import DataSet
from dropbench.report.table import Column, Row, Table, number
from dropbench.run.telling import counted

MOST_ROWS = 20
"""Classes, or columns, that are shown of many."""
_SPLITS = ("training", "validation", "test")


def data_tables(data: DataSet, whole: bool = False) -> list[Table]:
    """Return the tables of a data set: all of it, and its classes or targets, and of a table the columns.

    Unless ``whole``, they are shortened to MOST_ROWS rows, and the data set's notes, which were logged, are
    left out.
    """
    targets = _targets(data)
    tables = [_examples(data, targets, whole)]
    tables.append(_classes(data, targets) if data.classes else _numbers(data, targets))
    if data.columns:
        tables.append(_columns(data))
    return tables if whole else [_shortened(table) for table in tables]


def _targets(data: DataSet) -> dict[str, np.ndarray]:
    """The targets of each split; the last training examples may be a validation split."""
    trained = len(data.train_targets) - data.validation
    parts = (data.train_targets[:trained], data.train_targets[trained:], data.test_targets)
    return {name: targets for name, targets in zip(_SPLITS, parts, strict=True) if len(targets)}


def _examples(data: DataSet, targets: dict[str, np.ndarray], whole: bool) -> Table:
    row: dict[str, Any] = {
        "data": data.name,
        "inputs": data.inputs,
        "task": data.task,
        **{name: len(of_split) for name, of_split in targets.items()},
        "shape": "×".join(map(str, data.input_shape)),
        "outputs": data.outputs,
        "data_key": data.key,
    }
    if data.columns:
        of_net = counted(data.input_shape[0], "feature")
        inputs = f"{counted(len(data.columns), 'column')}, for a net {of_net}"
    else:
        channels, height, width = data.input_shape
        inputs = f"{height}×{width}, {counted(channels, 'channel')}"
    target = f"{len(data.classes):,} classes" if data.classes else "a number"
    columns = (
        *(Column(f"{name} {data.noun}", _whole(name)) for name in targets),
        Column("shape", lambda row: inputs, left=True),
        Column("target", lambda row: target, left=True),
    )
    return Table("data", data.name, columns, (row,), data.notes if whole else ())


def _classes(data: DataSet, targets: dict[str, np.ndarray]) -> Table:
    counts = {name: np.bincount(of, minlength=len(data.classes)) for name, of in targets.items()}
    rows = tuple(
        {"class": label, **{name: int(of[place]) for name, of in counts.items()}}
        for place, label in enumerate(data.classes)
    )
    columns = (
        Column("class", lambda row: str(row["class"]), left=True),
        *(Column(name, _whole(name)) for name in targets),
    )
    return Table("classes", f"Classes, by their number of {data.noun}", columns, rows)


def _numbers(data: DataSet, targets: dict[str, np.ndarray]) -> Table:
    rows = tuple(
        {
            "split": name,
            "least": float(of.min()),
            "most": float(of.max()),
            "mean": float(of.mean(dtype=np.float64)),
            "deviation": float(of.std(dtype=np.float64)),
        }
        for name, of in targets.items()
    )
    columns = (
        Column("split", lambda row: str(row["split"]), left=True),
        *(Column(name, number(name, ".6g")) for name in ("least", "most", "mean", "deviation")),
    )
    return Table("target", "The number to predict", columns, rows)


def _columns(data: DataSet) -> Table:
    missing = sum(np.isnan(cells).sum(axis=0) for cells in (data.train_inputs, data.test_inputs))
    rows = tuple(
        {
            "column": column.name,
            "kind": "categories" if column.categories else "numbers",
            "categories": len(column.categories) or math.nan,
            "missing": int(missing[place]),
        }
        for place, column in enumerate(data.columns)
    )
    shown = (
        Column("column", lambda row: str(row["column"]), left=True),
        Column("holds", _kind, left=True),
        Column("missing", _whole("missing")),
    )
    return Table("columns", "Columns, by what they hold", shown, rows)


def _kind(row: Row) -> str:
    return "numbers" if row["kind"] == "numbers" else f"{row['categories']:,} categories"


def _whole(name: str) -> Callable[[Row], str]:
    """The text of a whole number of a row."""
    return lambda row: f"{row[name]:,}"


def _shortened(table: Table) -> Table:
    """The table with its first rows, and a note on the others."""
    left = table.rows[MOST_ROWS:]
    if not left:
        return table
    counts = [
        f"{_range([row[name] for row in left])} {name}"
        for name in _SPLITS
        if all(name in row for row in left)
    ]
    note = f"… and {len(left):,} more{', with ' * bool(counts)}{', '.join(counts)}{' each' * bool(counts)}."
    return replace(table, rows=table.rows[:MOST_ROWS], notes=(note, *table.notes))


def _range(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
