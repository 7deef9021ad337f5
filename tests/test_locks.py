"""Whom one waits for is told, and a disk without locks is refused."""

import errno
import fcntl
import subprocess
import sys

import pytest
from filelock import FileLock

from dropbench import locks
from dropbench.errors import DropbenchError
from dropbench.locks import held

HOLD = (
    "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
    "print('held', flush=True); sys.stdin.readline()"
)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux lists who holds which lock")
def test_the_holder_is_named_while_it_is_waited_for(tmp_path, monkeypatch, told):
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        warn = locks._log.warning

        def let_go(sentence):
            warn(sentence)
            other.stdin.write(b"\n")
            other.stdin.flush()

        monkeypatch.setattr(locks, "PATIENCE", 0.1)
        monkeypatch.setattr(locks._log, "warning", let_go)
        with held(FileLock(path), "the results"):
            pass
        (sentence,) = told
        assert f"process {other.pid} ({sys.executable} -c import fcntl" in sentence
        assert "Waiting for the results" in sentence


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_locks_is_refused_at_once(tmp_path, monkeypatch, error):
    def refuse(*_):
        raise OSError(error, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(DropbenchError, match="has no locks"),
        held(FileLock(tmp_path / "lock"), "the results"),
    ):
        pass


def test_a_lock_that_is_a_link_empties_nothing(tmp_path):
    (tmp_path / "theirs").write_text("content")
    (tmp_path / "lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(DropbenchError, match="is a link"), held(FileLock(tmp_path / "lock"), "the results"):
        pass
    assert (tmp_path / "theirs").read_text() == "content"
