"""Runs on tables: they learn, with every variant, and what needs images says so."""

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import dropbench as db
from dropbench.catalog.dropouts import VARIANTS
from dropbench.datasets.column import features_of
from dropbench.datasets.registry import prepare
from dropbench.datasets.split import split
from dropbench.engine.inputs import preparation
from dropbench.engine.train import train
from dropbench.errors import DropbenchError, UsageError
from dropbench.experiments.bagging.compare import default_ood, ood_key
from dropbench.run.config import RunConfig
from dropbench.run.defaults import MODEL_OF

CPU = torch.device("cpu")


def config(data, **told) -> RunConfig:
    return RunConfig(**{**data.settings, "layers": (16,), "epochs": 1, **told})


@pytest.fixture
def wine():
    return prepare("sklearn:wine")


def test_a_whole_run_beats_the_most_frequent_class():
    """By five standard errors of the error of that class on the test rows."""
    data = prepare("sklearn:breast_cancer")
    run = RunConfig(**data.settings, p_drop=0.5, epochs=20)
    assert run.model.name == MODEL_OF["table"] == "mlp"
    result = train(run, data)
    guessed = 1 - np.bincount(data.test_targets).max() / len(data.test_targets)
    margin = 5 * np.sqrt(guessed * (1 - guessed) / len(data.test_targets))
    assert result.metrics["test_error_percent"] < 100 * (guessed - margin)
    assert result.predictions["test"].shape == (len(data.test_targets), 2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_trains_on_a_table(wine, variant):
    told = {"activation": VARIANTS[variant].activation or "relu", "dropout": variant, "p_drop": 0.3}
    result = train(config(wine, **told), wine, panel=variant in ("bernoulli", "standout"))
    assert result.status == "ok", result.message
    assert np.isfinite(result.metrics["test_nll"])
    assert bool(result.panel) == (variant in ("bernoulli", "standout"))


@pytest.mark.parametrize(
    "told",
    [
        {"epochs": 2, "dropout_schedule": "late"},
        {"epochs": 2, "snapshots": 2},
        {"bootstrap": True, "mc_samples": 3},
        {"joint": True, "p_drop_input": 0.2},
        {"activation": "maxout", "widened": True},
        {"train_size": 40, "precision": "bf16"},
    ],
    ids=str,
)
def test_settings_that_need_no_image_work_on_a_table(wine, told):
    assert train(config(wine, p_drop=0.3, **told), wine).status == "ok"


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"model": "lecture-cnn"}, "model"),
        ({"model": "paper-cnn"}, "model"),
        ({"p_drop_conv": 0.1}, "p_drop_conv"),
        ({"pixels": "unit"}, "pixels"),
        ({"augment": "flip"}, "augment"),
    ],
    ids=str,
)
def test_what_needs_images_says_so(wine, told, name):
    with pytest.raises(UsageError) as caught:
        config(wine, **told)
    assert f"`{name}" in str(caught.value)


def test_experiments_on_images_refuse_a_table(wine, tmp_path):
    for call in (
        lambda: db.paper("lecture", data="csv:absent.csv", out=tmp_path),
        lambda: db.features("sklearn:wine", out=tmp_path),
    ):
        with pytest.raises(UsageError, match=r"needs? images") as caught:
            call()
        assert caught.value.hint == "Name a data set of images."
    assert list(tmp_path.iterdir()) == []


def test_dropblock_on_a_table_is_told_to_be_bernoulli(wine, tmp_path, told):
    db.train(wine, dropout="dropblock", p=0.3, epochs=1, layers="8", out=tmp_path)
    assert sum("no feature maps" in sentence for sentence in told) == 1


def test_a_validation_row_changes_no_encoding(wine):
    """A run's encoder is fitted on its training rows alone, also under a bootstrap."""
    run = config(wine, bootstrap=True)
    parts = split(wine, run)
    prepared = preparation(wine, parts.train, run, CPU).examples(wine.train_inputs, wine.train_targets)
    rows = prepared.inputs[parts.train].double()
    assert rows.mean(0).abs().max() < 1e-6
    assert (rows.std(0, correction=0) - 1).abs().max() < 1e-5
    inputs = np.array(wine.train_inputs)
    inputs[parts.validation] *= 1000
    again = preparation(replace(wine, train_inputs=inputs), parts.train, run, CPU).examples(
        inputs, wine.train_targets
    )
    assert torch.equal(again.inputs[parts.train], prepared.inputs[parts.train])


def test_a_net_of_the_users_own_is_told_the_number_of_features(tmp_path, monkeypatch):
    (tmp_path / "own_net.py").write_text(
        "from torch import nn\n"
        "SHAPES = []\n"
        "def make(input_shape, outputs, config):\n"
        "    SHAPES.append(input_shape)\n"
        "    (features,) = input_shape\n"
        "    first, last = nn.Linear(features, 8), nn.Linear(8, outputs)\n"
        "    return nn.Sequential(first, nn.ReLU(), nn.Dropout(0.1), last)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    frame = pd.DataFrame({"a": [1.0, None] * 20, "b": ["x", "y", "z", "x"] * 10, "y": ["p", "q"] * 20})
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = db.data(f"csv:{tmp_path / 't.csv'}", target="y")
    assert data.input_shape == (features_of(data.columns),) == (2 + 3,)
    result = train(config(data, model="own_net:make", p_drop=0.5, layers=None), data)
    assert result.status == "ok"
    assert set(sys.modules["own_net"].SHAPES) == {(5,)}


def test_rows_are_not_rotated_and_another_table_may_be_foreign(wine, blobs, tmp_path, told):
    assert (default_ood(wine), default_ood(blobs)) == ("none", "rotated")
    for name in ("rotated", "permuted"):
        with pytest.raises(UsageError, match="needs images"):
            ood_key(name, wine, None)
    frame = pd.DataFrame({"a": np.arange(40.0) % 7, "b": ["x", "y"] * 20, "y": [0, 0, 1, 1] * 10})
    names = []
    for number in range(3):
        file = tmp_path / f"{number}.csv"
        made = frame.assign(a=frame["a"] + number)
        (made.rename(columns={"a": "c"}) if number == 2 else made).to_csv(file, index=False)
        names.append(f"csv:{file}")
    data = db.data(names[0], target="y")
    assert ood_key(names[1], data, None)
    for name, words in ((names[0], "itself"), (names[2], "no column 'a'"), ("mnist5k", "has images")):
        with pytest.raises(DropbenchError, match=words):
            ood_key(name, data, None)
    done = db.compare(
        data, arms="bagging,dropout-mc", members=2, mc_samples=2, seeds=2, epochs=1, layers="8", ood=names[1],
        out=tmp_path / "r", jobs=1, runner="serial",
    )  # fmt: skip
    assert not done.outcome.failed
    rows = pd.read_csv(tmp_path / "r" / "comparisons.csv")
    assert rows["foreign_auroc"].notna().any()
