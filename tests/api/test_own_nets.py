"""Nets and dropout of the user's own: in files, as functions and classes, and of a session."""

import functools
import importlib
import re
import sys

import pytest
from experiments.broken_nets import Good, make_Attention, make_Good
from torch import nn

import dropbench as db
from dropbench.catalog import objects, user_code
from dropbench.errors import UsageError
from dropbench.experiments.workbench import Workbench
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine

NET = """
from torch import nn
from beside import WIDTH

def small(shape, classes, config):
    import late
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Dropout(), nn.Linear(WIDTH, classes)
    )

class Outer:
    small = staticmethod(small)
"""
QUICK = {"p": 0.5, "seeds": 1, "epochs": 1, "train_size": 30}


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two folders, one with a space in its name, each with a file that imports the modules beside it."""
    for name, width in (("first nets", 3), ("second", 5)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "nets.py").write_text(NET)
        (tmp_path / name / "beside.py").write_text(f"WIDTH = {width}\n")
        (tmp_path / name / "late.py").write_text("")
    (tmp_path / "second" / "math.py").write_text("raise ImportError('not the standard library')\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(frame):
    return set(frame["parameters"])


def test_a_file_is_found_by_workers_with_the_modules_beside_it(blobs, folders):
    before = list(sys.path)
    done = db.sweep(
        blobs, model=["first nets/nets.py:small", "./second/nets.py:Outer.small"], jobs=2, **QUICK
    )
    assert set(done.frame["status"]) == {"ok"}
    assert set(done.frame["model"]) == {"first nets/nets.py:small", "second/nets.py:Outer.small"}
    assert weights(done.frame) == {64 * 3 + 3 + 4 * 3, 64 * 5 + 5 + 6 * 3}
    assert sys.path == before
    assert "beside" not in sys.modules
    assert not list(folders.rglob("nets*.pyc"))


def test_what_a_file_prints_is_no_result(blobs, folders, capsys):
    (folders / "prints.py").write_text(
        NET.replace("from beside import WIDTH", "WIDTH = 3\nprint('read')")
        + """
def loud(shape, classes, config):
    print("made")
    net = small(shape, classes, config)
    net.register_forward_hook(lambda *given: print("called") if net.training else None)
    return net
"""
    )
    (folders / "late.py").write_text("")
    bench = Workbench.set_up(blobs, Machine(device="cpu"))
    bench.bind([RunConfig(model="prints.py:loud", p_drop=0.5)])
    printed = capsys.readouterr()
    assert not printed.out
    assert {"read", "made", "called"} <= set(printed.err.split())


def test_modules_of_an_environment_in_the_folder_are_not_beside_the_file(folders, monkeypatch):
    """And those beside it give way to others of their name, which were imported before."""
    packages = folders / "second" / ".venv" / "packages"
    packages.mkdir(parents=True)
    (packages / "installed.py").write_text("")
    monkeypatch.syspath_prepend(str(packages))
    (folders / "second" / "user.py").write_text("import installed\nimport beside\n")
    user = user_code.load("second/user.py:installed")
    assert sys.modules.pop("installed") is user
    assert "beside" not in sys.modules
    monkeypatch.setitem(sys.modules, "beside", sys)
    (folders / "second" / "user.py").write_text("import beside\nWIDTH = beside.WIDTH\n")
    assert user_code.load("second/user.py:WIDTH") == 5
    assert sys.modules["beside"] is sys


def test_an_edited_file_is_another_net_in_the_same_process(blobs, folders):
    first = db.train(blobs, model="second/nets.py:small", epochs=1)
    file = folders / "second" / "nets.py"
    file.write_text(NET.replace("WIDTH)", "2 * WIDTH)").replace("Linear(WIDTH", "Linear(2 * WIDTH"))
    second = db.train(blobs, model=f"{file}:small", epochs=1)
    assert second.result.cost["parameters"] > first.result.cost["parameters"]
    assert second.result.config.model.key != first.result.config.model.key


def test_a_module_that_was_edited_since_its_import_is_told(blobs, folders, monkeypatch):
    monkeypatch.syspath_prepend(str(folders / "second"))
    (folders / "second" / "once.py").write_text(NET)
    import once

    db.train(blobs, model=once.small, epochs=1)
    (folders / "second" / "once.py").write_text(NET.replace("WIDTH)", "WIDTH )"))
    with pytest.raises(UsageError, match=r"once.py was edited, and this process still has once:small"):
        db.train(blobs, model=once.small, epochs=1)
    importlib.reload(once)
    assert db.train(blobs, model=once.small, epochs=1).result.status == "ok"
    for name in ("once", "beside", "late"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("absent.py:net", "absent.py is not there"),
        ("second:net", "no module 'second'|no net in second"),
        ("exits.py:net", r"raised SystemExit: 2 \(.*exits.py, line 2\).*__main__"),
        ("second/relative.py:net", "It is a part of a package: write package.module:Name"),
        ("made.py:net", "is a Linear that is made already"),
        ("second.py:net", "second.py is not there"),
        ("second/nets.py", "second/nets.py:NAME"),
        ("second/nets.py:", "not a valid name"),
        ("second/nets.py:smal", "Did you mean 'small'"),
        ("second/nets.py:Outer.smal", "Unknown name in second/nets.py 'smal'"),
        ("second/nets.py:a b", "not a valid name"),
        ("bad.py:net", r"raised SyntaxError: .*bad.py, line 2"),
        ("needs.py:net", "imports 'nothing_like_it', which is not installed"),
        ("__main__:net", "another Python session"),
    ],
)
def test_a_file_that_is_none_is_one_line(blobs, folders, model, said):
    (folders / "bad.py").write_text("x = 1\ndef (:\n")
    (folders / "needs.py").write_text("import nothing_like_it\n")
    (folders / "exits.py").write_text("import sys\nsys.exit(2)\n")
    (folders / "second" / "relative.py").write_text("from .beside import WIDTH\n")
    (folders / "made.py").write_text("from torch import nn\nnet = nn.Linear(64, 3)\n")
    with pytest.raises(UsageError, match=said) as raised:
        db.train(blobs, model=model, epochs=1)
    assert "\n" not in str(raised.value)
    assert not list(folders.rglob("results"))


def test_functions_and_classes_are_found_by_workers(blobs, tmp_path):
    done = db.sweep(blobs, model=[make_Good, make_Attention], jobs=2, out=tmp_path, **QUICK)
    assert set(done.frame["status"]) == {"ok"}
    assert len(done.frame) == 4


def of_width(width):
    def net(shape, classes, config):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Dropout(), nn.Linear(width, classes))

    return net


def by_keyword(shape, classes, config, width=4):
    return of_width(width)(shape, classes, config)


def test_what_this_process_alone_has_is_trained_in_it(blobs, tmp_path, caplog):
    models = [
        of_width(3),
        of_width(4),
        functools.partial(by_keyword, width=6),
        lambda shape, classes, config: of_width(6 + 1)(shape, classes, config),  # noqa: PLW0108
    ]
    done = db.sweep(blobs, model=models, out=tmp_path, **QUICK)
    assert set(done.frame["status"]) == {"ok"}
    assert sorted(weights(done.frame)) == [65 * w + 3 * (w + 1) for w in (3, 4, 6, 7)]
    assert "in this process, one after another" in caplog.text
    for subject in done.report.subjects:
        assert re.fullmatch(
            r"# __main__:\S+ is of a Python session: its runs are made there\.", *subject.commands
        )
    again = db.sweep(blobs, model=[of_width(3), of_width(5)], out=tmp_path, **QUICK).outcome
    assert (len(again.skipped), len(again.ok)) == (2, 2)
    for told in ({"jobs": 2}, {"runner": "process"}):
        with pytest.raises(
            UsageError, match=f"no other process can import it.*leave out `{next(iter(told))}`"
        ):
            db.sweep(blobs, model=of_width(3), out=tmp_path, **QUICK, **told)


def test_what_is_made_already_is_refused(blobs):
    with pytest.raises(UsageError, match="`model` is a Sequential that is made already"):
        db.train(blobs, model=nn.Sequential(nn.Linear(3, 4)))
    with pytest.raises(UsageError, match="called as factory"):
        db.train(blobs, model=Good)  # whose class takes the number of classes alone


def test_a_class_is_a_dropout_by_itself(blobs, tmp_path):
    done = db.sweep(blobs, model="mlp", layers=(4,), dropout=nn.FeatureAlphaDropout, out=tmp_path, **QUICK)
    assert set(done.frame["status"]) == {"ok"}
    assert "torch.nn.modules.dropout:FeatureAlphaDropout" in set(done.frame["dropout"])


SESSION = """
from torch import nn
WIDTH = {width}
def helper(units):
    return units + {more}
class Base(nn.Module):
    def __init__(self):
        super().__init__()
        self.width = helper(WIDTH)
class Net(Base):
    def forward(self, images):
        return images
def make(shape, classes, config, bias={bias}):
    return Net()
def free(shape, classes, config):
    return nn.Identity()
"""


@pytest.fixture
def session(tmp_path, monkeypatch):
    """Define the classes and functions of SESSION as a notebook would."""

    def define(**values):
        number = len(list(tmp_path.iterdir()))
        file = tmp_path / f"cell{number}.py"
        file.write_text(SESSION.format(**{"width": 3, "more": 1, "bias": True} | values))
        found = {"__name__": "__main__"}
        exec(compile(file.read_text(), str(file), "exec"), found)  # noqa: S102  # as a notebook does
        return found

    return define


@pytest.mark.parametrize("edit", [{"width": 4}, {"more": 2}, {"bias": False}])
def test_a_digest_of_a_session_sees_what_a_function_uses(session, edit):
    first, same, edited = session(), session(), session(**edit)
    assert objects.digest_of(first["make"]) == objects.digest_of(same["make"])
    assert objects.digest_of(first["make"]) != objects.digest_of(edited["make"])
    assert objects.digest_of(first["free"]) == objects.digest_of(edited["free"])


def test_what_cannot_be_told_apart_is_refused():
    lock = __import__("threading").Lock()
    with pytest.raises(UsageError, match="uses a lock, which cannot be told"):
        objects.digest_of(lambda: lock)
    made = {}
    exec("def net(): pass", made)  # noqa: S102  # as it is typed into a plain Python
    made["net"].__module__ = "__main__"
    with pytest.raises(UsageError, match="source of net cannot be read"):
        objects.digest_of(made["net"])


def test_names_of_user_code():
    assert user_code.is_user_code("a b/nets.py:f")
    assert not user_code.is_user_code("torchvision:resnet18")
    assert user_code.tidied("./a/../nets.py:f") == "nets.py:f"
    assert user_code.tidied("package.module:f") == "package.module:f"
