"""The layout of the package: imports point down only, and the light parts stay light."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dropbench

ROOT = Path(dropbench.__file__).parent
# From the top of the house to its ground. A room may import rooms below it and from within itself.
LEVELS = (
    {"__main__"},
    {"cli"},
    {"api"},
    {"experiments"},
    {"runners"},
    {"engine"},
    {"models", "report"},
    {"datasets", "dropout", "results"},
    {"kernels"},
    {"run"},
    {"catalog"},
    {"folders", "locks"},
    {"errors", "files"},
    {"__init__"},
)
LEVEL = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dropbench":
            found |= (
                {node.module} if node.module != "dropbench" else {f"dropbench.{a.name}" for a in node.names}
            )
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "dropbench"}
    return {module for module in found if module != "dropbench"}


def modules() -> dict[str, Path]:
    return {
        ".".join(("dropbench", *f.relative_to(ROOT).with_suffix("").parts)): f for f in ROOT.rglob("*.py")
    }


def test_the_package_itself_only_names_the_calls_of_the_api():
    """It is the ground, for its version, and the front door: the calls are imported when they are used."""
    assert {module.split(".")[1] for module in imports(ROOT / "__init__.py")} == {"api"}
    code = (
        "import sys, dropbench; assert {m for m in sys.modules if m.startswith('dropbench')} == {'dropbench'}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("name", sorted(modules().keys() - {"dropbench.__init__"}))
def test_imports_point_down(name):
    room = name.split(".")[1]
    for imported in imports(modules()[name]):
        other = imported.split(".")[1]
        if other not in LEVEL:  # a name out of the package itself, like __version__
            assert hasattr(dropbench, other)
            continue
        assert room == other or LEVEL[other] > LEVEL[room], f"{name} imports {imported}"


def test_there_is_no_circle_of_imports():
    graph = {name: imports(file) for name, file in modules().items() if name != "dropbench.__init__"}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_a_circle_of_imports_is_noticed():
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()


def test_report_side_never_mentions_torch():
    for room in ("report", "results"):
        for file in (ROOT / room).rglob("*.py"):
            nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
            names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
            names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
            assert "torch" not in {name.split(".")[0] for name in names}, file


@pytest.mark.parametrize("arguments", [["--help"], ["sweep", "--help"], ["report", "--help"], ["--version"]])
def test_help_leaves_torch_and_matplotlib_unimported(arguments):
    code = (
        "import sys; from dropbench.cli.main import run; "
        f"assert run({arguments!r}) == 0; "
        "assert not {'torch', 'matplotlib', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_python_files_stay_within_a_screenful_of_rooms():
    assert {f.name: n for f in ROOT.rglob("*.py") if (n := len(f.read_text().splitlines())) > 320} == {}
