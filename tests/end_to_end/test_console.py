"""Every command through the real console script, in a folder of its own, as a newcomer runs it."""

import json
import re
import shlex
import signal
import subprocess
import sys

import pytest
import torch
import typer
from end_to_end.console import dropbench, rows, start, wait_for
from end_to_end.images import write_images

from dropbench.cli.main import app, run
from dropbench.experiments.speed import items
from dropbench.experiments.speed.session import made_up_data

QUICK = ["--model", "mlp", "--layers", "32", "--epochs", "2", "--train-size", "300"]


def test_sweep_then_resume_then_report(tmp_path):
    command = ["sweep", "--p", "0.2,0.5", "--seeds", "2", *QUICK]
    dry = dropbench(*command, "--dry-run", cwd=tmp_path)
    assert dry.stdout.count("to do") == 6
    assert not (tmp_path / "results").exists()
    first = dropbench(*command, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    found = rows(tmp_path / "results" / "runs.csv")
    assert len(found) == 6
    assert {(row["p_drop"], row["p_keep"]) for row in found} == {
        ("0.0", "1.0"),
        ("0.2", "0.8"),
        ("0.5", "0.5"),
    }
    assert {row["status"] for row in found} == {"ok"}
    assert len(rows(tmp_path / "results" / "epochs.csv")) == 12
    assert len(list((tmp_path / "results").glob("error-against-p-*.png"))) == 1
    assert "p_keep" in first.stdout
    again = dropbench(*command, cwd=tmp_path)
    assert again.stdout == first.stdout
    assert len(rows(tmp_path / "results" / "runs.csv")) == 6
    as_json = dropbench(*command, "--json", cwd=tmp_path)
    assert len(json.loads(as_json.stdout)["tables"][0]["rows"]) == 3
    for ending in ("md", "csv", "json", "tex"):
        report = dropbench("report", "--export", f"table.{ending}", cwd=tmp_path)
        assert report.stdout == first.stdout, report.stderr
        assert (tmp_path / f"table.{ending}").stat().st_size > 300
        piped = dropbench("report", "--export", "-", "--format", ending, cwd=tmp_path)
        assert piped.stdout == (tmp_path / f"table.{ending}").read_text()


def test_the_page_and_pictures_of_every_format(tmp_path):
    assert dropbench("sweep", "--p", "0.2,0.5", "--seeds", "2", *QUICK, cwd=tmp_path).returncode == 0
    done = dropbench(
        "report", "--html", "page.html", "--pictures", "p", "--picture-format", "png,svg,pdf", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "<!DOCTYPE html>" in (tmp_path / "page.html").read_text()[:20]
    assert {path.suffix for path in (tmp_path / "p").iterdir()} == {".png", ".svg", ".pdf"}
    piped = dropbench("report", "--html", "-", cwd=tmp_path)
    assert piped.stdout == (tmp_path / "page.html").read_text()


def test_the_command_on_the_page_makes_the_same_runs(tmp_path):
    command = ["sweep", "--p", "0.2,0.5", "--p-input", "0,0.1", "--max-norm", "3", "--seeds", "2", *QUICK]
    command += ["--l1", "0.0001", "--kl-sparsity", "0.1", "--sparsity-target", "0.2", "--width", "0.5"]
    assert dropbench(*command, "--widen", "--dropout", "bernoulli,gaussian", cwd=tmp_path).returncode == 0
    page = dropbench("report", "--html", "-", cwd=tmp_path).stdout
    (told,) = re.findall(r"<code>dropbench (.*?)</code>", page)
    again = dropbench(*shlex.split(told), "--dry-run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("to do") == 0
    assert again.stdout.count("done") == len(rows(tmp_path / "results" / "runs.csv"))
    arms = [
        "compare-bagging",
        "--arms",
        "bagging",
        "--members",
        "2",
        "--ood",
        "permuted",
        "--seeds",
        "1",
        *QUICK,
    ]
    arms += ["--schedule", "late", "--activation", "maxout", "--pieces", "2", "--width", "0.5", "--widen"]
    assert dropbench(*arms, "--out", "c", cwd=tmp_path).returncode == 0
    page = dropbench("report", "c", "--only", "comparison", "--html", "-", cwd=tmp_path).stdout
    (told,) = re.findall(r"<code>dropbench (.*?)</code>", page)
    assert "0 runs to do" in dropbench(*shlex.split(told), "--out", "c", cwd=tmp_path).stderr


def test_a_page_of_what_no_one_command_makes_has_several(tmp_path):
    base = ["sweep", "--seeds", "2", "--runner", "serial", *QUICK]
    for more in (
        ["--p", "0.2"],
        ["--p", "0.5", "--convention", "weight-scaling"],
        ["--p", "0.3", "--widen"],
        ["--p", "0.2", "--schedule", "early", "--cutoff-epoch", "1"],
    ):
        assert dropbench(*base, *more, cwd=tmp_path).returncode == 0
    for command in (["features", "--units", "4"], ["features", "--units", "6", "--tied"]):
        small = ["--data", "mnist5k", "--epochs", "1", "--train-size", "100", "--seeds", "1"]
        assert dropbench(*command, *small, "--runner", "serial", cwd=tmp_path).returncode == 0
    page = dropbench("report", "--html", "-", cwd=tmp_path).stdout
    sweeps, features = (
        each.splitlines() for each in re.findall(r"<code>(dropbench .*?)</code>", page, re.DOTALL)
    )
    assert (len(sweeps), len(features)) == (3, 2)
    for told in (sweeps[0], *features):
        words = shlex.split(told)[1:]
        assert "0 runs to do" in dropbench(*words, cwd=tmp_path).stderr, told
    listed = "".join(dropbench(*shlex.split(told)[1:], "--dry-run", cwd=tmp_path).stdout for told in sweeps)
    assert "to do" not in listed
    ran = {row["run_id"] for row in rows(tmp_path / "results" / "runs.csv") if row["model"] != "autoencoder"}
    assert {line.split()[1] for line in listed.splitlines()} == ran


def test_diff_of_two_folders(tmp_path):
    command = ["sweep", "--p", "0.2", "--seeds", "4", "--precision", "fp32", *QUICK]
    for out, more in (("old", ()), ("new", ()), ("worse", ("--learning-rate", "0.0001"))):
        assert dropbench(*command, *more, "--out", out, cwd=tmp_path).returncode == 0
    same = dropbench("report", "--diff", "old", "new", cwd=tmp_path)
    assert same.returncode == 0, same.stderr
    assert "0 are significantly worse" in same.stdout
    other = dropbench("report", "--diff", "old", "worse", cwd=tmp_path)
    assert (other.returncode, "no setting with a seed in common" in other.stderr) == (1, True)
    text = (tmp_path / "worse" / "runs.csv").read_text()
    (tmp_path / "worse" / "runs.csv").write_text(text.replace(",0.0001,", ",0.1,"))
    worse = dropbench("report", "worse", "--diff", "old", "--export", "-", "--format", "json", cwd=tmp_path)
    assert worse.returncode == 4, worse.stderr
    assert {row["worse"] for row in json.loads(worse.stdout)["tables"][0]["rows"]} == {True}


def test_report_never_imports_torch(tmp_path):
    assert dropbench("sweep", "--p", "0.5", "--seeds", "1", *QUICK, cwd=tmp_path).returncode == 0
    code = (
        "import sys; from dropbench.cli.main import run; "
        "assert run(['report', '--export', 'x.tex']) == 0; assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_train_as_json_and_through_the_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dropbench", "train", "--p", "0.3", "--max-norm", "3", "--json", *QUICK],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["config"]["p_drop"] == 0.3
    assert result["config"]["p_keep"] == 0.7
    (row,) = rows(tmp_path / "results" / "runs.csv")
    assert float(row["test_nll"]) == pytest.approx(result["test_nll"])
    assert row["run_id"] == result["run_id"]


def test_the_same_fp32_sweep_twice_writes_the_same_bits(tmp_path):
    command = ["sweep", "--p", "0.5", "--seeds", "1", "--precision", "fp32", "--jobs", "1", *QUICK[4:]]
    command += ["--width", "0.25"]
    timed = {"images_per_second", "seconds", "train_seconds", "peak_memory_bytes", "started_at"}
    tables = []
    for folder, scratch in (("one", True), ("two", False)):
        done = dropbench(*command, "--out", folder, cwd=tmp_path, scratch=scratch)
        assert done.returncode == 0, done.stderr
        tables.append(
            [
                {name: cell for name, cell in row.items() if name not in timed}
                for file in ("runs.csv", "epochs.csv")
                for row in rows(tmp_path / folder / file)
            ]
        )
    assert tables[0] == tables[1]


def test_speed_measures_records_and_is_reported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(items, "made_up_data", lambda shape, train, test: made_up_data(shape, 90, test))
    monkeypatch.setattr(items, "LAYERS", ((2, 4, 8, 8),))
    assert run(["speed", "--only", "layers,mlp", "--repetitions", "2", "--json"]) == 0
    (table,) = json.loads(capsys.readouterr().out)["tables"]
    assert len(table["rows"]) == 5
    for row in table["rows"]:
        assert row["reference"] == ("copy" if row["item"] == "bandwidth" else "plain loop")
        assert row["contender"] == "dropbench"
        assert row["ratio_lowest"] <= row["ratio_median"] <= row["ratio_highest"]
        assert min(row["median"], row["reference_median"]) > 0
    recorded = rows(tmp_path / "results" / "speed.csv")
    assert len(recorded) == 10
    assert all(len(row["values"].split()) == 2 for row in recorded)
    report = dropbench("report", cwd=tmp_path)
    assert "784-1024-1024-10" in report.stdout
    wrong = dropbench("speed", "--only", "layer", cwd=tmp_path)
    assert (wrong.returncode, "layers" in wrong.stderr) == (2, True)


def test_variants_stand_in_one_table_with_one_reference(tmp_path):
    command = ["sweep", "--dropout", "bernoulli,gaussian,spatial", "--p", "0.5", "--seeds", "2", *QUICK]
    done = dropbench(*command, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(done.stdout)["tables"]
    assert [row["dropout"] for row in table["rows"] if row["p_drop"]] == ["bernoulli", "gaussian", "spatial"]
    assert [row["reference"] for row in table["rows"]].count(True) == 1
    assert all(row["difference_to_reference"] is not None for row in table["rows"] if row["p_drop"])
    assert "dropout" in dropbench(*command, cwd=tmp_path).stdout
    nothing = dropbench("train", "--p", "0", "--dropout", "gaussian", *QUICK, cwd=tmp_path)
    assert "does nothing" in nothing.stderr
    wrong = dropbench("train", "--dropout", "gausian", *QUICK, cwd=tmp_path)
    assert (wrong.returncode, "gaussian" in wrong.stderr) == (2, True)


def test_verify_passes_records_and_is_reported(tmp_path):
    done = dropbench("verify", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (table,) = json.loads(done.stdout)["tables"]
    assert {row["passed"] for row in table["rows"]} == {"yes"}
    assert len(rows(tmp_path / "results" / "checks.csv")) == len(table["rows"])
    assert "All " in dropbench("report", cwd=tmp_path).stdout


def test_compare_bagging(tmp_path):
    arguments = ["compare-bagging", "--members", "2", "--mc-samples", "3", *QUICK]
    done = dropbench(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for arm in ("single net", "weight scaling", "Monte-Carlo × 3", "bagging × 2", "ensemble, all data × 2"):
        assert arm in done.stdout
    said = " ".join(done.stdout.split())
    assert re.search(r"Bagging of 2 .* 2\.0× the training and 2\.0× the inference\.", said)
    assert len(list((tmp_path / "results").glob("bagging-*.png"))) == 4
    assert dropbench("report", cwd=tmp_path).stdout == done.stdout
    again = dropbench(*arguments, "--json", cwd=tmp_path)
    assert "0 runs to do" in again.stderr
    tables = {table["kind"]: table for table in json.loads(again.stdout)["tables"]}
    assert list(tables) == ["comparison", "members", "cost", "against-members", "against-passes"]
    costs = {row["arm"]: row["train_flops"] for row in tables["cost"]["rows"]}
    assert costs["bagging"] == 2 * costs["dropout"]


def test_all_arms_under_every_budget_share_a_folder(tmp_path):
    from dropbench.catalog.arms import ARMS, BUDGETS

    arguments = ["compare-bagging", "--arms", ",".join(ARMS), "--members", "2", "--mc-samples", "2", *QUICK]
    arguments += ["--data", f"folder:{write_images(tmp_path / 'images')}", "--train-size", "30"]
    for budget in BUDGETS:
        done = dropbench(*arguments, "--seeds", "1", "--budget", budget, "--ood", "permuted", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    report = dropbench("report", "--pictures", "pictures", cwd=tmp_path)
    assert report.stdout.count("Held equal: ") == len(BUDGETS)
    assert len(list((tmp_path / "pictures").glob("bagging-*.png"))) == 4 * len(BUDGETS)
    found = rows(tmp_path / "results" / "comparisons.csv")
    assert {row["budget"] for row in found} == set(BUDGETS)
    assert {row["arm"] for row in found} == set(ARMS)


def test_data_commands(tmp_path):
    listed = dropbench("data", "list", cwd=tmp_path)
    assert re.search(r"mnist5k\s+here", listed.stdout)
    assert re.search(r"cifar10\s+absent", listed.stdout)
    assert re.search(r"\b4,000\s+1,000\b", dropbench("data", "prepare", "mnist5k", cwd=tmp_path).stdout)


def test_flags_from_variables_and_a_file_with_the_command_line_above_both(tmp_path):
    (tmp_path / "settings.toml").write_text('epochs = 3\ntrain-size = 100\n[train]\nout = "from-file"\n')
    arguments = [
        "train",
        "--config",
        "settings.toml",
        "--model",
        "mlp",
        "--layers",
        "8",
        "--epochs",
        "1",
        "--json",
    ]
    done = dropbench(*arguments, cwd=tmp_path, DROPBENCH_OUT="from-variable")
    result = json.loads(done.stdout)
    assert (result["config"]["epochs"], result["config"]["train_size"]) == (1, 100)
    assert (tmp_path / "from-variable" / "runs.csv").exists()
    reported = dropbench("report", cwd=tmp_path, DROPBENCH_OUT="from-variable")
    assert (reported.returncode, "p_drop" in reported.stdout) == (0, True)
    for wrong, said in (
        ("[train]\nepoch = 3\n", "Did you mean 'epochs'"),
        ("trainsize = 3\n", "Did you mean 'train-size'"),
        ("[sweeep]\np = 0.5\n", "Did you mean 'sweep'"),
        ("[sweep]\nseed = 1\n", "Did you mean 'seeds'"),
    ):
        (tmp_path / "settings.toml").write_text(wrong)
        done = dropbench(*arguments, cwd=tmp_path)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_every_option_is_a_variable_named_like_it():
    group = typer.main.get_command(app)
    groups = group.commands["data"], group.commands["model"]
    commands = [*group.commands.values(), *(each for one in groups for each in one.commands.values())]
    options = [each for command in commands for each in command.params if each.opts[0].startswith("--")]
    named = {each.opts[0]: each.envvar for each in options if each.name != "help"}
    assert {"--p", "--data-dir", "--baseline", "--html", "--config"} <= named.keys()
    assert named == {flag: "DROPBENCH_" + flag[2:].upper().replace("-", "_") for flag in named}


def test_variables_are_read_and_checked_like_options(tmp_path):
    base = ["sweep", *QUICK, "--dry-run"]
    done = dropbench(*base, cwd=tmp_path, DROPBENCH_P="0.3", DROPBENCH_SEEDS="1", DROPBENCH_BASELINE="false")
    assert "1 run to do" in done.stderr
    wrong = dropbench("sweep", "--dry-run", cwd=tmp_path, DROPBENCH_EPOCHS="abc")
    assert wrong.returncode == 2
    assert "Invalid value for '--epochs'" in wrong.stderr
    assert "dropbench sweep --help" in wrong.stderr
    (tmp_path / "flags.toml").write_text('widen = true\njson = true\nmodel = "mlp"\nseeds = 1\n')
    from_file = dropbench("sweep", "--p", "0.5", "--config", "flags.toml", "--dry-run", cwd=tmp_path)
    flags = ["--widen", "--model", "mlp", "--seeds", "1"]
    from_flags = dropbench("sweep", "--p", "0.5", *flags, "--dry-run", cwd=tmp_path)
    without = dropbench("sweep", "--p", "0.5", *flags[1:], "--dry-run", cwd=tmp_path)
    assert from_file.stdout == from_flags.stdout != without.stdout


def test_interrupted_sweep_keeps_its_rows_and_says_how_to_go_on(tmp_path):
    process = start("sweep", "--p", "0.1..0.8", *QUICK, "--epochs", "20", cwd=tmp_path)
    path = tmp_path / "results" / "runs.csv"
    wait_for(lambda: path.exists() and len(rows(path)) >= 2)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate()
    assert process.wait() == 130
    assert "to go on: dropbench sweep" in messages
    assert "Traceback" not in messages
    assert {row["status"] for row in rows(path)} == {"ok"}


def test_json_is_whole_however_long_its_strings_are(tmp_path):
    from PIL import Image

    name = "x" * 240
    for part in ("train", "test"):
        for number, shade in enumerate(("black", "white")):
            (tmp_path / name / part / shade).mkdir(parents=True)
            for k in range(5):
                image = Image.new("L", (8, 8), 200 * number + k)
                image.save(tmp_path / name / part / shade / f"{k}.png")
    arguments = ["sweep", "--data", f"folder:{name}", "--p", "0.5", "--seeds", "1", "--epochs", "1", "--json"]
    done = dropbench(*arguments, "--model", "mlp", "--layers", "4", "--out", "o", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert name in json.loads(done.stdout)["tables"][0]["title"]


def test_diverged_runs_end_with_three(tmp_path):
    done = dropbench("sweep", "--p", "0.5", "--seeds", "1", *QUICK, "--learning-rate", "1e30", cwd=tmp_path)
    assert done.returncode == 3
    assert {row["status"] for row in rows(tmp_path / "results" / "runs.csv")} == {"diverged"}
    assert "2 runs diverged" in done.stderr


USAGE = [
    (["sweep", "--p", "1.5"], "below 1"),
    (["sweep", "--p", "0.8..0.1"], "0.1..0.8"),
    (["sweep", "--p", "0.1..0.8:0"], "step"),
    (["sweep", "--time-limit", "55"], "as 55m"),
    (["sweep", "--p", "half"], "no number"),
    (["sweep", "--p", "nan"], "finite"),
    (["sweep", "--p", "-0.5"], "at least 0"),
    (["train", "--p", "0.1,0.2"], "2 values"),
    (["train", "--data", "mnist5"], "Did you mean 'mnist5k'"),
    (["train", "--model", "lecture"], "Did you mean 'lecture-cnn'"),
    (["train", "--data", "folder:"], "folder:PATH"),
    (["train", "--train-size", "4000"], "3,600"),
    (["train", "--train-size", "0"], "1 or more"),
    (["train", "--epochs", "0"], "1 or more"),
    (["train", "--epochs", "many"], "write a whole number, like 3."),
    (["train", "--learning-rate", "0,1"], "Write a number above 0"),
    (["sweep", "--p", "0,5"], "--p 0,5: a comma parts values. Write 0.5."),
    (["train", "--device", "tpu"], "cpu, cuda"),
    (["train", "--layers", "10"], "--model mlp"),
    (["train", "--model", "mlp", "--p-conv", "0.5"], "no conv dropout site"),
    (["train", "--model", "autoencoder"], "dropbench features"),
    (["train", "--dropout", "gausian"], "Did you mean 'gaussian'"),
    (["train", "--dropout", "alpha"], "--activation selu"),
    (["train", "--dropout", "absent:Noise"], "no module 'absent'"),
    (["train", "--dropout", "torch.nn:Dropuot"], "Did you mean 'Dropout'"),
    (["train", "--dropout", "dropconnect", "--p-conv", "0.2"], "fully connected"),
    (["train", "--schedule", "early", "--cutoff-epoch", "10"], "1 to 9"),
    (["sweep", "--cutoff-epoch", "3"], "--schedule"),
    (["compare-bagging", "--members", "0"], "members"),
    (["compare-bagging", "--p", "0"], "no dropout"),
    (["compare-bagging", "--arms", "single,baging"], "Did you mean 'bagging'"),
    (["compare-bagging", "--arms", "dropout"], "nothing to compare"),
    (["compare-bagging", "--budget", "training"], "Did you mean 'train'"),
    (["compare-bagging", "--ood", "rotate"], "Did you mean 'rotated'"),
    (["compare-bagging", "--ood", "mnist5k"], "training data itself"),
    (["compare-bagging", "--arms", "snapshot", "--members", "11"], "11 epochs"),
    (["compare-bagging", "--arms", "untied", "--dropout", "gaussian"], "Bernoulli"),
    (["compare-bagging", "--schedule", "early"], "dropout-mc has nothing"),
    (["report", "--export", "table.xls"], ".tex"),
    (["report", "--export", "-", "--format", "docx"], "Known: md"),
    (["report", "--format", "md"], "--export"),
    (["report", "--export", "-", "--html", "-"], "stdout"),
    (["report", "--only", "sweeps"], "Did you mean 'sweep'"),
    (["report", "--metric", "accuracy"], "error, nll"),
    (["report", "--sort", "error"], "Known: p"),
    (["report", "--reference", "q=0"], "p=0.5"),
    (["report", "--reference", "1.5"], "below 1"),
    (["report", "--pictures", "p", "--picture-format", "jpg"], "Did you mean 'png'"),
    (["report", "--picture-format", "svg"], "--pictures DIR"),
    (["report", "--diff", "x", "--sort", "val"], "--sort"),
    (["report", "--diff", "x", "--html", "y.html"], "neither pictures nor a page"),
    (["sweeep"], "sweeep"),
    (["sweep", "--epoch", "3"], "--epochs"),
    (["train", "--config", "absent.toml"], "absent.toml"),
]


@pytest.mark.parametrize(
    ("arguments", "said"), USAGE, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_wrong_use_is_one_line_and_two(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert "Traceback" not in told
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report"], "dropbench sweep"),
        (["train", "--data", "folder:nowhere"], "train/CLASS"),
        (["train", "--out", "file/results"], "--out"),
        pytest.param(
            ["train", "--device", "cuda"], "no CUDA",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here"),
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_outside_is_one_line_and_one(tmp_path, arguments, said):
    (tmp_path / "file").write_text("")
    done = dropbench(*arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "sweep",
        "compare-bagging",
        "speed",
        "verify",
        "report",
        "doctor",
        "data list",
        "data prepare",
        "model list",
    ],
)
def test_every_help_states_two_examples(tmp_path, command):
    done = dropbench(*command.split(), "--help", cwd=tmp_path, NO_COLOR="1")
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    assert done.returncode == 0
    assert text.count(f"dropbench {command}") >= 3
