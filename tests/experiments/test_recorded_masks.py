"""Runs whose masks were drawn by torch's generators: shown, never mixed with others, never trained."""

import csv
from pathlib import Path

import pytest
import torch
from experiments.quiet import MLP, Quiet

import dropbench
from dropbench.engine.train import train
from dropbench.errors import UsageError
from dropbench.experiments.sweep import expand
from dropbench.experiments.workbench import Workbench, carry_out
from dropbench.report.diff import diff_tables
from dropbench.report.folder import Choice
from dropbench.report.sweep.command import sweep_commands
from dropbench.report.sweep.find import find_sweeps
from dropbench.report.sweep.sweep import sweep_title
from dropbench.results.read import read_table
from dropbench.results.schema import RUNS
from dropbench.results.store import Store
from dropbench.run import telling
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine

RECORDED = Path(dropbench.__file__).parents[1] / "results" / "mnist5k-sweep"
OLD, HINT = "mt19937", "masks by mt19937"


@pytest.fixture
def bench(blobs):
    return Workbench(blobs, torch.device("cpu"), "fp32", Machine(jobs=1, threads=1))


def record(folder: Path, bench: Workbench, configs: list[RunConfig]) -> None:
    """Rows as an older dropbench wrote them: without the column, under the run_ids of then."""
    carry_out(configs, bench, Store(folder), Quiet())
    old_ids = {config.run_id: config.replace(random_numbers=OLD).run_id for config in configs}
    path = folder / RUNS.file_name
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row.pop("random_numbers") for row in rows} == {"philox"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "run_id": old_ids[row["run_id"]]} for row in rows)


def test_a_sweep_into_a_recorded_folder_trains_what_drops_units_anew_and_keeps_the_reference(bench, tmp_path):
    configs = bench.bind(expand(MLP.told, {"p_drop": (0.2, 0.5)}, seeds=2))
    record(tmp_path, bench, configs)
    recorded = find_sweeps(read_table(tmp_path, RUNS))
    outcome = carry_out(configs, bench, Store(tmp_path), Quiet())
    assert {config.dropout.p_drop for config in outcome.skipped} == {0.0}
    assert sorted(result.config.dropout.p_drop for result in outcome.ok) == [0.2, 0.2, 0.5, 0.5]
    old, new = find_sweeps(read_table(tmp_path, RUNS))
    assert [sweep.fields["random_numbers"] for sweep in (old, new)] == [OLD, "philox"]
    assert repr(old) == repr(recorded[0]), "NaN is not itself"
    assert len(recorded) == 1
    for sweep in (old, new):
        assert [setting.axes["p_drop"] for setting in sweep.settings] == [0, 0.2, 0.5]
        assert all(sweep.reference(setting) is sweep.settings[0] for setting in sweep.settings)
    assert repr(old.settings[0]) == repr(new.settings[0])
    assert not (old.run_ids & new.run_ids) - set(old.settings[0].run_ids.values())
    assert sweep_title(old) == sweep_title(new).replace(", 2 epochs", f", {HINT}, 2 epochs")
    assert HINT not in sweep_title(new)


def test_a_folder_without_dropout_has_one_table_which_says_nothing_of_masks(bench, tmp_path):
    record(tmp_path, bench, bench.bind(expand(MLP.told, {"p_drop": (0.0,)}, seeds=2)))
    (sweep,) = find_sweeps(read_table(tmp_path, RUNS))
    assert HINT not in sweep_title(sweep)


def test_recorded_tables_are_as_they_were_but_for_the_title():
    (sweep,) = find_sweeps(read_table(RECORDED, RUNS))
    assert [setting.axes["p_drop"] for setting in sweep.settings] == [p / 10 for p in range(9)]
    assert {len(setting.run_ids) for setting in sweep.settings} == {3}
    assert sweep_title(sweep).startswith(f"lecture-cnn on mnist5k, {HINT}, 10 epochs")
    assert not any("mt19937" in command for command in sweep_commands(sweep)), "no flag draws so"


def test_recorded_runs_and_those_of_today_are_compared_side_by_side(bench, tmp_path):
    configs = bench.bind(expand(MLP.told, {"p_drop": (0.5,)}, seeds=2))
    record(tmp_path / "old", bench, configs)
    carry_out(configs, bench, Store(tmp_path / "new"), Quiet())
    (table,), worse = diff_tables(tmp_path / "old", tmp_path / "new", Choice())
    assert [row["p_drop"] for row in table.rows] == [0, 0.5]
    assert not worse
    assert [note for note in table.notes if "1 of the settings" in note and "another generator" in note]
    (same,), _ = diff_tables(tmp_path / "new", tmp_path / "new", Choice())
    assert not [note for note in same.notes if "another generator" in note]


def test_noise_is_no_longer_drawn_by_torchs_generators(blobs):
    with pytest.raises(UsageError, match="`random_numbers` mt19937"):
        train(MLP.replace(p_drop=0.5, random_numbers=OLD), blobs)
    without = train(MLP.replace(random_numbers=OLD), blobs)
    assert without.config.run_id == MLP.run_id
    assert without.metrics == train(MLP, blobs).metrics


def test_what_is_told_nothing_draws_by_counter():
    assert RunConfig().dropout.random_numbers == "philox"
    assert RunConfig(p_drop=0.5).identity()["random_numbers"] == "philox"
    assert telling.usual("random_numbers", "mlp", "images") == "philox"
