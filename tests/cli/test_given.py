"""Options twice, variables that nothing takes, odd paths, closed streams: what a shell hands over."""

import os
import shlex
import subprocess
import sys

import pytest

from dropbench.cli.again import command_again
from dropbench.cli.main import run
from dropbench.run.shell import command_line

ODD = [
    "my  results",
    "it's",
    'a "b"',
    "$HOME",
    "two\nlines",
    "a\tb",
    "ü",
    "\udce9",
    "\x1b[31m",
    "\\",
    "~",
    "*",
    "",
]


def divided(line: str) -> list[str]:
    """The words that bash makes of a line."""
    printer = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} -c {shlex.quote(printer)} {line}"],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")]


def test_a_command_line_is_one_line_and_gives_the_same_words_again():
    line = command_line(ODD)
    assert line.isprintable()
    assert divided(line) == ODD


def test_the_command_that_goes_on_has_what_variables_told(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/dropbench", "sweep", "--out", "my  results"])
    monkeypatch.setenv("DROPBENCH_SEEDS", "40")
    monkeypatch.setenv("DROPBENCH_OUT", "a b")
    for name in ("DROPBENCH_DATA_DIR", "DROPBENCH_JOBS"):
        monkeypatch.delenv(name, raising=False)
    assert command_again() == "DROPBENCH_OUT='a b' DROPBENCH_SEEDS=40 dropbench sweep --out 'my  results'"


@pytest.mark.parametrize(
    ("arguments", "heard"),
    [
        (["sweep", "--p", "0.1", "--p", "0.5"], "Write --p 0.1,0.5"),
        (["sweep", "--train-size", "30", "--train-size=40"], "Write --train-size 30,40"),
        (["train", "--p", "0.1", "--p", "5"], "--p is given twice, as '0.1' and as '5': the last one counts"),
        (["train", "--epochs=1", "--epochs", "no"], "--epochs is given twice, as '1' and as 'no'"),
        (["sweep", "--graph", "--no-graph", "--p", "5"], "--graph is given twice"),
    ],
)
def test_an_option_with_two_values_is_told_and_refused_where_both_may_be_meant(arguments, heard, capsys):
    assert run(arguments) == 2
    assert heard in capsys.readouterr().err


def test_a_value_that_looks_like_an_option_is_none(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["report", "--html", "--html", "--", "nowhere"]) == 1
    assert "There is no folder nowhere" in capsys.readouterr().err


def test_a_variable_that_no_option_takes_is_told(capsys, monkeypatch):
    monkeypatch.setenv("DROPBENCH_EPOCH", "3")
    monkeypatch.setenv("DROPBENCH_OUT", "nowhere")
    assert run(["report"]) == 1
    said = capsys.readouterr().err
    assert "DROPBENCH_EPOCH. Did you mean DROPBENCH_EPOCHS?" in said
    assert "nowhere" in said


def test_each_command_of_a_process_tells_what_another_has_told(capsys, monkeypatch):
    monkeypatch.setenv("DROPBENCH_OUT", "nowhere")
    monkeypatch.setenv("DROPBENCH_LAYER", "3")
    said = []
    for _ in range(2):
        run(["report"])
        said.append(capsys.readouterr().err)
    assert "DROPBENCH_LAYER" in said[0]
    assert said[0] == said[1]


@pytest.mark.parametrize("flag", ["--out", "--data-dir", "--config"])
def test_an_empty_path_is_refused(flag, capsys):
    assert run(["train", flag, ""]) == 2
    said = capsys.readouterr().err
    assert f"'{flag}'" in said
    assert "it is empty" in said


@pytest.mark.parametrize("way", ["argument", "variable", "file", "cache"])
def test_a_tilde_is_the_home_folder_wherever_it_is_told(way, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    arguments = ["report", "~/r"]
    if way == "variable":
        monkeypatch.setenv("DROPBENCH_OUT", "~/r")
        arguments = ["report"]
    if way == "file":
        (tmp_path / "c.toml").write_text('html = "~/r.html"\n')
        monkeypatch.setenv("DROPBENCH_CONFIG", "c.toml")
    if way == "cache":
        monkeypatch.setenv("DROPBENCH_CACHE_DIR", "~/c")
        assert run(["data", "list"]) == 0
        assert str(tmp_path / "home" / "c") in capsys.readouterr().out
    else:
        assert run(arguments if way != "file" else ["sweep", "--config", "c.toml", "--help"]) in (0, 1)
        if way != "file":
            assert str(tmp_path / "home" / "r") in capsys.readouterr().err
    assert not (tmp_path / "~").exists()


def test_no_home_is_told_with_what_to_set(capsys, monkeypatch):
    monkeypatch.setenv("DROPBENCH_CACHE_DIR", "~nobody-of-this-name/c")
    assert run(["data", "list"]) == 1
    assert "DROPBENCH_CACHE_DIR" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as a shell of POSIX does")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_those_that_go_nowhere(closed, tmp_path):
    """The files that are opened next are not taken for them."""
    code = (
        "import sys; from dropbench.cli.main import run; code = run(['--version']); "
        f"file = open({str(tmp_path / 'file')!r}, 'w'); assert file.fileno() > 2; print('x'); sys.exit(code)"
    )
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} {closed}"],
        check=False,
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "file").read_text() == ""
