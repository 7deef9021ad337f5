"""A setting is declared once, and everything that follows from the declaration does follow."""

import csv
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dropbench.catalog.models import OF_OPTIMIZER
from dropbench.errors import UsageError
from dropbench.report.sweep.find import find_sweeps
from dropbench.report.sweep.sweep import AXES, SETTING
from dropbench.results.schema import RUNS
from dropbench.run import telling
from dropbench.run.config import BLOCKS, SETTINGS, RunConfig, find_setting
from dropbench.run.machine import Machine, Policy
from dropbench.run.setting import Block, setting, settings_of
from dropbench.run.telling import counted, planned

RECORDED = sorted((Path(__file__).parents[2] / "results").rglob("runs.csv"))
DECLARED = [*SETTINGS.values(), *settings_of(Machine), *settings_of(Policy)]


def test_a_field_that_says_nothing_of_itself_is_refused():
    @dataclass(frozen=True, kw_only=True)
    class Silent(Block):
        told: int = setting(1, help="Told.")
        silent: int = 2

    with pytest.raises(TypeError, match="silent"):
        settings_of(Silent)
    with pytest.raises(TypeError):
        setting(1)  # without help


@pytest.mark.parametrize("each", DECLARED, ids=lambda each: each.name)
def test_every_declaration_is_whole(each):
    assert each.help[0].isupper() or each.help.split()[0].rstrip(":") in each.choices
    assert each.help.endswith(".")
    assert bool(each.flag) == bool(each.panel)
    assert not each.axis or each.groups
    assert each.default in (None, *each.choices) or not each.choices
    if not each.from_recipe:
        each.check(each.default)


def test_names_flags_and_axes_are_told_apart():
    for found in (
        [each.name for each in SETTINGS.values()],
        [each.flag for each in DECLARED if each.flag],
        [each.axis for each in SETTINGS.values() if each.axis],
    ):
        assert len(found) == len(set(found))
    assert {find_setting(each.flag.removeprefix("--")) for each in SETTINGS.values() if each.flag} == {
        each for each in SETTINGS.values() if each.flag
    }


def test_every_setting_parts_runs_or_says_that_it_does_not():
    """One in neither list would merge runs that differ in it, the second error replacing the first."""
    assert {*AXES, *SETTING} == {name for name, each in SETTINGS.items() if each.groups}
    assert set(SETTINGS) - {*AXES, *SETTING} == {"seed", "member", "bootstrap", "mc_samples"}
    assert set(SETTINGS) <= set(RUNS.columns)


def test_a_new_setting_is_a_column_a_group_a_flag_and_a_title(monkeypatch):
    """What the declaration alone gives: nothing else in the package names the setting."""
    declared = setting(0.0, help="Noise.", flag="--noise", panel="Training", words="noise {}")
    noise = declared.metadata["setting"]
    each = replace(noise, name="noise", attribute="noise", type=float, title="noise")
    monkeypatch.setitem(SETTINGS, "noise", each)
    values = {**RunConfig().settings(), "noise": 0.25}
    assert telling.title(values, ["noise"]).endswith("noise 0.25")
    assert telling.title({**values, "noise": 0.0}, ["noise"]) == telling.title(values, [])
    assert each.value(each.read_back(0.25)) == 0.25


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.parent.name)
def test_recorded_runs_keep_their_run_id(path):
    """Every row ever recorded: the settings in its cells name the same run, by way of blocks and back."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        told = {}
        for name, each in SETTINGS.items():
            if cell := row.get(name, ""):
                told[name] = each.value(float(cell) if each.is_number else cell)
            elif each.from_recipe or each.today:  # a column younger than the file: runs had the default
                told[name] = each.default
        run = RunConfig(**told)
        assert run.run_id == row["run_id"], row
        assert RunConfig(**run.settings()) == run


def test_one_is_said_in_the_singular_and_thousands_are_parted():
    said = [SETTINGS["epochs"].said(n) for n in (1, 2)] + [SETTINGS["train_size"].said(1)]
    assert said == ["1 epoch", "2 epochs", "1 training example"]
    assert SETTINGS["p_drop"].said(0.5) == "p_drop 0.5"
    assert [counted(n, "run") for n in (0, 1, 1000)] == ["0 runs", "1 run", "1,000 runs"]
    assert planned(0, 1, 0) == "0 runs to do, 1 done before"
    assert planned(1, 0, 1) == "1 run to do"
    assert planned(18, 0, 2) == "18 runs to do, 2 at a time"


def test_cells_are_read_back_as_they_were():
    runs = (
        RunConfig(),
        RunConfig(
            model="mlp", layers=(8, 4), p_drop=0.3, dropout_schedule="late", train_size=7, widened=True
        ),
    )
    for run in runs:
        for name, value in run.settings().items():
            each = SETTINGS[name]
            assert each.value(each.read_back(value)) == value, name
    assert math.isnan(SETTINGS["train_size"].read_back(None))


def test_blocks_hold_every_setting_once():
    run = RunConfig(p_drop=0.5)
    flat = [each.name for block in BLOCKS.values() for each in settings_of(block)]
    assert flat == list(SETTINGS) == list(run.settings())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model": "mlp"}, RunConfig(model="mlp")),
        ({"model": "autoencoder"}, RunConfig(model="autoencoder")),
        ({"dropout_schedule": "late", "epochs": 10}, RunConfig(dropout_schedule="late", epochs=10)),
    ],
)
def test_replace_resolves_the_defaults_anew(change, expected):
    assert RunConfig().replace(**change) == expected


def test_what_was_told_survives_a_replacement_and_none_takes_it_back():
    told = RunConfig(epochs=4, dropout_schedule="ramp")
    assert told.dropout.cutoff_epoch == 4
    other = told.replace(model="mlp")
    assert (other.optimizer.epochs, other.model.layers) == (4, RunConfig(model="mlp").model.layers)
    assert other.replace(epochs=None).optimizer.epochs == RunConfig(model="mlp").optimizer.epochs
    assert other.replace(epochs=None).dropout.cutoff_epoch == RunConfig(model="mlp").optimizer.epochs


@pytest.mark.parametrize(
    ("told", "same"),
    [
        ({"max_norm": 3}, {"max_norm": 3.0}),
        ({"epochs": 4.0}, {"epochs": 4}),
        ({"epochs": np.int64(4), "p_drop": np.float64(0.5)}, {"epochs": 4, "p_drop": 0.5}),
        ({"model": "mlp", "layers": [8, np.int32(4)]}, {"model": "mlp", "layers": (8, 4)}),
    ],
)
def test_one_setting_has_one_type(told, same):
    assert RunConfig(**told).run_id == RunConfig(**same).run_id
    assert RunConfig(**told).identity() == RunConfig(**same).identity()


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": "two"}, {"epochs": 2.5}, {"epochs": True}, {"epochs": math.nan}, {"p_drop": "0.5"},
        {"model": "mlp", "layers": 32}, {"model": "mlp", "layers": (8.5,)}, {"widened": 1}, {"model": 3},
        {"train_size": "all"},
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(wrong):
    with pytest.raises(UsageError, match=f"`{list(wrong)[-1]}` is"):
        RunConfig(**wrong)


@pytest.mark.parametrize("wrong", [{"epoch": 3}, {"p_hidden": 0.5}, {"drop": 0.5}])
def test_an_unknown_setting_is_refused_with_the_nearest(wrong):
    with pytest.raises(UsageError, match="Known: "):
        RunConfig(**wrong)


def test_flags_name_settings_too():
    assert RunConfig(p=0.5, p_input=0.1, schedule="late", widen=True) == RunConfig(
        p_drop=0.5, p_drop_input=0.1, dropout_schedule="late", widened=True
    )


def row(**cells: object) -> dict[str, object]:
    """A row of runs.csv as it is read back, of a run that ended well."""
    read = {name: each.read_back(each.default) for name, each in SETTINGS.items()}
    read |= {name: SETTINGS[name].read_back(value) for name, value in RunConfig().settings().items()}
    empty = dict.fromkeys(RUNS.number_columns, math.nan) | dict.fromkeys(RUNS.text_columns, "")
    return {**empty, **read, "p_keep": 0.5, "status": "ok", "p_drop": 0.5, **cells}


@pytest.mark.parametrize("name", [name for name, each in SETTINGS.items() if each.groups])
def test_runs_that_differ_in_one_setting_alone_are_never_one(name):
    """Else the second error would replace the first."""
    other = "x" if not SETTINGS[name].is_number else 0.125
    of_adamw = RunConfig(optimizer="adamw").settings() if name == "optimizer" else {}
    others = {each: SETTINGS[each].read_back(of_adamw[each]) for each in OF_OPTIMIZER if of_adamw}
    rows = [row(run_id="a"), row(run_id="b", **others | {name: "adamw" if of_adamw else other})]
    found = find_sweeps(pd.DataFrame(rows))
    settings = [setting for sweep in found for setting in sweep.settings]
    assert sorted(run_id for each in settings for run_id in each.run_ids.values()) == ["a", "b"]
    assert len(found) == (1 if SETTINGS[name].axis else 2)


def test_trials_are_lists_of_a_sweep_alone():
    tuned = {name for name, each in SETTINGS.items() if each.tuned}
    assert tuned == {"learning_rate", "weight_decay", "max_norm", "l1", "kl_sparsity"}
    for name in tuned:
        assert SETTINGS[name].takes_list_in("sweep")
        assert not any(
            SETTINGS[name].takes_list_in(other) for other in ("train", "features", "compare-bagging")
        )
        assert name in SETTING, "rows that differ in it are never one"
    assert SETTINGS["p_drop"].takes_list_in("features")
