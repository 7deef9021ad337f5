"""One run as a subject of a report, out of its result."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dropbench.report.overflows import are_many
from dropbench.report.subject import Subject
from dropbench.report.table import Column, Row, Table, number
from dropbench.run.result import RunResult
from dropbench.run.telling import counted

SPLITS = {"train": "training", "val": "validation", "test": "test"}
METRICS = {
    "error_percent": "error, %",
    "rmse": "RMSE",
    "nll": "NLL, nats",
    "brier": "Brier",
    "ece": "ECE",
    "coverage_error": "coverage error",
    "reconstruction_error": "squared error of an image",
}


@dataclass(frozen=True)
class RunSubject(Subject):
    """The metrics of a run, and what it took."""

    result: RunResult
    kind = "run"

    @property
    def tables(self) -> tuple[Table, ...]:
        """The metrics of all splits with dropout off; of a run that did not end well, its message alone."""
        metrics = self.result.metrics
        rows: tuple[Row, ...] = tuple(
            {"metric": name, **{title: metrics[f"{split}_{name}"] for split, title in SPLITS.items()}}
            for name in METRICS
            if f"test_{name}" in metrics
        )
        regresses = "test_rmse" in metrics
        columns = (
            Column("", lambda row: METRICS[row["metric"]], left=True),
            # The root mean squared error is in the unit of the target, which may be of any size.
            *(Column(title, number(title, ".5g" if regresses else ".4f")) for title in SPLITS.values()),
        )
        status, message = self.result.status, self.result.message
        verdict = (f"The run {status}: {message}.",) if status != "ok" else _in_words(rows)
        notes = (
            (*_stop(self.result), *_skipped(self.result.cost), _cost(self.result.cost))
            if status == "ok"
            else ()
        )
        return (Table("run", f"Run {self.result.config.run_id}", columns, rows, notes, verdict),)

    @property
    def run_ids(self) -> frozenset[str]:
        """The run alone."""
        return frozenset({self.result.config.run_id})


def _in_words(rows: Sequence[Row]) -> tuple[str, ...]:
    """The error of a classifier, or the root mean squared error of a regression."""
    return tuple(
        f"Test {name} {row['test']:{form}}{unit}, validation {name} {row['validation']:{form}}{unit}, "
        f"training {name} {row['training']:{form}}{unit}, all with dropout off."
        for row in rows
        for metric, name, form, unit in (("error_percent", "error", ".2f", " %"), ("rmse", "RMSE", ".4g", ""))
        if row["metric"] == metric
    )


def _stop(result: RunResult) -> Iterator[str]:
    """When training ended, where that was decided by the validation loss."""
    patience, most = result.config.optimizer.patience, result.config.optimizer.epochs
    last, tested = result.cost["last_epoch"], result.cost["tested_epoch"]
    if patience is not None:
        ended = f"ended after epoch {last} of at most {most}" if last != most else f"took all {most} epochs"
        yield f"Training {ended}; the net of epoch {tested} is tested, which had the lowest validation loss."


def _skipped(cost: dict[str, Any]) -> Iterator[str]:
    """How many steps a run in fp16 skipped, and what helps where they are many."""
    if overflowed := cost.get("overflowed_steps"):
        steps = cost["steps"]
        many = " These are many: the net may train better in fp32." if are_many(overflowed, steps) else ""
        were = "was" if overflowed == 1 else "were"
        yield f"{overflowed:,} of {counted(steps, 'step')} overflowed in fp16 and {were} skipped.{many}"


def _cost(cost: dict[str, Any]) -> str:
    memory = cost["peak_memory_bytes"]
    return (
        f"{cost['parameters']:,.0f} parameters; trained in {cost['train_seconds']:.1f} s at "
        f"{cost['images_per_second']:,.0f} examples/s; {cost['seconds']:.1f} s in all"
        + (f"; peak memory {memory / 2**20:,.0f} MiB" if memory is not None else "")
    )
