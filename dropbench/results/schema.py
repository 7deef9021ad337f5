"""The columns of the CSV files."""

from dataclasses import fields

from dropbench.results.csv_table import csv_table
from dropbench.run.config import SETTINGS, RunConfig
from dropbench.run.result import METRIC_NAMES, EpochRecord, PanelRecord

SCHEMA_VERSION = 1

_CONFIG_COLUMNS = tuple(RunConfig().row())
_CONFIG_TEXT = frozenset(each.name for each in SETTINGS.values() if not each.is_number)
# ``message`` is the last column, so a row that is cut off within it has lost nothing else and is kept.
RUNS = csv_table(
    "runs.csv",
    (
        "run_id",
        "schema_version",
        "status",
        *_CONFIG_COLUMNS,
        *(f"{split}_{metric}" for split in ("train", "val", "test") for metric in METRIC_NAMES),
        "learned_p_drop",
        "learned_p_drop_input",
        "learned_p_drop_conv",
        "learned_p_drop_head",
        "images_per_second",
        "seconds",
        "train_seconds",
        "compile_seconds",
        "steps",
        "overflowed_steps",
        "train_images",
        "distinct_train_images",
        "validation_images",
        "test_images",
        "last_epoch",
        "tested_epoch",
        "peak_memory_bytes",
        "parameters",
        "device",
        "device_name",
        "threads",
        "stacked",
        "torch_version",
        "dropbench_version",
        "git_commit",
        "started_at",
        "message",
    ),
    key=("run_id",),
    text={*_CONFIG_TEXT, "run_id", "status", "message"},
)

EPOCHS = csv_table(
    "epochs.csv",
    ("run_id", "schema_version", *(field.name for field in fields(EpochRecord))),
    key=("run_id", "epoch"),
    text={"run_id"},
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
    "test_coverage_error_scaled",
    "mean_member_squared_error",
    "squared_error_ambiguity",
    "oob_rmse",
)
"""The figures of an arm in comparisons.csv, besides the metrics on the test images."""

COMPARISONS = csv_table(
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
        *(f"test_{metric}" for metric in METRIC_NAMES),
        *COMPARISON_FIGURES,
        "member_run_ids",
        "member_started_at",
        "git_commit",
        "message",
    ),
    key=("comparison_id",),
    text={
        *_CONFIG_TEXT,
        "comparison_id",
        "experiment_id",
        "arm",
        "budget",
        "foreign",
        "averaging",
        "member_run_ids",
        "member_started_at",
        "message",
    },
)

DIFFERENCES = csv_table(
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
    text={
        "difference_id",
        "experiment_id",
        "arm",
        "reference",
        "loss",
        "seeds",
        "only_arm_right",
        "only_reference_right",
        "mcnemar_p",
    },
)

RELIABILITY = csv_table(
    "reliability.csv",
    ("comparison_id", "schema_version", "bin", "examples", "accuracy", "confidence"),
    key=("comparison_id", "bin"),
    text={"comparison_id"},
)

FINDS = csv_table(
    "finds.csv",
    (
        "row_id",
        "schema_version",
        "find_id",
        "place",
        "arm",
        "members",
        *_CONFIG_COLUMNS,
        "budget",
        "metric",
        "within",
        "within_share",
        "val_figure",
        "test_figure",
        "validation_images",
        "test_images",
        "train_flops",
        "prediction_flops",
        "passes_per_prediction",
        "in_code",
        "member_run_ids",
        "member_started_at",
        "git_commit",
        "message",
    ),
    key=("row_id",),
    text=_CONFIG_TEXT
    | {"row_id", "find_id", "arm", "budget", "metric", "in_code"}
    | {"member_run_ids", "member_started_at", "message"},
)

SPEED = csv_table(
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
    text={"speed_id", "item", "work", "contender", "unit", "values", "precision"},
)

CHECKS = csv_table(
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
    text={"verify_id", "check", "theory", "unit", "passed"},
)

PANEL = csv_table(
    "panel.csv",
    ("run_id", "schema_version", *(field.name for field in fields(PanelRecord))),
    key=("run_id", "measure", "layer", "at"),
    text={"run_id", "measure", "layer"},
)

PAPER_TOLD = (
    "experiment_id",
    "paper",
    "scale",
    "title",
    "shows",
    "source",
    "differs",
    "data",
    "precision",
    "axis",
    "measure",
    "unit",
)
"""Text columns of paper.csv that are the same in all rows of an experiment."""

PAPER = csv_table(
    "paper.csv",
    (
        "row_id",
        "schema_version",
        *PAPER_TOLD,
        "position",
        "arm",
        "x",
        "p_drop",
        "p_keep",
        "seed",
        "value",
        "paper_value",
        "paper_spread",
        "unverified",
        "against",
        "against_x",
        "paper_direction",
        "tune",
        "trial",
        "trials",
        "seeds_of_choice",
        "run_id",
        "trial_run_ids",
        "run_started_at",
        "git_commit",
    ),
    key=("row_id",),
    text={
        *PAPER_TOLD,
        "row_id",
        "arm",
        "unverified",
        "against",
        "paper_direction",
        "tune",
        "trial",
        "run_id",
        "trial_run_ids",
        "run_started_at",
    },
)

TABLES = (RUNS, EPOCHS, COMPARISONS, DIFFERENCES, RELIABILITY, FINDS, SPEED, CHECKS, PANEL, PAPER)
