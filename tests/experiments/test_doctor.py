"""A healthy installation has no problem; each simulated fault is found, with the way to mend it."""

import json
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch

import dropbench
from dropbench.cli import main
from dropbench.engine.gpus import START_MPS, Gpu
from dropbench.errors import UsageError
from dropbench.experiments import doctor
from dropbench.experiments.doctor_gpu import describe_gpus, describe_sharing
from dropbench.experiments.finding import BUILDS, Finding
from dropbench.run.config import RunConfig
from dropbench.runners.sharing import Workload

posix = pytest.mark.skipif(os.name != "posix", reason="a signal, or a program that is a shell script")


def named(findings) -> dict[str, Finding]:
    found = list(findings)
    assert len({each.name for each in found}) == len(found)
    return {each.name: each for each in found}


def fails(finding: Finding, state: str, mend: str) -> None:
    assert (finding.state, mend in finding.mend, bool(finding.value)) == (state, True, True), finding


@pytest.fixture
def path(tmp_path, monkeypatch) -> Path:
    """A folder that this process and those that it starts search first for modules and packages."""
    folder = tmp_path / "first"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    own = str(Path(dropbench.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder), own)))
    return folder


def install(path: Path, name: str, version: str, *requires: str) -> None:
    (path / f"{name}-{version}.dist-info").mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    (path / f"{name}-{version}.dist-info" / "METADATA").write_text("\n".join(lines))


def run_command(*arguments: str, cwd: Path) -> "tuple[int, dict[str, Finding]]":
    """Run the command in a process of its own; returns its exit code, and the findings by name."""
    words = [sys.executable, "-m", "dropbench", "doctor", "--json", *arguments]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    (table,) = json.loads(done.stdout)["tables"]
    return done.returncode, named(Finding(**row) for row in table["rows"])


def test_a_healthy_installation_has_no_problem(path, tmp_path):
    results = tmp_path / "results"
    code, found = run_command("--device", "cpu", "--out", str(results), cwd=tmp_path)
    assert {each.state for each in found.values()} <= {"ok", "note"}
    assert code == 0
    assert found["torch"].value.startswith(torch.__version__)
    assert {"packages", "cores", "cache", "data sets", "GPU", "precision", "a small run"} <= found.keys()
    assert not results.exists()


@pytest.mark.parametrize("pip", [True, False])
def test_a_torch_that_its_torchvision_does_not_fit_is_a_problem(path, pip):
    install(path, "torch", "2.9.1+cpu")
    install(path, "torchvision", "0.24.0", "torch==2.9.0")
    if not pip:
        (path / "pip.py").write_text("raise ImportError")
    found = named(doctor._packages())["packages"]
    fails(found, "problem", "pip install")
    assert "torch==2.9.0" in found.value
    assert all(f'"{name}' in found.mend for name in doctor.PAIR), "pip finds a pair if asked for both at once"
    assert f"for cpu from {BUILDS}" in found.mend, "from where torch came"


def test_without_pip_absent_packages_are_found_and_nightly_builds_fit(path):
    (path / "pip.py").write_text("raise ImportError('No module named pip')")
    install(path, "torch", "2.15.0.dev20270101")
    install(path, "torchvision", "0.29.1", "torch>=2.14.0", "absent; extra == 'gdown'")
    assert list(doctor._conflicts(doctor.PAIR)) == []
    fails(named(doctor._packages())["packages"], "note", "ensurepip")
    install(path, "other", "1.0", "nowhere>=2")
    (conflict,) = doctor._conflicts(["other"])
    assert "nowhere>=2" in conflict


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ImportError('undefined symbol: _ZN3c10')", "undefined symbol"),
        pytest.param("import os; os.kill(os.getpid(), 4)", "SIGILL", marks=posix),
    ],
)
def test_a_torch_that_cannot_be_imported_is_a_problem_beside_the_other_findings(path, tmp_path, code, said):
    (path / "torch.py").write_text(code)
    (path / "pip.py").write_text("raise ImportError")  # so that the command is quicker
    exit_code, found = run_command(cwd=tmp_path)
    assert exit_code == 1
    fails(found["torch"], "problem", "--force-reinstall")
    assert said in found["torch"].value
    assert all(each.state != "problem" for name, each in found.items() if name != "torch")
    assert {"packages", "cores", "cache", "results", "data sets", "runs"} <= found.keys()


def test_a_torchvision_that_is_missing_or_half_there_is_a_problem(monkeypatch):
    for name in ("torchvision.ops", "torchvision"):
        monkeypatch.setitem(sys.modules, name, None)
        found = named(doctor._surviving("torchvision", doctor._pair(), "install it"))
        assert found["torch"].state == "ok"
        fails(found["torchvision"], "problem", "install it")


SMI = """#!/bin/sh
if [ "$1" = -L ]; then echo 'GPU 0: NVIDIA L4 (UUID: GPU-1)'; else
echo '| NVIDIA-SMI 550.54    Driver Version: 550.54    CUDA Version: 12.4 |'; fi
"""


@posix
@pytest.mark.parametrize(
    ("program", "cuda", "usable", "visible", "state", "mend"),
    [
        (SMI, "13.0", True, "0", "ok", ""),
        (SMI, "13.0", False, "0", "problem", "Update the NVIDIA driver"),
        (SMI, "12.1", False, "0", "problem", "Update the NVIDIA driver"),
        (SMI, None, False, "0", "problem", "install the build for CUDA"),
        (SMI, "13.0", False, "", "note", "unset CUDA_VISIBLE_DEVICES"),
        ("#!/bin/sh\necho No devices were found; exit 6\n", "13.0", False, "0", "note", "--gpus all"),
    ],
)
def test_a_gpu_that_torch_cannot_use(monkeypatch, tmp_path, program, cuda, usable, visible, state, mend):
    (tmp_path / "nvidia-smi").write_text(program)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr("torch.version.cuda", cuda)
    monkeypatch.setattr("torch.version.hip", None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: usable)
    found = named(describe_gpus("auto"))["GPU"]
    fails(found, state, mend)
    assert program != SMI or "NVIDIA L4, driver 550.54" in found.value
    assert ("too old" in found.value) == (state == "problem" and cuda == "13.0")
    assert named(describe_gpus("cpu"))["GPU"].state == ("ok" if state == "ok" else "note")


def test_a_device_that_is_absent_is_a_problem_and_an_unknown_one_wrong_use(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = named(doctor._surviving("device", doctor._training("cuda", "auto", tmp_path)))
    fails(found["device"], "problem", "device=cpu")
    for device, precision in (("tpu", "auto"), ("cpu", "fp7")):
        with pytest.raises(UsageError):
            list(doctor._surviving("device", doctor._training(device, precision, tmp_path)))


@pytest.mark.parametrize(
    ("mps", "at_hand", "advised"), [(True, 64, False), (False, 64, True), (False, 2, False)]
)
def test_what_runs_can_take_of_each_gpu_is_told_and_how_more_could_share_it(
    monkeypatch, digits, mps, at_hand, advised
):
    """With few cores there would be fewer processes than runs side by side: then MPS is not advised."""
    monkeypatch.setattr("dropbench.runners.choose.cores", lambda: at_hand)
    made_up = Gpu("H100", 80 * 10**9, 132, (9, 0), mps)
    monkeypatch.setattr("dropbench.engine.gpus.found", lambda: [made_up, made_up])
    monkeypatch.setattr("sys.platform", "linux")
    workload = Workload.of([RunConfig(model="mlp", p_drop=0.5)], digits)
    found = named(describe_sharing(workload))
    for number in (0, 1):
        assert all(word in found[f"GPU {number}"].value for word in ("H100", "80.0 GB", "132", "9.0"))
    fails(found["MPS"], "note" if advised else "ok", START_MPS if advised else "")
    assert str(workload.runs_on_each([made_up] * 2, at_hand)) in found["MPS"].value


@pytest.fixture
def _no_training(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr("dropbench.runners.base.training", fail)
    monkeypatch.setattr("dropbench.runners.serial.prepare_process", lambda threads, device: None)


@pytest.mark.usefixtures("_no_training")
@pytest.mark.parametrize("there", [True, False])
def test_bf16_where_it_is_emulated_and_tf32_where_there_is_none(monkeypatch, tmp_path, there):
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: there)
    names = ("auto", "bf16", "fp16", "tf32")
    auto, bf16, fp16, tf32 = (named(doctor._training("cpu", name, tmp_path))["precision"] for name in names)
    assert auto.value.startswith("bf16" if there else "fp32")
    fails(bf16, "ok" if there else "note", "" if there else "`precision=auto`")
    fails(fp16, "note", "`precision=auto`")
    fails(tf32, "problem", "`precision=auto`")


@pytest.mark.usefixtures("_no_training")
def test_a_run_that_fails_is_a_problem(tmp_path):
    found = named(doctor._training("cpu", "fp32", tmp_path))["a small run"]
    fails(found, "problem", "`precision=fp32`")
    assert "could not create a primitive" in found.value


def test_cores_and_an_allocator_that_cost_time_are_notes(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: range(16), raising=False)
    monkeypatch.setattr("dropbench.engine.allocator.can_keep_memory", lambda: False)
    for granted, mend, platform in ((3, "`jobs=3`", "linux"), (16, "", "darwin")):
        monkeypatch.setattr("joblib.cpu_count", lambda granted=granted: granted)
        monkeypatch.setattr("sys.platform", platform)
        found = named(doctor._machine())
        fails(found["cores"], "note", mend)
        assert found["allocator"].state == ("note" if platform == "linux" else "ok")


def test_a_file_in_the_place_of_a_folder_is_a_problem(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DROPBENCH_CACHE_DIR", str(tmp_path / "file"))
    found = named(doctor._folders(tmp_path / "file" / "results", tmp_path / "file"))
    for name, way in (("data", "`data_dir`"), ("cache", "DROPBENCH_CACHE_DIR"), ("results", "`out`")):
        fails(found[name], "problem", way)


def test_data_that_are_there_can_be_used_from_a_disk_that_is_full(monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage(10**12, 10**12, 0))
    (tmp_path / "cifar-100-python").mkdir()
    for name in ("train", "test", "meta"):
        (tmp_path / "cifar-100-python" / name).write_text("")
    found = named(doctor._folders(tmp_path, tmp_path))
    fails(found["data"], "note", "Make room")
    fails(found["results"], "problem", "Make room")
    assert "mnist5k, cifar100" in found["data sets"].value


def test_runs_that_failed_and_rows_that_are_damaged_are_notes(tmp_path):
    repeated, failed, cut_off = "a,failed,1\na,ok,1\n", "a,diverged,1\n", "a,ok,1\nb,o"
    for rows, state, mend in ((repeated, "ok", ""), (failed, "note", "retry"), (cut_off, "note", "same")):
        (tmp_path / "runs.csv").write_text(f"run_id,status,schema_version\n{rows}")
        fails(named(doctor._runs(tmp_path))["runs"], state, mend)
    (tmp_path / "runs.csv").write_text("another,table\n1,2\n")
    fails(named(doctor._surviving("runs", doctor._runs(tmp_path)))["runs"], "problem", "folder")


def test_the_table_and_the_json_say_the_same_and_the_code_follows(monkeypatch, capsys):
    found = [Finding("one", "[red]fine[/red]"), Finding("two", "gone", "problem", "install it")]
    for several, code in ((found[:1], 0), (found, 1)):
        monkeypatch.setattr(doctor, "examine", lambda *arguments, several=several: iter(several))
        assert main.run(["doctor", "--json"]) == code
        (table,) = json.loads(capsys.readouterr().out)["tables"]
        assert [Finding(**row) for row in table["rows"]] == several
        assert main.run(["doctor"]) == code
        text = " ".join(capsys.readouterr().out.split())
        assert all(f"{each.state} {each.value}" in text and each.mend in text for each in several)
