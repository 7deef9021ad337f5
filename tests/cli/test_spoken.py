"""The library speaks of settings, the command line of flags."""

import errno

import pytest

import dropbench
from dropbench.cli.main import run
from dropbench.cli.spoken import spoken
from dropbench.errors import DropbenchError
from dropbench.run.config import SETTINGS


def test_a_full_disk_and_a_file_that_is_no_toml_are_told_with_what_to_do(tmp_path, monkeypatch, capsys):
    (tmp_path / "c.toml").write_text("--p 0.5")
    assert run(["train", "--config", str(tmp_path / "c.toml")]) == 2
    assert "epochs = 10" in capsys.readouterr().err

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dropbench.api.train.RunConfig", full)
    assert run(["train"]) == 1
    assert "Make room" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("Leave out `p_drop_conv`.", "Leave out --p-conv."),
        ("Use `model=mlp`, or `layers`.", "Use --model mlp, or --layers."),
        ("Add `dropout_schedule=early`.", "Add --schedule early."),
        ("`members` is 0.", "--members is 0."),
        ("Write `widened=True`.", "Write --widen."),
        ("Write `data=folder:my pets`.", "Write --data 'folder:my pets'."),
        ("Leave out `joint`.", "Leave out joint."),
        ("No `Code` here, ``p`` neither.", "No `Code` here, ``p`` neither."),
    ],
)
def test_settings_become_flags(said, heard):
    assert spoken(said) == heard


def test_every_flag_is_spoken():
    for each in SETTINGS.values():
        if each.flag:
            assert spoken(f"Leave out `{each.name}`.") == f"Leave out {each.flag}."


@pytest.mark.parametrize(
    ("arguments", "heard"),
    [
        (["train", "--p", "5"], "--p 5 is no drop probability"),
        (["train", "--model", "mlp", "--p-conv", "0.1"], "Leave out --p-conv"),
        (["train", "--epochs", "0"], "--epochs is 0"),
        (["sweep", "--layers", "8"], "use --model mlp"),
        (["train", "--learning-rate", "0.1,0.2"], "--learning-rate has 2 values"),
        (["compare-bagging", "--max-norm", "none,2"], "--max-norm has 2 values"),
        (["sweep", "--learning-rate", "0.1,0"], "--learning-rate is 0"),
        (["train", "--train-size", "10,20"], "--train-size has 2 values"),
    ],
)
def test_errors_of_commands_name_flags(arguments, heard, capsys):
    assert run(arguments) == 2
    assert heard in capsys.readouterr().err


@pytest.mark.parametrize("way", ["flag", "variable", "file"])
def test_trials_are_told_in_every_way_and_told_apart(way, tmp_path, capsys, monkeypatch):
    told = ["--learning-rate", "0.01,0.02"] if way == "flag" else []
    if way == "variable":
        monkeypatch.setenv("DROPBENCH_LEARNING_RATE", "0.01,0.02")
    if way == "file":
        (tmp_path / "own.toml").write_text("[sweep]\nlearning_rate = [0.01, 0.02]\n")
        told = ["--config", str(tmp_path / "own.toml")]
    out = ["--out", str(tmp_path / "results")]
    assert run(["sweep", "--p", "0.5", "--seeds", "1", "--dry-run", *told, *out]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4, "the net without dropout has the same rates"
    assert [sum(f"learning rate {rate}," in line for line in lines) for rate in ("0.01", "0.02")] == [2, 2]


@pytest.mark.parametrize(
    ("told", "variable", "file", "graph"),
    [
        (["--no-graph"], None, "", False),
        ([], "0", "", False),
        ([], None, "graph = false", False),
        (["--graph"], "0", "", None),
        ([], None, "", None),
    ],
)
def test_a_switch_that_is_on_can_be_turned_off_in_every_way(
    told, variable, file, graph, tmp_path, monkeypatch
):
    given = []

    def train(*_, **settings):
        given.append(settings.get("graph"))
        raise DropbenchError("This is enough.")

    monkeypatch.setattr(dropbench, "train", train, raising=False)
    if variable is not None:
        monkeypatch.setenv("DROPBENCH_GRAPH", variable)
    (tmp_path / "own.toml").write_text(file)
    arguments = ["train", "--config", str(tmp_path / "own.toml"), "--out", str(tmp_path / "results")]
    assert run([*arguments, *told]) == 1
    assert given == [graph]
