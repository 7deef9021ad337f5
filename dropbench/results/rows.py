"""Converting a run's result to rows of the CSV files."""

from typing import Any

from dropbench.results.schema import SCHEMA_VERSION
from dropbench.run.result import RunResult


def run_row(result: RunResult, git_commit: str) -> dict[str, Any]:
    """Return the row of ``runs.csv`` for one run."""
    return {
        "run_id": result.config.run_id,
        "schema_version": SCHEMA_VERSION,
        "status": result.status,
        **result.config.row(),
        **result.metrics,
        **result.cost,
        **result.where,
        "git_commit": git_commit,
        "message": result.message,
    }


def epoch_rows(result: RunResult) -> list[dict[str, Any]]:
    """Return the rows of ``epochs.csv`` for one run."""
    return [
        {"run_id": result.config.run_id, "schema_version": SCHEMA_VERSION, **vars(record)}
        for record in result.epochs
    ]


def panel_rows(result: RunResult) -> list[dict[str, Any]]:
    """Return the rows of ``panel.csv`` for one run."""
    return [
        {"run_id": result.config.run_id, "schema_version": SCHEMA_VERSION, **vars(record)}
        for record in result.panel
    ]
