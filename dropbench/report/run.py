"""One run as a subject of a report, out of its result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dropbench.report.subject import Subject
from dropbench.report.table import Column, Row, Table
from dropbench.run.result import RunResult

_METRICS = {"error_percent": "error, %", "nll": "NLL, nats", "brier": "Brier", "ece": "ECE"}


@dataclass(frozen=True)
class RunSubject(Subject):
    """The metrics of a run, and what it took."""

    result: RunResult
    kind = "run"

    @property
    def tables(self) -> tuple[Table, ...]:
        """The metrics on validation and test; of a run that did not end well, its message alone."""
        metrics = self.result.metrics
        rows: tuple[Row, ...] = tuple(
            {"metric": name, "validation": metrics[f"val_{name}"], "test": metrics[f"test_{name}"]}
            for name in _METRICS
            if f"test_{name}" in metrics
        )
        columns = (
            Column("", lambda row: _METRICS[row["metric"]], left=True),
            Column("validation", lambda row: f"{row['validation']:.4f}"),
            Column("test", lambda row: f"{row['test']:.4f}"),
        )
        status, message = self.result.status, self.result.message
        verdict = (f"The run {status}: {message}.",) if status != "ok" else _in_words(rows)
        note = _cost(self.result.cost) if status == "ok" else ""
        notes = (note,) if note else ()
        return (Table("run", f"Run {self.result.config.run_id}", columns, rows, notes, verdict),)

    @property
    def run_ids(self) -> frozenset[str]:
        """The run alone."""
        return frozenset({self.result.config.run_id})


def _in_words(rows: Sequence[Row]) -> tuple[str, ...]:
    errors = [row for row in rows if row["metric"] == "error_percent"]
    return tuple(
        f"Test error {row['test']:.2f} %, validation error {row['validation']:.2f} %." for row in errors
    )


def _cost(cost: dict[str, Any]) -> str:
    memory = cost["peak_memory_bytes"]
    return (
        f"{cost['parameters']:,.0f} parameters; trained in {cost['train_seconds']:.1f} s at "
        f"{cost['images_per_second']:,.0f} images/s; {cost['seconds']:.1f} s in all"
        + (f"; peak memory {memory / 2**20:,.0f} MiB" if memory is not None else "")
    )
