"""The library speaks of settings, the command line of flags."""

import errno

import pytest

from dropbench.cli.main import run
from dropbench.cli.spoken import spoken
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
        (["train", "--train-size", "10,20"], "--train-size has 2 values"),
    ],
)
def test_errors_of_commands_name_flags(arguments, heard, capsys):
    assert run(arguments) == 2
    assert heard in capsys.readouterr().err
