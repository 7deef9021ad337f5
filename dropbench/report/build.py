"""From a results folder to its tables and pictures."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dropbench.errors import DropbenchError
from dropbench.report.bagging import Comparison, find_comparisons
from dropbench.report.bagging_tables import comparison_tables
from dropbench.report.checks import check_tables
from dropbench.report.features import feature_table
from dropbench.report.panel import Panel, find_panels, panel_tables
from dropbench.report.speed import speed_tables
from dropbench.report.sweep import Sweep, find_sweeps, sweep_table
from dropbench.report.table import Table
from dropbench.results.csv_file import Tell
from dropbench.results.read import read_table
from dropbench.results.schema import CHECKS, COMPARISONS, DIFFERENCES, PANEL, RELIABILITY, RUNS, SPEED


@dataclass(frozen=True)
class Report:
    """What a folder holds, ready to be shown."""

    tables: tuple[Table, ...]
    sweeps: tuple[Sweep, ...]
    panels: tuple[Panel, ...]
    features: tuple[Panel, ...]
    """Of autoencoders."""
    comparisons: tuple[Comparison, ...]
    folder: Path


def build_report(folder: Path, tell: Tell) -> Report:
    """The tables of everything in ``folder``, from its CSV files alone.

    The errors of runs that were only done as parts of a comparison stand in its table and in no other.

    Raises:
        DropbenchError: if there is no such folder or no run in it.

    """
    if not folder.is_dir():
        raise DropbenchError(f"There is no folder {folder}.", "Run one first: dropbench sweep --p 0.1..0.8")
    runs, comparisons = read_table(folder, RUNS, tell), read_table(folder, COMPARISONS, tell)
    speed, checks = read_table(folder, SPEED, tell), read_table(folder, CHECKS, tell)
    if runs.empty and speed.empty and checks.empty:
        raise DropbenchError(f"{folder} holds no runs.", "Run some first: dropbench sweep --p 0.1..0.8")
    parts = {run_id for ids in comparisons["member_run_ids"] for run_id in ids.split()}
    found = find_sweeps(runs)
    sweeps = [sweep for sweep in found if not sweep.reconstructs and not sweep.run_ids <= parts]
    measured = find_panels(read_table(folder, PANEL, tell), found)
    panels = [panel for panel in measured if not panel.sweep.reconstructs]
    features = [panel for panel in measured if panel.sweep.reconstructs]
    compared = _comparisons(folder, comparisons, tell)
    tables = [
        *(sweep_table(sweep) for sweep in sweeps),
        *(table for panel in panels for table in panel_tables(panel)),
        *(feature_table(panel) for panel in features),
        *(table for comparison in compared for table in comparison_tables(comparison)),
        *_speed(speed),
        *_checks(checks),
    ]
    return Report(tuple(tables), tuple(sweeps), tuple(panels), tuple(features), tuple(compared), folder)


def sweeps_of(folder: Path, run_ids: Collection[str], tell: Tell) -> list[Sweep]:
    """The sweeps that the runs with these ids make up."""
    runs = read_table(folder, RUNS, tell)
    return find_sweeps(runs[runs["run_id"].isin(run_ids)])


def panels_of(folder: Path, sweeps: Collection[Sweep], tell: Tell) -> list[Panel]:
    """The panels of these sweeps' runs."""
    return find_panels(read_table(folder, PANEL, tell), sweeps)


def comparisons_of(folder: Path, comparison_ids: Collection[str], tell: Tell) -> list[Comparison]:
    """The comparisons that the rows with these ids make up."""
    comparisons = read_table(folder, COMPARISONS, tell)
    return _comparisons(folder, comparisons[comparisons["comparison_id"].isin(comparison_ids)], tell)


def speed_of(folder: Path, speed_id: str, tell: Tell) -> list[Table]:
    """The table of one session of speed measurements."""
    speed = read_table(folder, SPEED, tell)
    return _speed(speed[speed["speed_id"] == speed_id])


def checks_of(folder: Path, verify_id: str, tell: Tell) -> list[Table]:
    """The table of the checks that were made at one time."""
    checks = read_table(folder, CHECKS, tell)
    return _checks(checks[checks["verify_id"] == verify_id])


def _comparisons(folder: Path, comparisons: pd.DataFrame, tell: Tell) -> list[Comparison]:
    if comparisons.empty:
        return []
    return find_comparisons(
        comparisons, read_table(folder, DIFFERENCES, tell), read_table(folder, RELIABILITY, tell)
    )


def _speed(speed: pd.DataFrame) -> list[Table]:
    return speed_tables(speed) if not speed.empty else []


def _checks(checks: pd.DataFrame) -> list[Table]:
    return check_tables(checks) if not checks.empty else []
