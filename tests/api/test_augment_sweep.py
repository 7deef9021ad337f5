"""Augmentation as an axis of a sweep: rows, figures, and the command that gives it again."""

import shlex

import pytest

import dropbench as db
from dropbench.api.keywords import values_of
from dropbench.cli.main import run as run_command
from dropbench.errors import UsageError

SMALL = {"model": "mlp", "layers": (8,), "epochs": 1, "runner": "serial", "threads": 1}
SETS = ("none", "flip", "flip,crop")


def test_sets_of_augmentations_are_an_axis_of_a_sweep(blobs, tmp_path):
    swept = db.sweep(blobs, p=[0, 0.5], seeds=1, augment="none/flip/crop,flip", out=tmp_path, **SMALL)
    assert set(swept.frame["augment"]) == set(SETS)
    assert set(swept.varied) == {"augment", "p_drop"}
    (subject,) = swept.report.subjects
    (table,) = swept.tables
    assert {(row["p_drop"], row["augment"]) for row in table.rows} == {(p, s) for p in (0, 0.5) for s in SETS}
    (command,) = subject.commands
    words = shlex.split(command)
    assert set(values_of("augment", words[words.index("--augment") + 1])) == set(SETS)
    (subplot,) = next(figure for figure in subject.figures if "error" in figure.name).subplots
    assert {series.name for series in subplot.series if series.joined} >= {f"augment {each}" for each in SETS}


def test_lists_are_taken_as_they_are_and_one_run_takes_one_set(blobs, tmp_path):
    assert values_of("augment", ["none", "flip,crop"]) == ("none", "flip,crop")
    run = db.train(blobs, augment="crop,flip", out=tmp_path, **SMALL)
    assert run.result.config.data.augment == "flip,crop"
    with pytest.raises(UsageError, match="`augment` has 2 values"):
        db.train(blobs, augment="none/flip", out=tmp_path, **SMALL)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--augment", "rotate"], "--augment is 'rotate'. Write none, flip, crop or flip,crop."),
        (["--augment", "flip,flip"], "--augment flip,flip has flip twice"),
        (["--augment", "none,flip"], "--augment is 'none,flip'"),
        (["--augment", ""], "--augment is ''"),
        (["--data", "sklearn:wine", "--augment", "flip"], "A table has no images for --augment"),
    ],
    ids=" ".join,
)
def test_what_is_no_augmentation_is_one_line(arguments, said, capsys):
    assert run_command(["sweep", *arguments]) == 2
    written = capsys.readouterr().err
    assert said in written
    assert written.count("\n") == 1
