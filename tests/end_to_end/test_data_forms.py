"""The examples of docs/data.md, as they stand there, on small data in each of the forms."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from end_to_end.console import rows
from PIL import Image

from dropbench.catalog.forms import FORMS
from dropbench.cli.main import run

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
BLOCKS = re.findall(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
SMALL = {
    "sweep": ["--epochs", "1", "--seeds", "1", "--threads", "1", "--jobs", "1"],
    "compare-bagging": ["--epochs", "1", "--seeds", "1", "--members", "2", "--threads", "1", "--jobs", "1"],
    "data": [],
    "report": [],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder with the files that the documentation names."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(3)
    for label, name in enumerate(("cat", "dog")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            size = (40 + number, 50 - number, 3)
            pixels = random.integers(0, 120, size, dtype=np.uint8) + np.uint8(100 * label)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    arrays = {
        f"{kind}_{split}": random.integers(0, 2 if kind == "y" else 256, (n, *shape)).astype(np.uint8)
        for split, n in (("train", 40), ("test", 20))
        for kind, shape in (("x", (8, 8)), ("y", ()))
    }
    np.savez(folder / "shapes.npz", **arrays)
    (folder / "shapes").mkdir()
    for name, array in arrays.items():
        np.save(folder / "shapes" / name, array)
    for name in ("houses", "later"):
        houses(random).to_csv(folder / f"{name}.csv", index=False)
    houses(random).to_parquet(folder / "houses.parquet", index=False)
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_pandas(houses(random), preserve_index=False).save_to_disk(folder / "saved")
    return folder


def houses(random: np.random.Generator) -> pd.DataFrame:
    area = random.uniform(50, 200, 60)
    frame = pd.DataFrame(
        {"area": area, "rooms": random.integers(1, 7, 60), "roof": random.choice(["flat", "steep"], 60)}
    )
    frame.loc[::9, "area"] = np.nan
    frame["heating"] = random.choice(["gas", "heat pump", "oil"], 60)
    frame["price"] = 1000 * area + random.normal(0, 5000, 60)
    return frame


@pytest.fixture
def here(data, tmp_path, monkeypatch):
    """A folder of its own with the data; the number of threads is set back."""
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for entry in data.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("command", COMMANDS)
def test_documented_commands_run(command, here, capsys):
    program, name, *rest = shlex.split(command)
    if name == "report":  # of the results of the command before it
        assert run(["sweep", "--data", "sklearn:diabetes", "--p", "0.1", *SMALL["sweep"]]) == 0
    assert program == "dropbench"
    assert run([name, *rest, *SMALL[name]]) == 0, capsys.readouterr().err
    if name in ("sweep", "compare-bagging"):
        found = rows(here / "results" / "runs.csv")
        assert found
        assert {row["status"] for row in found} == {"ok"}
        assert {row["data"] for row in found} == {rest[rest.index("--data") + 1]}


def test_every_form_has_an_example():
    words = (word for command in COMMANDS for word in shlex.split(command))
    of_examples = {word.partition(":")[0] for word in words if ":" in word}
    assert of_examples == set(FORMS)
