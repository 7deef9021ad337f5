"""Columns of runs.csv that two trainings of one run may differ in."""

PASSING = {
    "images_per_second",
    "seconds",
    "train_seconds",
    "peak_memory_bytes",
    "started_at",
    "device_name",
}
