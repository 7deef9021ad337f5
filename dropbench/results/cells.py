"""The cells that a column of the CSV files may have: a damaged one costs its own row, and no report."""

import functools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dropbench.catalog.arms import ARMS, AVERAGINGS, BUDGETS
from dropbench.results.csv_table import CsvTable
from dropbench.results.schema import (
    CHECKS,
    COMPARISONS,
    DIFFERENCES,
    EPOCHS,
    FINDS,
    PANEL,
    PAPER,
    RELIABILITY,
    RUNS,
    SPEED,
)
from dropbench.run.config import SETTINGS
from dropbench.run.result import METRIC_NAMES, STATUSES
from dropbench.run.setting import COUNT, NOT_NEGATIVE, Range

_LONGEST = 40
_WHOLE_PERCENT = Range(least=0, below=math.nextafter(100, math.inf))
_SHARE = Range(least=0, below=math.nextafter(1, math.inf))
_FINITE = Range()

_RANGES: dict[str, Range] = {
    "p_keep": Range(above=0, below=math.nextafter(1, math.inf)),
    "brier": Range(least=0, below=math.nextafter(2, math.inf)),
    "ece": _SHARE,
    "nll": _FINITE,
    "reconstruction_error": NOT_NEGATIVE,
    "rmse": NOT_NEGATIVE,
    "coverage_error": _FINITE,
    **dict.fromkeys(("learned_p_drop", "foreign_auroc", "p_better", "accuracy", "confidence"), _SHARE),
    **dict.fromkeys(("images_per_second", "seconds", "train_seconds", "compile_seconds"), NOT_NEGATIVE),
    **dict.fromkeys(
        (
            "temperature",
            "train_flops",
            "prediction_flops",
            "examples",
            "steps",
            "parameters",
            "within",
            "within_share",
        ),
        NOT_NEGATIVE,
    ),
}
"""The numbers of a column, by its name or the end of it after ``train_``, ``val_``, ``test_`` or ``oob_``."""
_WHOLE: dict[str, Range] = {
    **dict.fromkeys(("epoch", "members", "averaged", "cores", "threads", "stacked", "trials"), COUNT),
    "seeds_of_choice": COUNT,
    **dict.fromkeys(("train_images", "distinct_train_images", "validation_images"), NOT_NEGATIVE),
    **dict.fromkeys(("test_images", "last_epoch", "tested_epoch"), NOT_NEGATIVE),
    **dict.fromkeys(("peak_memory_bytes", "left_out", "bin", "examples", "position", "place"), NOT_NEGATIVE),
}
"""The same of columns with whole numbers."""
_MAY_BE_INFINITE = frozenset({"train_loss", "val_loss", "expected", "measured"})
_LATER = frozenset({"pieces", "widened", "l1", "kl_sparsity", "sparsity_target"})
"""Settings of version 0.1 that its first rows lack: an empty cell is the default."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The form of a name of a run, and of a file of it: never a path."""
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|nan|inf)"
_PATTERNS: dict[str, re.Pattern[str]] = {
    **dict.fromkeys(("run_id", "comparison_id", "experiment_id", "difference_id", "find_id"), _ID),
    **dict.fromkeys(("speed_id", "verify_id", "row_id"), _ID),
    **dict.fromkeys(("member_run_ids", "trial_run_ids"), re.compile(rf"({_ID.pattern}( |$))*")),
    **dict.fromkeys(("values", "mcnemar_p"), re.compile(rf"{_NUMBER}( {_NUMBER})*")),
    **dict.fromkeys(("seeds", "only_arm_right", "only_reference_right"), re.compile(r"\d{1,18}( \d{1,18})*")),
    "status": re.compile("|".join(STATUSES)),
}
_OF_COMPARISONS = {
    "arm": re.compile("|".join(ARMS)),
    "budget": re.compile("|".join(BUDGETS)),
    "averaging": re.compile("|".join(AVERAGINGS)),
}
_OF_FINDS = {
    "arm": _OF_COMPARISONS["arm"],
    "metric": re.compile("error|nll|brier|ece|rmse|coverage"),  # dropbench.report.metrics, which stands above
}
_NEEDED: dict[CsvTable, frozenset[str]] = {
    RUNS: frozenset({"run_id", "status"}),
    EPOCHS: frozenset({"run_id", "epoch"}),
    COMPARISONS: frozenset({"comparison_id", "arm", "members"}),
    DIFFERENCES: frozenset({"difference_id", "experiment_id", "arm", "loss"}),
    RELIABILITY: frozenset({"comparison_id", "bin", "examples"}),
    SPEED: frozenset({"speed_id", "item", "work", "contender", "unit", "values"}),
    CHECKS: frozenset({"verify_id", "check", "expected", "measured", "tolerance", "passed"}),
    PANEL: frozenset({"run_id", "measure", "at"}),
    PAPER: frozenset({"row_id", "experiment_id"}),
    FINDS: frozenset({"row_id", "find_id", "place", "metric", "within", "within_share"}),
}
"""The columns of each table, beside settings, that are never empty."""
_OF_TASK = {"classification": "error_percent", "regression": "rmse"}
"""The metric on the test examples that a run which ended well has."""
Check = Callable[[str], str]
"""Returns what is wrong with a cell, or nothing."""


@dataclass(frozen=True)
class _Number:
    """The check of a cell that holds a number."""

    range: Range | None
    whole: bool
    needed: bool

    def __call__(self, cell: str) -> str:
        if not cell:
            return "is empty" if self.needed else ""
        try:
            value = float(cell)
        except ValueError:
            return f"is {_short(cell)}, no number"
        if math.isnan(value):
            return "is no number" if self.needed else ""
        if self.whole and not value.is_integer():
            return f"is {_short(cell)}, no whole number"
        if self.range is not None and not self.range.holds(value):
            return f"is {_short(cell)}, out of its range"
        return ""


@dataclass(frozen=True)
class _Text:
    """The check of a cell that holds text of certain forms."""

    allowed: Callable[[str], object]
    needed: bool

    def __call__(self, cell: str) -> str:
        if not cell:
            return "is empty" if self.needed else ""
        return "" if self.allowed(cell) else f"is {_short(cell)}"


def fault_of(cells: Mapping[str, str], table: CsvTable) -> str:
    """Return what is wrong with a row of a table, and in which column; empty for a row that may be used."""
    for name, check in checks_of(table).items():
        # A column that the file lacks was not written yet.
        if name in cells and (told := check(cells[name])):
            return f"its {name} {told}"
    if (
        table is PANEL
        and cells["measure"] == "units"
        and not re.fullmatch(r"\d{1,9}", cells.get("layer", ""))
    ):
        return f"its layer is {_short(cells.get('layer', ''))}, no number"
    if table is RUNS and cells.get("status") == "ok":
        task = cells.get("task") or SETTINGS["task"].default
        metric = "reconstruction_error" if cells.get("model") == "autoencoder" else _OF_TASK[task]
        measured = any(cells.get(f"test_{other}") for other in METRIC_NAMES)  # else none was written
        if measured and cells.get(name := f"test_{metric}", "-") in ("", "nan"):
            return f"its {name} is empty"
    return ""


@functools.cache
def checks_of(table: CsvTable) -> dict[str, Check]:
    """Return the checks of the columns of a table that have one."""
    found = {name: _check(name, table) for name in table.columns if name != "schema_version"}
    return {name: check for name, check in found.items() if check is not None}


def _check(name: str, table: CsvTable) -> Check | None:
    setting = SETTINGS.get(name)
    of_run = setting is not None and table in (RUNS, COMPARISONS, FINDS)
    needed = name in _NEEDED[table]
    if setting is not None and of_run:
        optional = setting.since != "0.1" or name in _LATER or setting.type in (int | None, float | None)
        needed = setting.is_number and not optional
        if setting.choices and not setting.open_ended:
            return _Text(frozenset(setting.choices).__contains__, not optional)
        if setting.type is bool:
            return _Text(("True", "False").__contains__, not optional)
        if setting.type == tuple[int, ...]:
            return _Text(re.compile(r"\d{1,9}(,\d{1,9})*").fullmatch, False)
        if name in ("data", "model", "dropout"):
            return _Text(bool, True)
    if name in table.number_columns:
        end = re.sub(rf"^(train|val|test|oob|mean_member)_(?={'|'.join(METRIC_NAMES)})|_scaled$", "", name)
        by_name = (
            _RANGES.get(name) or _RANGES.get(end) or (_WHOLE_PERCENT if end.endswith("percent") else None)
        )
        own = setting.range if setting is not None else None
        whole = _WHOLE.get(name)
        is_whole = whole is not None or (setting is not None and setting.type in (int, int | None))
        limits = None if name in _MAY_BE_INFINITE else own or whole or by_name or _FINITE
        return _Number(limits, is_whole, needed)
    words = _OF_FINDS if table is FINDS else _OF_COMPARISONS if table in (COMPARISONS, DIFFERENCES) else {}
    patterns = _PATTERNS | words
    if name in patterns:
        return _Text(patterns[name].fullmatch, needed)
    return _Text(bool, True) if needed else None


def _short(cell: str) -> str:
    return repr(cell if len(cell) <= _LONGEST else f"{cell[:_LONGEST]}…")


def as_read(row: Mapping[str, Any], table: CsvTable) -> dict[str, Any]:
    """Return a row that is to be written as a reader of the file has it."""
    return typed({name: "" if cell is None else str(cell) for name, cell in row.items()}, table)


def typed(cells: Mapping[str, str], table: CsvTable) -> dict[str, Any]:
    """Return the cells of a row without a fault in their types: numbers as floats, an empty one as NaN."""
    row: dict[str, Any] = {name: cells.get(name, "") for name in table.text_columns}
    for name in table.number_columns:
        cell = cells.get(name)
        row[name] = float(cell) if cell else math.nan
    return row
