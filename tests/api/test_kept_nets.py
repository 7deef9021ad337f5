"""Nets in files: they predict as they were tested, execute nothing, and refuse what is not theirs."""

import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from engine.made import made
from safetensors import safe_open

import dropbench as db
from dropbench.cli.main import run
from dropbench.datasets import cache
from dropbench.engine.saved_net import read_kept, write_net
from dropbench.errors import DropbenchError, UsageError
from dropbench.experiments.watching import LogWatcher
from dropbench.run.result import KeptNet

SMALL = {"epochs": 1, "threads": 1, "train_size": 60}
MLP = {"model": "mlp", "layers": (8,), "p": 0.5, **SMALL}
NET = """
from pathlib import Path
from torch import nn

Path("executed").touch()


def small(shape, classes, config):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(), nn.Linear(6, classes)
    )


class Noise(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, units):
        return units * (units.new_empty(units.shape).uniform_() > self.p) if self.training else units
"""


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to be in, with code of the user's own."""
    (tmp_path / "nets.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def saved(blobs, here):
    """The run of a small net, which is in net.safetensors."""
    return db.train(blobs, save="net.safetensors", **MLP)


def of_words(rows=90):
    """A table of numbers and words, with missing cells."""
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "size": generator.normal(size=rows),
            "colour": generator.choice(["red", "green", "blue"], rows),
            "weight": generator.normal(50, 9, size=rows),
        }
    )
    frame["kind"] = np.where(frame["size"] + (frame["colour"] == "red") > 0.5, "yes", "no")
    frame.loc[::9, "weight"] = np.nan
    frame.loc[::10, "colour"] = None
    return frame


@pytest.mark.parametrize(
    ("told", "code"),
    [
        ({**MLP, "precision": "bf16", "epochs": 3, "patience": 1}, {}),
        ({**MLP, "dropout": "concrete", "optimizer": "adamw", "epochs": 2, "dropout_schedule": "late"}, {}),
        ({**SMALL, "width": 0.05, "p_conv": 0.1, "convention": "weight-scaling", "pixels": "unit"}, {}),
        ({**SMALL, "model": "torchvision:squeezenet1_1", "p_head": 0.5, "small_images": True}, {}),
        ({**SMALL, "model": "nets.py:small", "p": 0.5}, {"model": "nets.py:small"}),
        ({**MLP, "dropout": "nets.py:Noise"}, {"dropout": "nets.py:Noise"}),
    ],
    ids=["mlp", "concrete", "lecture-cnn", "library", "own net", "own dropout"],
)
def test_a_classifier_predicts_as_it_was_tested_to_the_bit(blobs, here, told, code):
    if str(told.get("model")).startswith("torchvision"):
        parts = {"train": slice(70), "test": slice(12)}
        wide = {
            f"{split}_inputs": getattr(blobs, f"{split}_inputs")[part].repeat(4, 2).repeat(4, 3)
            for split, part in parts.items()
        }
        fewer = {
            f"{split}_targets": getattr(blobs, f"{split}_targets")[part] for split, part in parts.items()
        }
        blobs = cache.save(replace(blobs, key="", **wide, **fewer))
    done = db.train(blobs, save="net.safetensors", **told)
    recorded = {"test": done.test, "val": done.validation, "train": done.training}
    if len(blobs.test_inputs) < 20:  # of a net of a library, which takes long
        del recorded["val"], recorded["train"]
    for split, metrics in recorded.items():
        samples = 3 if split == "test" else 0
        again = db.predict("net.safetensors", blobs, split=split, mc_samples=samples, threads=1, **code)
        assert repr(again.metrics) == repr(metrics), split  # NaN is no other NaN
        assert np.isfinite(again.monte_carlo.nll) == bool(samples)
        assert again.monte_carlo.nll != again.metrics.nll
    net = db.load_net("net.safetensors", **code)
    images = torch.from_numpy(np.array(blobs.train_inputs))
    with torch.no_grad():
        found = net(images).softmax(1).numpy()
    whole = db.predict("net.safetensors", blobs, split="all", threads=1, **code)
    assert not net.training
    assert len(whole.values) == len(images) + len(blobs.test_inputs)
    np.testing.assert_allclose(whole.values[: len(images)], found, atol=0.02)  # kept ones have float16


def test_a_regression_predicts_as_it_was_tested_to_the_bit(here):
    data = cache.save(made())
    done = db.train(data, p=0.3, layers=(8,), epochs=2, threads=1, save="net.safetensors")
    again = db.predict("net.safetensors", data, mc_samples=4, threads=1)
    assert repr(again.metrics) == repr(done.test)
    assert np.isfinite(again.monte_carlo.rmse)
    mean, deviation = again.values.T
    assert np.sqrt(np.mean((mean - data.test_targets) ** 2)) == pytest.approx(again.metrics.rmse)
    assert list(again.frame) == [
        "target",
        *("mean", "standard_deviation"),
        *("mc_mean", "mc_standard_deviation"),
    ]
    assert (again.frame["mc_standard_deviation"] >= deviation * (1 - 1e-6)).all()
    with torch.no_grad():
        found = db.load_net("net.safetensors")(torch.from_numpy(np.array(data.test_inputs)))
    np.testing.assert_allclose(found.numpy(), again.values, rtol=1e-5)


def test_an_autoencoder_reconstructs_as_it_was_tested(blobs, here):
    told = {"units": 6, "epochs": 1, "threads": 1, "jobs": 1, "out": "results"}
    with pytest.raises(UsageError, match="`save` is for one net"):
        db.features(blobs, save="net.safetensors", **told)
    done = db.features(blobs, p=0.5, save="net.safetensors", **told)
    found = db.predict("net.safetensors", blobs, threads=1).prediction.plain.metrics
    (row,) = done.frame.to_dict("records")
    assert found == {name: row[f"test_{name}"] for name in ("nll", "reconstruction_error")}
    for told in ({"csv": "p.csv"}, {"mc_samples": 2}):
        with pytest.raises(UsageError, match="autoencoder"):
            db.predict("net.safetensors", blobs, **told)


def test_a_table_is_read_by_the_columns_of_the_net(here):
    """Whatever the new rows have: other categories, another order, columns that are constant or new."""
    frame = of_words()
    frame.to_csv("old.csv", index=False)
    done = db.train(
        "csv:old.csv", target="kind", p=0.3, layers="8", epochs=2, threads=1, save="n.safetensors"
    )
    again = db.predict("n.safetensors", threads=1)
    assert repr(again.metrics) == repr(done.test)
    old = db.predict("n.safetensors", split="all", threads=1)
    apart = frame.iloc[:40].assign(place=np.arange(40) * 1.5)[["kind", "place", "weight", "colour", "size"]]
    apart.to_csv("new.csv", index=False)
    new = db.predict("n.safetensors", "csv:new.csv", split="all", threads=1)
    known = {tuple(row) for row in old.values.tolist()}
    assert {tuple(row) for row in new.values.tolist()} <= known
    assert len(new.values) == 40
    one = apart.assign(colour="red")
    for colour in ("red", "violet", "mauve"):  # of the last two the net knows neither
        one.assign(colour=colour).to_csv(f"{colour}.csv", index=False)
    red, violet, mauve = (
        db.predict("n.safetensors", f"csv:{colour}.csv", split="all", threads=1).values
        for colour in ("red", "violet", "mauve")
    )
    assert np.array_equal(violet, mauve)
    assert not np.array_equal(red, violet)
    for change, said in (({"size": "large"}, "'size' holds numbers"), ({"kind": apart["colour"]}, "class")):
        apart.assign(**change).to_csv("new.csv", index=False)
        with pytest.raises(DropbenchError, match=said):
            db.predict("n.safetensors", "csv:new.csv")
    apart.drop(columns="weight").to_csv("new.csv", index=False)
    with pytest.raises(UsageError, match="lacks the column 'weight'"):
        db.predict("n.safetensors", "csv:new.csv")


def test_the_preparation_is_that_of_training(saved, blobs):
    brighter = replace(blobs, train_inputs=blobs.train_inputs // 2 + 100, key="")
    before, after = (db.predict("net.safetensors", data, threads=1) for data in (blobs, brighter))
    assert np.array_equal(before.values, after.values)


def test_classes_are_known_by_their_names(saved, blobs):
    places = np.array([1, 2, 0])
    turned = {f"{split}_targets": places[getattr(blobs, f"{split}_targets")] for split in ("train", "test")}
    other = replace(blobs, classes=("c", "a", "b"), key="", **turned)
    assert repr(db.predict("net.safetensors", other, threads=1).metrics) == repr(saved.test)
    with pytest.raises(UsageError, match=r"the class 'd', and the net tells apart 'a', 'b', 'c'"):
        db.predict("net.safetensors", replace(other, classes=("d", "a", "b"), key=""))


def test_other_data_are_refused_in_one_line(saved, blobs):
    whole = {"train_inputs": blobs.train_inputs, "test_inputs": blobs.test_inputs}
    halves = {name: images[..., :4] for name, images in whole.items()}
    floats = {
        f"{split}_inputs": getattr(blobs, f"{split}_inputs") / np.float32(255) for split in ("train", "test")
    }
    for data, said in (
        (replace(blobs, key="", **halves), "images of 1×8×8"),
        (replace(blobs, key="", **floats), "uint8"),
        ("sklearn:wine", "rows of a table"),
        (made(), "rows of a table"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            db.predict("net.safetensors", data)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="split"):
        db.predict("net.safetensors", blobs, split="tset")


def test_code_is_executed_only_where_it_is_named(blobs, here, told):
    db.train(blobs, model="nets.py:small", p=0.5, save="net.safetensors", **SMALL)
    Path("executed").unlink()
    for call in (db.predict, db.load_net):
        with pytest.raises(UsageError, match=r"`model=nets.py:small`"):
            call("net.safetensors")
    kept = read_kept(here / "net.safetensors")
    for name in ("nets:small", f"{here / 'nets.py'}:small", "os:system"):
        config = {**kept.about["config"], "model": name, "dropout": name, "optimizer_options": ""}
        write_net(here / "evil.safetensors", KeptNet(kept.weights, {**kept.about, "config": config}))
        with pytest.raises(UsageError, match="executed only where you name it"):
            db.predict("evil.safetensors", blobs)
    assert not Path("executed").exists()
    (here / "elsewhere").mkdir()
    (here / "elsewhere" / "other.py").write_text(NET.replace("6", "7"))
    with pytest.raises(DropbenchError, match="does not fit its net"):
        db.predict("net.safetensors", blobs, model="elsewhere/other.py:small")
    assert sum("is not as it was" in sentence for sentence in told) == 1
    with pytest.raises(UsageError, match="not mlp"):
        db.predict("net.safetensors", blobs, model="mlp")


def test_what_is_no_net_of_this_version_is_told_in_one_line(saved, here):
    path = here / "net.safetensors"
    kept, whole = read_kept(path), path.read_bytes()
    weights, about = kept.weights, kept.about
    cases = {
        "damaged": whole[: len(whole) // 2],
        "of version 9": KeptNet(weights, {**about, "format": 2, "where": {"dropbench_version": "9"}}),
        "of version unknown": KeptNet(weights, {"kind": "net", "format": 1}),
        "or was changed": KeptNet(weights, {**about, "config": {**about["config"], "colour": "red"}}),
        "is no net that": KeptNet(weights, {"kind": "checkpoint"}),
        r"the file has \(7,\), and the net \(8,\)": KeptNet(
            {name: array[:-1] for name, array in weights.items()}, about
        ),
        "the file has nothing": KeptNet(dict(list(weights.items())[1:]), about),
        "does not fit": KeptNet(weights, {**about, "config": {**about["config"], "layers": [10**7, 10**7]}}),
    }
    for said, content in cases.items():
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_net(path, content)
        with pytest.raises(DropbenchError, match=said) as caught:
            db.load_net(path)
        assert "\n" not in str(caught.value)
    safetensors.torch.save_file({"weight": torch.zeros(2)}, path, {"format": "pt"})
    with pytest.raises(DropbenchError, match="not a file that dropbench wrote"):
        db.load_net(path)
    with pytest.raises(DropbenchError, match="is there and is none"):
        db.train("mnist5k", save=path)


def test_a_file_that_cannot_be_written_is_told_before_training(blobs, here, told):
    (here / "a folder.safetensors").mkdir()
    for path in ("net.pt", "absent/net.safetensors", "nets.py/net.safetensors", "a folder.safetensors"):
        for call, name in ((db.train, "save"), (db.sweep, "save_best"), (db.features, "save")):
            with pytest.raises(DropbenchError):
                call(blobs, out="results", **{name: path})
    assert not Path("results").exists()
    stateful = NET.replace(
        "return nn", "Net = type('Net', (nn.Sequential,), {'get_extra_state': dict});return Net"
    )
    (here / "nets.py").write_text(stateful.replace("return Net.Sequential", "return Net"))
    with pytest.raises(UsageError, match="tensors alone"):
        db.train(blobs, model="nets.py:small", save="net.safetensors", **SMALL)


def test_another_file_is_not_replaced_and_a_net_is_not_lost(blobs, here):
    (here / "package.json").write_text('{"name": "mine"}')
    with pytest.raises(DropbenchError, match=r"package.json is there and is none that dropbench wrote"):
        db.train(blobs, save="package.safetensors", **MLP)

    class Hinders(LogWatcher):
        def progress(self, worker, config, record):
            Path("net.safetensors").mkdir(exist_ok=True)

    with pytest.raises(DropbenchError, match="Cannot write") as caught:
        db.train(blobs, save="net.safetensors", watcher=Hinders(), out="results", **MLP)
    refuge = Path(re.search(r"The net is in (\S+) instead", caught.value.hint)[1])
    assert db.predict(refuge, blobs, threads=1).report.tables[0].notes[0].endswith("to the last bit.")
    assert list(pd.read_csv("results/runs.csv")["status"]) == ["ok"]
    with pytest.raises(UsageError, match="arrays, called blobs"):
        db.predict(refuge)
    shutil.rmtree(refuge.parent)


def test_a_run_that_diverges_leaves_the_net_before(saved, blobs, told):
    db.train(blobs, save="net.safetensors", learning_rate=1e30, **MLP)
    assert read_kept(Path("net.safetensors")).about["run_id"] == saved.result.config.run_id
    assert any("net.safetensors is not written" in sentence for sentence in told)


class Impatient(LogWatcher):
    """Stops when so many runs have ended."""

    def __init__(self, runs):
        super().__init__()
        self.left = runs

    def finished(self, result):
        super().finished(result)
        self.left -= 1

    def wants_to_stop(self):
        return self.left <= 0


def test_the_best_of_a_sweep_is_kept_across_interruptions(blobs, here, told):
    sweep = {**MLP, "p": [0.2, 0.5], "seeds": 2, "jobs": 1, "save_best": "best.safetensors"}
    again = "trained again"
    with pytest.raises(KeyboardInterrupt):
        db.sweep(blobs, watcher=Impatient(4), **sweep)
    assert len(list(Path("results/nets").glob("*.safetensors"))) == 3  # of the first seed
    done = db.sweep(blobs, **sweep)

    def check():
        rows = done.frame.set_index("run_id")
        mean = rows.groupby("p_drop")["val_error_percent"].mean()
        run_id = read_kept(Path("best.safetensors")).about["run_id"]
        assert mean[rows.loc[run_id, "p_drop"]] == mean.min()
        assert rows.loc[run_id, "seed"] == 0
        assert done.best_run == run_id
        nll = db.predict("best.safetensors", blobs, threads=1).metrics.nll
        assert nll == rows.loc[run_id, "test_nll"]

    check()
    assert not Path("results/nets").exists()
    db.sweep(blobs, **sweep)
    assert not any(again in sentence for sentence in told)
    Path("best.safetensors").unlink()
    done = db.sweep(blobs, **sweep)
    assert sum(again in sentence for sentence in told) == 1
    check()


def test_the_commands_write_what_they_measure(here, capsys):
    frame = of_words()
    frame.to_csv("old.csv", index=False)
    data = ["--data", "csv:old.csv", "--target", "kind"]
    small = ["--layers", "8", "--epochs", "2", "--threads", "1", "--p", "0.3"]
    assert run(["train", *data, *small, "--save", "net.safetensors"]) == 0
    assert json.loads(Path("net.json").read_text())["config"]["target"] == "kind"
    with safe_open("net.safetensors", "pt") as file:
        assert {"dropbench"} == file.metadata().keys()
    capsys.readouterr()
    told = ["net.safetensors", "--mc-samples", "5", "--csv", "p.csv", "--threads", "1", "--json"]
    assert run(["predict", *told]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    shown = {row["metric"]: row for row in table["rows"]}
    with open("p.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for start, column in (("", "dropout_off"), ("mc_", "monte_carlo")):
        wrong = np.mean([row[f"{start}prediction"] != row["label"] for row in rows])
        logs = [np.log(float(row[f"{start}probability_{row['label']}"])) for row in rows]
        assert shown["error_percent"][column] == pytest.approx(100 * wrong)
        assert shown["nll"][column] == pytest.approx(-np.mean(logs), rel=1e-6)
    assert run(["predict", "absent.safetensors"]) == 1
    assert run(["predict", "net.safetensors", "--csv", "absent/p.csv"]) == 1
    assert re.search(r"^Error: Cannot read absent.safetensors", capsys.readouterr().err, re.MULTILINE)
    capsys.readouterr()
    read = {name: Path(name).read_bytes() for name in ("net.safetensors", "net.json", "old.csv")}
    Path("link.csv").symlink_to("old.csv")
    for name in (*read, "link.csv"):
        assert run(["predict", "net.safetensors", "--data", "csv:old.csv", "--csv", name]) == 2
        assert "Error: --csv is " in capsys.readouterr().err
    assert {name: Path(name).read_bytes() for name in read} == read
    assert run(["predict", "net.safetensors", "--threads", "1", "--split", "all", "--csv", "-"]) == 0
    assert len(list(csv.DictReader(capsys.readouterr().out.splitlines()))) == len(frame)
    assert run(["predict", "net.safetensors", "--json", "--csv", "-"]) == 2
