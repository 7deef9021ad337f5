"""The examples of docs/extending.md, as they stand there, and what goes wrong with code of the user's own."""

import re
import shlex
from pathlib import Path

import pytest
from end_to_end.console import dropbench, rows
from end_to_end.images import write_images

DOCS = Path(__file__).parents[2] / "docs" / "extending.md"
SMALL = ("--epochs", "1", "--seeds", "2", "--train-size", "30", "--out", "o")


@pytest.fixture
def folder(tmp_path):
    """A folder with the files that the documentation writes."""
    for name, content in re.findall(r"In `(\w+\.py)`:\n\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL):
        (tmp_path / name).write_text(content)
    return tmp_path


COMMANDS = re.findall(r"```sh\ndropbench (.*?)\n```", DOCS.read_text())


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_commands(folder, tmp_path, command):
    small = ("--data", f"folder:{write_images(tmp_path / 'images')}", *SMALL)
    done = dropbench(*shlex.split(command), *small, cwd=folder)
    assert done.returncode == 0, done.stderr
    found = rows(folder / "o" / "runs.csv")
    variants = re.search(r"--dropout (\S+)", command)
    names = variants.group(1).split(",") if variants else ["bernoulli"]
    assert {row["dropout"] for row in found if float(row["p_drop"])} == set(names)
    assert len(found) == 2 * (1 + 2 * len(names))  # p = 0 once, p = 0.2 and 0.5 of each variant
    assert dropbench("report", "o", cwd=folder).returncode == 0
    again = dropbench(*shlex.split(command), *small, cwd=folder)
    assert "0 runs to do" in again.stderr


def test_there_are_four_commands():
    assert len(COMMANDS) == 4


def test_an_edited_file_gives_other_runs(folder):
    command = ["train", "--dropout", "noise:GroupDropout", "--epochs", "1", "--train-size", "200"]
    command += ["--width", "0.25"]
    dropbench(*command, cwd=folder)
    again = dropbench(*command, cwd=folder)
    with (folder / "noise.py").open("a") as file:
        file.write("\n# edited\n")
    dropbench(*command, cwd=folder)
    assert again.returncode == 0
    first, second, third = rows(folder / "results" / "runs.csv")
    assert first["run_id"] == second["run_id"] != third["run_id"]
    assert first["test_nll"] == second["test_nll"] == third["test_nll"]  # its draws are of the run's stream


WRONG = [
    ("import nothing_like_it", "imports 'nothing_like_it', which is not installed"),
    ("raise ValueError('so it is')", "Importing mine raised ValueError: so it is"),
    ("def A(*arguments): return 3", "returned int, not a torch.nn.Module"),
    ("def A(): return 3", "A() takes 0 positional arguments"),
    ("def A(*arguments): raise KeyError('x')", "KeyError: 'x'"),
    ("B = 1", "There is no A in mine"),
]


@pytest.mark.parametrize("flag", ["--dropout", "--model"])
@pytest.mark.parametrize(("source", "said"), WRONG, ids=range(len(WRONG)))
def test_wrong_code_is_one_line(tmp_path, source, said, flag):
    (tmp_path / "mine.py").write_text(source)
    done = dropbench("train", flag, "mine:A", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("body", "lacks"),
    [
        ("pass", "disturb"),
        ("on_weights = True", "connect"),
        ("def at_test(self, units): return units", "disturb"),
    ],
)
def test_a_variant_that_does_not_say_what_it_does_is_told_before_anything_runs(tmp_path, body, lacks):
    (tmp_path / "mine.py").write_text(
        f"from dropbench.dropout.layer import DropoutLayer\nclass A(DropoutLayer):\n    {body}\n"
    )
    done = dropbench("sweep", "--model", "mlp", "--dropout", "mine:A", cwd=tmp_path)
    assert done.returncode == 2
    assert f"without {lacks}()" in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_model_without_sites_is_told(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def net(shape, classes, config):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))\n"
    )
    done = dropbench("sweep", "--model", "mine:net", "--p", "0.5", cwd=tmp_path)
    assert done.returncode == 2
    assert "no hidden dropout site" in done.stderr
    done = dropbench("train", "--model", "mine:net", "--p", "0", "--epochs", "1", "--panel", cwd=tmp_path)
    assert done.returncode == 2
    assert "no hidden dropout site" in done.stderr
    small = ["--epochs", "1", "--train-size", "200"]
    done = dropbench("train", "--model", "mine:net", "--p", "0", *small, cwd=tmp_path)
    assert done.returncode == 0


@pytest.mark.parametrize(("more", "told"), [((), True), (("--p-conv", "0.2"), False)])
def test_a_variant_of_maps_without_maps_is_told(tmp_path, more, told):
    command = ["sweep", "--p", "0.5", "--dropout", "bernoulli,spatial", "--dry-run", *more]
    done = dropbench(*command, cwd=tmp_path)
    assert ("--dropout spatial is bernoulli there" in done.stderr) == told


def test_every_p_0_under_a_variant_is_told(tmp_path):
    small = ["--epochs", "1", "--train-size", "200", "--width", "0.25"]
    done = dropbench("train", "--p", "0", "--dropout", "gaussian", *small, cwd=tmp_path)
    assert "--dropout gaussian does nothing" in done.stderr
