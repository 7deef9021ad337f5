"""Sweeps of several optimizers: one table, each at what it has by default, and the command that makes it."""

import shlex

import pytest
from report.test_report import sweeps
from report.test_tuning import write

from dropbench.api.keywords import sort_out
from dropbench.experiments.sweep import expand
from dropbench.report.sweep.command import sweep_commands
from dropbench.report.sweep.sweep import sweep_title
from dropbench.run.config import RunConfig, find_setting

NAMES = ("sgd", "adamw", "torch.optim:NAdam")


def sweep(folder, names=NAMES, **fields):
    for name in names:
        for seed in range(2):
            for p, error in ((0.0, 5.0), (0.5, 4.0)):
                write(folder, p, error + seed + len(name), seed, optimizer=name, **fields)


def test_several_optimizers_share_a_table_with_a_reference_each(tmp_path):
    sweep(tmp_path)
    (found,) = sweeps(tmp_path)
    assert {setting.axes["optimizer"] for setting in found.settings} == set(NAMES)
    assert found.varying == ("p_drop", "optimizer")
    for setting in found.settings:
        assert found.reference(setting).axes["optimizer"] == setting.axes["optimizer"]
        assert found.reference(setting).drops_nothing
    title = sweep_title(found)
    assert "every optimizer at its own learning rate" in title
    assert "weight decay" not in title
    assert "momentum" not in title


def test_one_optimizer_is_in_the_title_with_its_rate(tmp_path):
    sweep(tmp_path, ("adamw",), optimizer_options="eps=1e-6")
    title = sweep_title(sweeps(tmp_path)[0])
    rate = RunConfig(optimizer="adamw").optimizer.learning_rate
    assert "adamw" in title
    assert "eps=1e-06" in title
    assert f"learning rate {rate:g}" in title
    assert "weight decay" not in title


def test_a_learning_rate_that_was_told_is_told_of_all(tmp_path):
    sweep(tmp_path, learning_rate=0.004)
    (found,) = sweeps(tmp_path)
    assert "learning rate 0.004" in sweep_title(found)


def test_optimizers_that_were_tuned_are_each_at_their_own_best(tmp_path):
    best = {"sgd": 0.1, "adamw": 0.001}
    for name, own in best.items():
        for rate in best.values():
            for seed in range(2):
                for p in (0.0, 0.5):
                    error = 3.0 + seed + (rate != own)
                    write(tmp_path, p, error, seed, optimizer=name, learning_rate=rate)
    (found,) = sweeps(tmp_path)
    assert {
        setting.axes["optimizer"]: setting.tuning.values["learning_rate"] for setting in found.settings
    } == best


@pytest.mark.parametrize(
    "fields",
    [{}, {"learning_rate": 0.02}, {"weight_decay": 0.0}, {"clip_norm": 1.0, "label_smoothing": 0.1}],
    ids=str,
)
def test_the_command_makes_the_same_runs_again(tmp_path, fields):
    names = ("sgd", "adamw", "muon")
    sweep(tmp_path, names, **fields)
    told = [shlex.split(command)[1:] for each in sweeps(tmp_path) for command in sweep_commands(each)]
    asked = set()
    configs = {
        RunConfig(p_drop=p, seed=seed, optimizer=name, **fields).run_id
        for name in names
        for seed in range(2)
        for p in (0.0, 0.5)
    }
    for command in told:
        asked |= made_by(command)
    assert asked == configs


def made_by(command: list[str]) -> set[str]:
    """The ids of the runs that a sweep command asks for."""
    assert command[0] == "sweep"
    flags = dict(zip(command[1::2], command[2::2], strict=True))
    seeds = int(flags.pop("--seeds"))
    assert flags.pop("--data") == "mnist5k"
    assert flags.pop("--precision") == "fp32"
    told = {find_setting(flag.removeprefix("--")): value for flag, value in flags.items()}
    values = {each.name: value if each.parse else float(value) for each, value in told.items()}
    single, several = sort_out(values).swept()
    return {config.run_id for config in expand(single, several, seeds)}
