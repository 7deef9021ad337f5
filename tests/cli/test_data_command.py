"""``dropbench data``: the forms of one's own data, and what a data set is found to hold."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dropbench.catalog.forms import FORMS
from dropbench.cli.main import run
from dropbench.datasets.column import Column
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.options import OPTIONS, SourceOptions
from dropbench.datasets.registry import SOURCES, find_source
from dropbench.report.data import MOST_ROWS, data_tables
from dropbench.run.blocks.data import PREPARE
from dropbench.run.config import SETTINGS

GENERATOR = np.random.default_rng(0)


@pytest.fixture
def photos(tmp_path):
    """Twelve training and six test images of two classes, 9 × 8 pixels in colour."""
    for split, count in (("train", 6), ("test", 3)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = GENERATOR.integers(0, 256, (9, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "photos"


def said(capsys, *arguments: str, code: int = 0) -> str:
    """What a command writes on stdout, or on stderr where it ends with an error."""
    assert run(["data", *arguments]) == code
    written = capsys.readouterr()
    return written.out if code == 0 else written.err


def table_of(rows: int, missing: bool = True) -> DataSet:
    """A table with a column of numbers, one of categories and a numeric target."""
    cells = np.stack([GENERATOR.normal(size=rows), GENERATOR.integers(0, 3, rows).astype(float)], 1)
    if missing:
        cells[:4, 0] = np.nan
    columns = (Column("age", missing=missing), Column("town", ("Bonn", "Kiel", "Ulm")))
    targets = np.arange(rows, dtype=np.float32)
    half = rows // 2
    return DataSet(
        "patients", cells[:half], targets[:half], cells[half:], targets[half:], (), columns=columns
    )


# list


def test_list_has_every_set_and_every_form_with_its_example(capsys):
    written = said(capsys, "list")
    for name in SOURCES:
        assert name in written
    for form in FORMS.values():
        assert form.name in written
        assert form.example in written


def test_list_as_json_has_the_same(capsys):
    sets, forms, _ = json.loads(said(capsys, "list", "--json"))["tables"]
    assert {row["name"] for row in sets["rows"]} == set(SOURCES)
    assert {row["form"] for row in forms["rows"]} == {form.name for form in FORMS.values()}


@pytest.mark.parametrize("form", FORMS.values(), ids=lambda form: form.prefix)
def test_every_form_has_a_source_and_an_example_that_names_it(form):
    assert f"--data {form.prefix}:" in form.example
    assert form.takes <= set(OPTIONS)
    words = iter(form.example.split())
    told = {flag: next(words) for flag in words}
    options = {name: told[flag] for name in OPTIONS if (flag := SETTINGS[name].flag) in told}
    assert find_source(told["--data"], SourceOptions.of(options)).name.startswith(f"{form.prefix}:")


# prepare


def test_prepare_says_what_is_there(photos, capsys):
    written = said(capsys, "prepare", f"folder:{photos}").split()
    for words in ("9×8, 3 channels 2 classes", "cat 6 3", "dog 6 3"):
        assert words in " ".join(written)


def test_prepare_as_json_has_the_numbers(photos, capsys):
    data, classes = json.loads(said(capsys, "prepare", f"folder:{photos}", "--json"))["tables"]
    (row,) = data["rows"]
    assert (row["training"], row["test"], row["inputs"], row["task"]) == (12, 6, "images", "classification")
    assert row["shape"] == "3×9×8"
    assert row["data_key"]
    assert classes["rows"] == [{"class": name, "training": 6, "test": 3} for name in ("cat", "dog")]


def test_prepare_has_an_option_for_all_that_sources_take():
    offered = {name for name, each in SETTINGS.items() if each.of_source and each.offered_by(PREPARE)}
    assert offered == set(OPTIONS)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["mnist5k", "--image-size", "32"], "takes no --image-size"),
        (["folder:x", "--image-size", "big"], "--image-size is 'big'"),
        (["folder:x", "--fit", "shrink"], "Unknown fit 'shrink'"),
        (["folder:x", "--test-share", "1.5"], "--test-share is 1.5"),
        (["folder:x", "--test-share", "many"], "write a number, like 0.5"),
        (["mnits"], "Unknown data set"),
        ([], "Missing argument"),
    ],
    ids=" ".join,
)
def test_what_is_wrong_is_one_line(arguments, expected, capsys):
    written = said(capsys, "prepare", *arguments, code=2)
    assert expected in written
    assert written.count("\n") == 1


def test_a_folder_that_is_not_there_is_one_line(tmp_path, capsys):
    written = said(capsys, "prepare", f"folder:{tmp_path / 'nowhere'}", code=1)
    assert "nowhere" in written
    assert written.count("\n") == 1


# The tables


def test_a_given_validation_split_is_counted_apart(blobs):
    data = replace(blobs, validation=60)
    first, classes = data_tables(data)
    assert [column.title for column in first.columns[:3]] == [
        f"{split} images" for split in ("training", "validation", "test")
    ]
    assert first.texts()[0][:3] == ["180", "60", "90"]
    assert classes.rows[0] == {"class": "a", "training": 60, "validation": 20, "test": 30}


def test_many_classes_are_shortened_but_not_in_whole():
    labels = np.arange(300) % 50
    images = np.zeros((300, 1, 8, 8), np.uint8)
    names = tuple(f"kind {number}" for number in range(50))
    data = DataSet("many", images, labels, images[:100], labels[:100], names, notes=("One was skipped.",))
    shown, whole = data_tables(data)[1], data_tables(data, whole=True)
    assert len(shown.rows) == MOST_ROWS
    assert shown.notes == ("… and 30 more, with 6 training, 2 test each.",)
    assert len(whole[1].rows) == 50
    assert whole[0].notes == ("One was skipped.",)


def test_a_table_has_its_columns_and_a_regression_the_range_of_its_target():
    data = table_of(20)
    data.check()
    first, target, columns = data_tables(data)
    assert first.texts() == [["10", "10", "2 columns, for a net 5 features", "a number"]]
    assert target.texts()[0] == ["training", "0", "9", "4.5", "2.87228"]
    assert target.rows[1] == {
        "split": "test", "least": 10.0, "most": 19.0, "mean": 14.5, "deviation": pytest.approx(8.25**0.5),
    }  # fmt: skip
    assert columns.texts() == [["age", "numbers", "4"], ["town", "3 categories", "0"]]
