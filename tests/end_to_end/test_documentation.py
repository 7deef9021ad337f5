"""What the documentation says is so: commands run, examples work, links and options exist."""

import ast
import math
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
import typer
from end_to_end.images import write_images

from dropbench.cli.find import UNDECIDED
from dropbench.cli.main import app, run
from dropbench.datasets.registry import find_source
from dropbench.dropout.layer import Arriving, DropoutLayer
from dropbench.dropout.noise import GaussianDropout
from dropbench.kernels.draws import Draw
from dropbench.kernels.noise import normal
from dropbench.results.schema import TABLES
from dropbench.run.config import RunConfig

ROOT = Path(__file__).parents[2]
EXTENDING = ROOT / "docs" / "extending.md"
DATA = ROOT / "docs" / "data.md"
NOTEBOOK = ROOT / "docs" / "notebook.md"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "results" / "README.md")
INLINE = re.compile(r"`(dropbench [^`]*)`")
# Words that stand for something, and what changes the user's shell.
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|--install-completion")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# How commands are made small. First what each is told, whatever the documentation tells it: {images} is a
# folder of small images, in place of every data set. A command without a rule fails.
ONE = {"--data": "folder:{images}", "--epochs": "2", "--threads": "1"}
SEVERAL = {**ONE, "--seeds": "2", "--jobs": "1"}
ALWAYS = {
    "train": ONE,
    "sweep": SEVERAL,
    "find": {**ONE, "--jobs": "1", "--budget": "40 runs", "--within": "60"},
    "compare-bagging": {**SEVERAL, "--members": "2", "--mc-samples": "2"},
    "features": {**SEVERAL, "--units": "8"},
    "paper": {"--data": "mnist5k", "--scale": "smoke", "--threads": "1", "--jobs": "1"},
    "speed": {},
    "verify": {},
    "doctor": {},
    "predict": {"--data": "folder:{images}", "--threads": "1"},
    "data": {},
    "model": {},
    "report": {},  # of the folders results, old and new; see the fixture recorded
}
# Then what these options are given where the documentation gives them something. All others stay.
GIVEN = {
    "--train-size": "20",
    "--cutoff-epoch": "1",
    "--ood": "permuted",
    "--layers": "8,8",
    "--image-size": "16",
}
NARROW = "0.25"
"""How wide a model is that a command does not name, the lecture's CNN."""
RANGE = re.compile(r"([\d.]+)\.\.([\d.]+)")


def small(words: list[str], images: Path) -> list[str]:
    command, *rest = words
    assert command in ALWAYS, f"no rule says how to make dropbench {command} small"
    rest = [part for word in rest for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if "--data" in rest:
        find_source(rest[rest.index("--data") + 1])  # raises where there is no such set
    if (command, *rest[:1]) == ("data", "prepare"):
        find_source(rest[1])
        rest[1] = "mnist5k"
    for option, value in ALWAYS[command].items():
        if option not in rest:
            rest += [option, ""]
        rest[rest.index(option) + 1] = value.format(images=images)
    for option, value in GIVEN.items():
        if option in rest:
            rest[rest.index(option) + 1] = value
    if command in ("sweep", "find", "compare-bagging") and not {"--model", "--width", "--layers"} & set(rest):
        rest += ["--width", NARROW]
    return [command, *rest]


def with_few_values(words: list[str]) -> list[str]:
    """The ends of every range alone; test_documented_commands_are_understood reads ranges as they stand."""
    return [RANGE.sub(r"\1,\2", word) if RANGE.fullmatch(word) else word for word in words]


def blocks(document: Path, language: str) -> list[str]:
    return [block for name, block in FENCED.findall(document.read_text()) if name == language]


def shown(document: Path) -> list[str]:
    """The lines of its shell blocks, and the commands within its text that can be typed as they stand."""
    lines = "\n".join(blocks(document, "sh")).replace("\\\n", " ").splitlines()
    return lines + [span for span in INLINE.findall(document.read_text()) if not PLACEHOLDER.search(span)]


def documented() -> dict[str, str]:
    """Every command that is shown, without the name of the program, and where it stands."""
    found: dict[str, str] = {}
    for document in DOCUMENTS:
        if document in (
            EXTENDING,
            DATA,
        ):  # test_user_code.py and test_data_forms.py run them, with their files
            continue
        for line in shown(document):
            for part in re.split(r"&&|\||;", line):
                words = shlex.split(part, comments=True)
                while words and "=" in words[0]:  # a variable
                    words.pop(0)
                if words[:1] == ["dropbench"]:
                    found.setdefault(shlex.join(words[1:]), document.name)
    return found


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory, images, with_kernels_of_all) -> Path:
    """A folder with the results of a small sweep, thrice, and a net."""
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:  # _own_cache is there for functions alone
        patch.setenv("DROPBENCH_CACHE_DIR", with_kernels_of_all(folder / "cache"))
        sweep = small(["sweep", "--p", "0.2,0.5", "--panel", "--out", str(folder / "results")], images)
        assert run([*sweep, "--save-best", str(folder / "net.safetensors")]) == 0
    for copy in ("old", "new"):
        shutil.copytree(folder / "results", folder / copy)
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder to run commands in, with one thread; what they set of the process is set back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_num_threads(threads)


def to_run() -> list[str]:
    """One command for each command and set of flags, but those that test_console.py runs as they stand."""
    found = {}
    for command in documented():
        words = shlex.split(command)
        # Only a sweep can be tried without its runs: of the others every one that is shown is carried out.
        told = tuple(word for word in words if words[0] != "sweep" or word.startswith("--"))
        found.setdefault((words[0], *told), command)
    return [
        command
        for command in found.values()
        if command not in ("speed", "verify") and "--runner ray" not in command
    ]


@pytest.mark.parametrize("command", to_run())
def test_documented_commands_run(command, here, images, recorded, capsys):
    words = shlex.split(command)
    if words[0] in ("report", "predict"):
        shutil.copytree(recorded, here, dirs_exist_ok=True)
    code = run(with_few_values(small(words, images)))
    undecided = words[0] == "find" and code == UNDECIDED
    assert code == 0 or undecided, capsys.readouterr().err


@pytest.mark.parametrize("command", documented())
def test_documented_commands_are_understood(command, here, images, capsys):
    """As they stand: flags and what fits them; what the flags of a sweep mean is tried without its runs."""
    words = shlex.split(command)
    found = typer.main.get_command(app)
    while words and hasattr(found, "commands"):
        found = found.commands[words.pop(0)]
    with found.make_context("dropbench", list(words)) as context:
        assert set(context.params) >= {each.name for each in found.params if each.required}
    if found.name == "sweep" and "--runner" not in words:
        assert run([*small(["sweep", *words], images), "--dry-run"]) == 0, capsys.readouterr().err


# Ray starts its own processes with pipes and sockets that it closes late.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("command", [command for command in documented() if "--runner ray" in command])
def test_documented_commands_run_on_ray(command, here, images, capsys):
    words = small(shlex.split(command), images)
    at = words.index("--ray-address") + 1
    ray = pytest.importorskip("ray", reason="Ray has no wheel for this platform or Python")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        words[at] = cluster.address
        assert run(with_few_values(words)) == 0, capsys.readouterr().err
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_there_are_commands():
    assert {shlex.split(command)[0] for command in documented()} >= {"sweep", "compare-bagging", "report"}


PYTHON = [
    pytest.param(document, source, id=f"{document.name}-{number}")
    for document in DOCUMENTS
    if document not in (EXTENDING, NOTEBOOK)  # test_user_code.py and the test below; test_notebook.py
    for number, source in enumerate(blocks(document, "python"))
]


@pytest.mark.parametrize(("document", "source"), PYTHON)
def test_python_examples_run_and_end_with_a_figure(document, source, here, recorded, capsys):
    shutil.copytree(recorded, here, dirs_exist_ok=True)
    source = source.replace("epochs=2", "epochs=1, train_size=200")
    exec(compile(ast.parse(source), document.name, "exec"), {})  # noqa: S102  # ours
    assert re.search(r"\d", capsys.readouterr().out.splitlines()[-1])


def test_the_variant_that_extending_shows_is_the_built_in_one():
    (source,) = (block for block in blocks(EXTENDING, "python") if "(DropoutLayer)" in block)
    names = {each.__name__: each for each in (math, torch, DropoutLayer, Arriving, Draw, normal)}
    exec(compile(source, EXTENDING.name, "exec"), names)  # noqa: S102  # ours
    units = torch.ones(20, 30)
    shown, built_in = (
        variant(0.3).disturb(units, Draw(1, 0, 0)) for variant in (names["GaussianDropout"], GaussianDropout)
    )
    assert torch.equal(shown, built_in)
    given = Arriving(units, units, Draw(1, 0, 0))
    moments = {variant(0.3).second_moment(given) for variant in (names["GaussianDropout"], GaussianDropout)}
    assert moments == {1 / (1 - 0.3)}


def prose(document: Path) -> str:
    return FENCED.sub("", document.read_text())


def anchors(document: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_links_and_pictures_are_there(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def options() -> dict[str, set[str]]:
    """Of each command, as it is named on the command line."""

    def of(command, *names):
        found = {" ".join(names): {o for p in command.params for o in (*p.opts, *p.secondary_opts, "--help")}}
        for name, inner in getattr(command, "commands", {}).items():
            found |= of(inner, *names, name)
        return found

    return of(typer.main.get_command(app), "dropbench")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_options_exist(document):
    known = options()
    everywhere = set().union(*known.values())
    for code in re.findall(r"`([^`]+)`", prose(document)):
        if code.startswith(("pytest ", "pip ", "python")):
            continue
        words = " ".join(code.split()) + " "
        named = max((name for name in known if words.startswith(f"{name} ")), key=len, default=None)
        assert named != "dropbench" or re.match("dropbench ($|-|COMMAND)", words), code
        own = known[named] if named else everywhere
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code):
            assert option in own, code


def section(document: Path, heading: str) -> str:
    return prose(document).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.file_name)
def test_every_column_is_told_in_its_section(table):
    page = "paper.md" if table.file_name == "paper.csv" else "files.md"
    told = section(ROOT / "docs" / page, table.file_name)
    assert told
    as_in_runs = table.file_name in ("comparisons.csv", "finds.csv")
    elsewhere = RunConfig().row() if as_in_runs else {}
    assert [name for name in table.columns if f"`{name}`" not in told and name not in elsewhere] == []


def test_the_house_is_told_from_the_top_to_the_ground():
    from test_house import LEVEL

    told = re.search(
        r"Imports point down only: (.*?)\. No two", prose(ROOT / "docs" / "how-it-works.md"), re.S
    )
    rooms = re.findall(r"`(\w+)`", told[1])
    assert set(rooms) == set(LEVEL) - {"__init__"}
    assert [LEVEL[room] for room in rooms] == sorted(LEVEL[room] for room in rooms)
