"""The columns of the CSV files."""

from dataclasses import dataclass, fields
from functools import cached_property

from dropbench.config import RunConfig
from dropbench.run_result import METRICS, EpochRecord, PanelRecord

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Table:
    """One CSV file: its name, all columns in order, those that hold text, and the key of a row."""

    file_name: str
    columns: tuple[str, ...]
    text_columns: frozenset[str]
    key: tuple[str, ...]

    @cached_property
    def number_columns(self) -> tuple[str, ...]:
        """The others."""
        return tuple(name for name in self.columns if name not in self.text_columns)


_CONFIG_COLUMNS = tuple(RunConfig().row())
_TEXT = frozenset(
    {
        "run_id",
        "status",
        "data",
        "data_key",
        "model",
        "layers",
        "activation",
        "convention",
        "dropout",
        "dropout_key",
        "model_key",
        "dropout_schedule",
        "tied",
        "measure",
        "layer",
        "learning_rate_schedule",
        "precision",
        "bootstrap",
        "device",
        "device_name",
        "torch_version",
        "dropbench_version",
        "git_commit",
        "started_at",
        "message",
        "thinned",
        "joint",
        "widened",
        "row_id",
        "paper",
        "scale",
        "title",
        "shows",
        "source",
        "differs",
        "axis",
        "unverified",
        "against",
        "paper_direction",
        "run_started_at",
        "comparison_id",
        "experiment_id",
        "arm",
        "budget",
        "foreign",
        "averaging",
        "member_run_ids",
        "member_started_at",
        "seeds",
        "difference_id",
        "reference",
        "loss",
        "only_arm_right",
        "only_reference_right",
        "mcnemar_p",
        "speed_id",
        "item",
        "work",
        "contender",
        "unit",
        "values",
        "verify_id",
        "check",
        "theory",
        "passed",
    }
)


def _table(file_name: str, columns: tuple[str, ...], key: tuple[str, ...]) -> Table:
    return Table(file_name, columns, _TEXT & frozenset(columns), key)


# ``message`` stands last: a row torn inside it has lost nothing else and is kept.
RUNS = _table(
    "runs.csv",
    (
        "run_id",
        "schema_version",
        "status",
        *_CONFIG_COLUMNS,
        *(f"{split}_{metric}" for split in ("val", "test") for metric in METRICS),
        "learned_p_drop",
        "learned_p_drop_input",
        "learned_p_drop_conv",
        "images_per_second",
        "seconds",
        "train_seconds",
        "compile_seconds",
        "steps",
        "train_images",
        "distinct_train_images",
        "peak_memory_bytes",
        "parameters",
        "device",
        "device_name",
        "threads",
        "torch_version",
        "dropbench_version",
        "git_commit",
        "started_at",
        "message",
    ),
    key=("run_id",),
)

EPOCHS = _table(
    "epochs.csv",
    ("run_id", "schema_version", *(field.name for field in fields(EpochRecord))),
    key=("run_id", "epoch"),
)

COMPARISON_FIGURES = (
    "temperature",
    "val_nll",
    "val_nll_scaled",
    "test_nll_scaled",
    "test_brier_scaled",
    "test_ece_scaled",
    "mean_member_error_percent",
    "mean_member_nll",
    "nll_ambiguity",
    "mean_member_brier",
    "brier_ambiguity",
    "disagreement_percent",
    "oob_error_percent",
    "distinct_train_percent",
    "foreign_auroc",
    "foreign_fpr95_percent",
    "train_seconds",
    "steps",
    "train_flops",
    "parameters",
    "passes_per_prediction",
    "prediction_flops",
)
"""Of an arm in one reading, beside the metrics."""

COMPARISONS = _table(
    "comparisons.csv",
    (
        "comparison_id",
        "schema_version",
        "experiment_id",
        "arm",
        "members",
        "budget",
        "foreign",
        "averaging",
        "averaged",
        "left_out",
        *_CONFIG_COLUMNS,
        *(f"test_{metric}" for metric in METRICS),
        *COMPARISON_FIGURES,
        "member_run_ids",
        "member_started_at",
        "git_commit",
        "message",
    ),
    key=("comparison_id",),
)

DIFFERENCES = _table(
    "differences.csv",
    (
        "difference_id",
        "schema_version",
        "experiment_id",
        "arm",
        "reference",
        "loss",
        "seeds",
        "test_images",
        "difference",
        "low",
        "high",
        "p_better",
        "only_arm_right",
        "only_reference_right",
        "mcnemar_p",
        "git_commit",
    ),
    key=("difference_id",),
)

RELIABILITY = _table(
    "reliability.csv",
    ("comparison_id", "schema_version", "bin", "examples", "accuracy", "confidence"),
    key=("comparison_id", "bin"),
)

SPEED = _table(
    "speed.csv",
    (
        "speed_id",
        "schema_version",
        "item",
        "work",
        "contender",
        "unit",
        "values",
        "device",
        "device_name",
        "cores",
        "precision",
        "torch_version",
        "dropbench_version",
        "git_commit",
        "started_at",
    ),
    key=("speed_id", "item", "work", "contender"),
)

CHECKS = _table(
    "checks.csv",
    (
        "verify_id",
        "schema_version",
        "check",
        "theory",
        "expected",
        "measured",
        "tolerance",
        "unit",
        "passed",
        "device_name",
        "torch_version",
        "dropbench_version",
        "git_commit",
        "started_at",
    ),
    key=("verify_id", "check"),
)

PANEL = _table(
    "panel.csv",
    ("run_id", "schema_version", *(field.name for field in fields(PanelRecord))),
    key=("run_id", "measure", "layer", "at"),
)

PAPER = _table(
    "paper.csv",
    (
        "row_id",
        "schema_version",
        "experiment_id",
        "paper",
        "scale",
        "title",
        "shows",
        "source",
        "differs",
        "data",
        "precision",
        "position",
        "arm",
        "axis",
        "x",
        "p_drop",
        "p_keep",
        "seed",
        "measure",
        "unit",
        "value",
        "paper_value",
        "paper_spread",
        "unverified",
        "against",
        "against_x",
        "paper_direction",
        "run_id",
        "run_started_at",
        "git_commit",
    ),
    key=("row_id",),
)

TABLES = (RUNS, EPOCHS, COMPARISONS, DIFFERENCES, RELIABILITY, SPEED, CHECKS, PANEL, PAPER)
