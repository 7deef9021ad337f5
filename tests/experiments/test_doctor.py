"""Each thing that can be wrong is found where it is wrong, and its mend mends it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import namedtuple
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

import dropbench
from dropbench.cli import main
from dropbench.datasets.cache import cache_folder
from dropbench.errors import UsageError
from dropbench.experiments.doctor import finding, folders, installation, machine, nvidia, run, with_torch
from dropbench.experiments.doctor.finding import Finding
from dropbench.experiments.doctor.nvidia import Driver
from dropbench.run.result import RunResult

CPU = torch.device("cpu")
OWN = ["torch<3,>=2.9", "torchvision<1,>=0.24", "numpy>=2.1", "ray>=2.49; extra == 'ray'"]
PINNED = ["numpy", "torch==2.9.0", "scipy; extra == 'scipy'"]


@pytest.fixture
def packages(monkeypatch):
    """Sets which versions are installed, and what torchvision requires, as metadata tell it."""

    def install(requires=PINNED, **versions):
        needs = {"dropbench": OWN, "torchvision": requires}

        def version(name):
            if name not in versions:
                raise metadata.PackageNotFoundError(name)
            return versions[name]

        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.setattr(metadata, "requires", needs.get)

    return install


@pytest.fixture
def _threads_as_before():
    """A run sets the threads of its process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def pip_requirements(command: str) -> dict[str, str]:
    """What a pip command asks for: each package's specifier by its name."""
    words = [word for word in shlex.split(command) if word.startswith("torch")]
    return {requirement.name: str(requirement.specifier) for requirement in map(Requirement, words)}


def test_a_matching_pair_is_ok(packages):
    for torch_version in ("2.9.0", "2.9.0+cu128", "2.9.0+cpu"):
        packages(torch=torch_version, torchvision="0.24.0")
        assert installation.judge_pair().state == "ok"
    packages(["torch>=2.14.0"], torch="2.15.0.dev20270101", torchvision="0.29.1")
    assert installation.judge_pair().state == "ok", "a nightly build is one, too"


@pytest.mark.parametrize("torch_version", ["2.10.0", "2.9.1", "2.10.0+cpu", "2.11.0.dev20260101"])
def test_what_the_mend_of_a_mismatch_installs_is_a_pair(packages, torch_version):
    packages(torch=torch_version, torchvision="0.24.0")
    found = installation.judge_pair()
    assert found.state == "problem"
    assert "torch==2.9.0" in found.value
    wanted = pip_requirements(found.mend)
    assert wanted == {"torch": "==2.9.0", "torchvision": "==0.24.0"}
    packages(**{name: specifier.removeprefix("==") for name, specifier in wanted.items()})
    assert installation.judge_pair().state == "ok"


def test_the_mend_installs_from_where_torch_came(packages):
    packages(torch="2.10.0+cpu", torchvision="0.24.0")
    assert (
        f" --index-url URL, with the URL for cpu from {installation.BUILDS}" in installation.judge_pair().mend
    )
    packages(torch="2.10.0", torchvision="0.24.0")
    assert "--index-url" not in installation.judge_pair().mend


@pytest.mark.parametrize(
    "versions",
    [{}, {"torch": "2.9.0"}, {"torchvision": "0.24.0"}, {"torch": "2.8.0", "torchvision": "0.23.0"}],
)
def test_an_absent_or_outdated_pair_is_installed_as_dropbench_wants_it(packages, versions):
    packages(**versions)
    found = installation.judge_pair()
    assert found.state == "problem"
    assert pip_requirements(found.mend) == {"torch": "<3,>=2.9", "torchvision": "<1,>=0.24"}


def test_a_pair_that_is_broken_is_installed_again_as_it_is(packages):
    packages(torch="2.9.0", torchvision="0.24.0")
    command = installation.install_pair(again=True)
    assert "--force-reinstall" in command
    assert pip_requirements(command) == {"torch": "==2.9.0", "torchvision": "==0.24.0"}


def test_other_packages_are_held_to_what_dropbench_requires(packages):
    packages(numpy="2.1.0")
    assert installation.judge_packages().state == "ok"
    for version in ("2.0.9", None):
        packages(**({"numpy": version} if version else {}))
        found = installation.judge_packages()
        assert (found.state, found.mend) == ("problem", 'pip install "numpy>=2.1"')
        assert str(version) in found.value or "none" in found.value


def test_metadata_that_an_interrupted_pip_left_empty_is_no_installation(packages):
    packages(numpy=None)
    assert installation.installed("numpy") is None


def test_an_absent_ray_is_a_note(packages):
    packages(ray="2.50.0")
    assert installation.judge_ray().state == "ok"
    packages()
    found = installation.judge_ray()
    assert (found.state, found.mend) == ("note", 'pip install "dropbench[ray]"')
    packages(ray="2.40.0")
    assert installation.judge_ray().state == "note"


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 10, 9), "problem"), ((3, 11, 0), "ok"), ((3, 13, 7), "ok"), ((3, 14, 0), "note")],
)
def test_python_is_one_of_those_tested(version, state):
    found = installation.judge_python(version)
    assert found.state == state
    assert bool(found.mend) == (state != "ok")


def test_a_folder_that_can_be_written_is_ok_and_left_as_it_was(tmp_path):
    for folder in (tmp_path, tmp_path / "new" / "deep"):
        found = folders.judge_folder("results", folder, "use --out")
        assert (found.state, str(folder) in found.value) == ("ok", True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_of_a_folder_is_a_problem(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "results"):
        found = folders.judge_folder("results", folder, "name another folder with --out")
        assert (found.state, "--out" in found.mend) == ("problem", True)


def test_a_folder_without_permission_is_a_problem(tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)  # root would be refused nothing
    found = {each.name: each for each in folders.folders(tmp_path, tmp_path)}
    for name, way in (("data", "--data-dir"), ("cache", "DROPBENCH_CACHE_DIR"), ("results", "--out")):
        assert found[name].state == "problem"
        assert "Permission denied" in found[name].value
        assert way in found[name].mend


def test_a_nearly_full_disk_is_a_problem(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    for free, state in ((0, "problem"), (999_999_999, "problem"), (1_000_000_000, "ok")):
        monkeypatch.setattr("shutil.disk_usage", lambda place, free=free: usage(10**12, 0, free))
        states = {each.name: each.state for each in folders.folders(tmp_path, tmp_path)}
        assert {states[name] for name in ("data", "cache", "results")} == {state}


def test_data_that_are_there_can_be_used_from_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "cifar-100-python").mkdir()
    for name in ("train", "test", "meta"):
        (tmp_path / "cifar-100-python" / name).write_text("")
    monkeypatch.setattr(folders, "judge_folder", lambda *arguments: Finding("data", "", "problem", "x"))
    found, sets = folders._data(tmp_path)
    assert found.state == "note"
    here, absent = sets.value.split("; ")
    assert here == "here: mnist5k, cifar100"
    assert "cifar10," in absent


def test_runs_that_failed_are_a_note(tmp_path):
    header = "run_id,status,schema_version\n"
    (tmp_path / "runs.csv").write_text(f"{header}a,ok,1\nb,failed,1\nb,ok,1\n")
    assert folders_of(tmp_path)["runs"].state == "ok", "what was done again with success did not fail"
    (tmp_path / "runs.csv").write_text(f"{header}a,ok,1\nb,diverged,1\n")
    found = folders_of(tmp_path)["runs"]
    assert (found.state, "--retry-failed" in found.mend) == ("note", True)
    assert "1 ok, 1 diverged" in found.value
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n")
    assert folders_of(tmp_path)["runs"].state == "problem"


def folders_of(results: Path) -> dict[str, Finding]:
    return {each.name: each for each in folders.folders(results, results)}


H100 = Driver(("NVIDIA H100",), "550.54")


@pytest.mark.parametrize(
    ("driver", "cuda", "usable", "state", "mend"),
    [
        (None, None, False, "ok", ""),
        (None, "13.0", False, "ok", ""),
        (H100, "13.0", True, "ok", ""),
        (H100, None, False, "problem", "pip uninstall -y torch torchvision"),
        (H100, "13.0", False, "problem", "Update the NVIDIA driver"),
        (Driver(()), "13.0", False, "note", "--gpus all"),
        (Driver(("GPU 0",), "", "Driver/library version mismatch"), "13.0", False, "problem", "Restart"),
    ],
)
def test_a_gpu_that_torch_cannot_use(driver, cuda, usable, state, mend, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    found = nvidia.judge_driver(driver, cuda, usable, "", wanted=True)
    assert found.state == state
    assert mend in found.mend
    assert bool(mend) == bool(found.mend)
    unwanted = nvidia.judge_driver(driver, cuda, usable, "", wanted=False)
    assert unwanted.state == ("ok" if state == "ok" else "note")


def test_what_torch_warns_of_is_told(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    text = "The NVIDIA driver on your system is too old (found version 11040)."
    assert text in nvidia.judge_driver(H100, "13.0", False, text, wanted=True).value


def test_a_gpu_that_was_hidden_is_a_note(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = nvidia.judge_driver(H100, "13.0", False, "", wanted=True)
    assert (found.state, found.mend) == ("note", "unset CUDA_VISIBLE_DEVICES")


def test_the_mend_of_a_torch_without_cuda_is_not_from_where_that_came(packages, monkeypatch):
    packages(torch="2.9.0+cpu", torchvision="0.24.0+cpu")
    monkeypatch.setattr("platform.system", lambda: "Linux")
    mend = nvidia.judge_driver(H100, None, False, "", wanted=True).mend
    assert mend.endswith('pip install "torch==2.9.0" "torchvision==0.24.0"')
    monkeypatch.setattr("platform.system", lambda: "Windows")
    assert "pytorch.org" in nvidia.judge_driver(H100, None, False, "", wanted=True).mend


@pytest.mark.skipif(os.name != "posix", reason="the made nvidia-smi is a shell script")
def test_the_driver_is_found_by_its_program_or_in_proc(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia.find_driver(tmp_path) is None
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version")
    assert nvidia.find_driver(tmp_path) == Driver(())
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).write_text("")
    program.write_text("#!/bin/sh\necho Failed to initialize NVML\nexit 18\n")
    program.chmod(0o755)
    assert nvidia.find_driver(tmp_path) == Driver(("GPU 0",), "", "Failed to initialize NVML")
    program.write_text("#!/bin/sh\necho 'NVIDIA L4, 550.54'\necho 'NVIDIA L4, 550.54'\n")
    assert nvidia.find_driver(tmp_path) == Driver(("NVIDIA L4", "NVIDIA L4"), "550.54")


def test_cores_that_are_not_all_ours():
    assert machine.judge_cores(8, 8, None).state == "ok"
    assert machine.judge_cores(8, 8, 8.0).state == "ok"
    assert machine.judge_cores(2, 8, None).state == "note"
    found = machine.judge_cores(8, 8, 2.5)
    assert (found.state, "--jobs 2" in found.mend) == ("note", True)
    assert "--jobs 1" in machine.judge_cores(8, 8, 0.5).mend


def groups(root: Path, membership: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    for name, text in files.items():
        (root / "sys/fs/cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2.0),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "100000 100000"}, 1.0),
        (
            "7:memory:/x\n4:cpu,cpuacct:/docker/x\n",
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3.0,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
    ],
)
def test_the_quota_is_the_least_of_all_groups_around(tmp_path, membership, files, expected):
    assert machine.cpu_quota(groups(tmp_path, membership, files)) == expected


def test_memory_is_what_the_container_may_use(tmp_path):
    assert machine.memory_bytes(groups(tmp_path, "0::/\n", {"memory.max": "1000000"})) == 1_000_000
    assert machine.cpu_quota(tmp_path / "nowhere") is None


@pytest.mark.parametrize(("library", "state"), [("glibc", "ok"), ("", "note")])
def test_an_allocator_that_cannot_be_told_is_a_note_on_linux_only(monkeypatch, library, state):
    monkeypatch.setattr("platform.libc_ver", lambda: (library, "2.36"))
    for system, expected in (("Linux", state), ("Darwin", "ok"), ("Windows", "ok")):
        monkeypatch.setattr("platform.system", lambda system=system: system)
        assert machine.judge_allocator().state == expected


@pytest.mark.parametrize(("amx", "avx"), [(False, False), (False, True), (True, True)])
def test_precision_and_the_hardware_that_decides_it(monkeypatch, amx, avx):
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: avx)
    found = with_torch.judge_precision("auto", with_torch.resolve_precision("auto", CPU), CPU)
    assert found.state == ("ok" if amx or avx else "note")
    assert found.value.startswith(f"auto takes {'bf16' if amx or avx else 'fp32'}")
    told = with_torch.judge_precision("bf16", "bf16", CPU)
    assert (told.state, bool(told.mend)) == (("ok", False) if amx or avx else ("note", True))


@pytest.mark.usefixtures("_threads_as_before")
def test_operators_that_do_not_load_are_found(monkeypatch):
    def absent(*arguments):
        raise RuntimeError("Couldn't load custom C++ ops.")

    monkeypatch.setattr("torchvision.ops.nms", absent)
    found = {each.name: each for each in with_torch.torch_findings("cpu", "fp32", Path("absent"))}
    assert found["torchvision"].state == "problem"
    assert "--force-reinstall" in found["torchvision"].mend
    assert found["a small run"].state == "ok", "what does not need them goes on"


def test_a_run_that_fails_is_a_problem(tmp_path, monkeypatch):
    def fail(self, configs, on_progress):
        (config,) = configs
        yield RunResult(config=config, status="failed", message="RuntimeError: no such primitive")

    monkeypatch.setattr("dropbench.runners.serial.SerialRunner.run", fail)
    for precision, mend in (("bf16", "--precision fp32"), ("fp32", "pip install")):
        (found,) = with_torch._run(precision, CPU, 1, tmp_path)
        assert (found.state, mend in found.mend) == ("problem", True)
        assert "no such primitive" in found.value


def test_a_device_that_is_not_there_is_a_problem_and_one_that_is_none_wrong_use(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    found = {each.name: each for each in with_torch.torch_findings("cuda", "auto", tmp_path)}
    assert (found["device"].state, "--device cpu" in found["device"].mend) == ("problem", True)
    with pytest.raises(UsageError, match="cpu, cuda"):
        list(with_torch.torch_findings("tpu", "auto", tmp_path))


@pytest.mark.parametrize("error", [*finding.BROKEN])
def test_findings_survive_what_a_broken_library_raises(error):
    def findings():
        yield Finding("first", "")
        raise error("line\nbreak")

    first, last = finding.surviving("second", findings(), "mend it")
    assert (first.state, last.state, last.mend) == ("ok", "problem", "mend it")
    assert "line break" in last.value


def test_warnings_for_users_are_heard_and_those_for_developers_not():
    with finding.heard() as texts:
        warnings.warn("too\nold", UserWarning, stacklevel=1)
        warnings.warn("gone in 3.0", DeprecationWarning, stacklevel=1)
    assert texts == ["too old"]


def test_the_table_and_the_json_say_the_same_and_the_code_follows(monkeypatch, capsys):
    found = [
        Finding("one", "[red]fine[/red]"),
        Finding("two", "slow", "note", "buy another"),
        Finding("three", "gone " * 60, "problem", "pip install it"),
    ]
    for several, code in ((found[:2], 0), (found, 1)):
        monkeypatch.setattr(run, "examine", lambda *arguments, several=several: iter(several))
        assert main.run(["doctor", "--json"]) == code
        (table,) = json.loads(capsys.readouterr().out)["tables"]
        assert [Finding(**row) for row in table["rows"]] == several
        assert main.run(["doctor"]) == code
        text = " ".join(capsys.readouterr().out.split())
        assert table["verdict"][0] in text
        for each in several:
            assert " ".join(f"{each.state} {each.value}".split()) in text
            assert each.mend in text


def doctor(*arguments: str, cwd: Path, python_path: str = "") -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, with the package that is tested here."""
    source = str(Path(dropbench.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (python_path, source)))}
    return subprocess.run(
        [sys.executable, "-m", "dropbench", "doctor", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


def test_the_command_on_this_machine(tmp_path):
    done = doctor("--json", "--device", "cpu", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    (table,) = json.loads(done.stdout)["tables"]
    rows = {row["name"]: row for row in table["rows"]}
    assert len(rows) == len(table["rows"])
    assert done.returncode == any(row["state"] == "problem" for row in table["rows"])
    assert rows["a small run"]["state"] == "ok"
    assert rows["torch"]["value"].startswith(torch.__version__)
    assert str(cache_folder()) in rows["cache"]["value"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise ImportError('undefined symbol: _ZN3c10')", "undefined symbol"),
        ("raise OSError('libcudart.so.13: cannot open shared object file')", "libcudart.so.13"),
        ("raise ValueError('libcublas.so.*[0-9] not found in the system path')", "libcublas"),
        ("raise TypeError('never seen before')", "never seen before"),
        ("import os; os._exit(7)", "exit code 7"),
        pytest.param(
            "import os, signal; os.kill(os.getpid(), signal.SIGILL)", "SIGILL",
            marks=pytest.mark.skipif(os.name != "posix", reason="there are no such signals"),
        ),
    ],
)  # fmt: skip
def test_a_torch_that_cannot_be_imported_is_a_problem_among_findings(tmp_path, code, said):
    (tmp_path / "fake" / "torch").mkdir(parents=True)
    (tmp_path / "fake" / "torch" / "__init__.py").write_text(code)
    done = doctor(cwd=tmp_path, python_path=str(tmp_path / "fake"))
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout, "colours are for terminals"
    (line,) = re.findall(r"^torch +problem .*$", done.stdout, re.MULTILINE)
    assert said in line
    assert re.search(r"^cache +ok ", done.stdout, re.MULTILINE), "the rest is found nevertheless"


def test_a_pipe_that_lacks_letters_ends_nothing(tmp_path, monkeypatch):
    """As on Windows, with a home folder whose name its code page does not have."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    (tmp_path / "Łódź" / "torch").mkdir(parents=True)
    (tmp_path / "Łódź" / "torch" / "__init__.py").write_text("raise ImportError('no − sign')")
    done = doctor(cwd=tmp_path / "Łódź", python_path=str(tmp_path / "Łódź"))
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "\\u0141\\xf3d\\u017a" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="there are no such signals")
def test_a_process_that_was_killed_is_not_mended_by_pip():
    assert "memory" in run._death(-signal.SIGKILL, "device").mend
    assert "pip" in run._death(-signal.SIGILL, "").mend
