"""Files are written whole or not at all, and never through a link that somebody put there."""

import os
import stat
import sys

import pytest

from dropbench.files import write_over, write_whole


def fail(stream):
    stream.write(b"half")
    raise OSError(28, "No space left on device")


def test_a_write_that_fails_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    path = tmp_path / "page.html"
    write_whole(path, b"good")
    with pytest.raises(OSError, match="No space"):
        write_whole(path, fail)
    assert path.read_bytes() == b"good"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_a_file_of_its_own_replaces_a_link_and_one_that_a_user_named_follows_it(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"theirs")
    link.symlink_to(target)
    write_over(link, b"told")
    assert link.is_symlink()
    assert target.read_bytes() == b"told"
    write_whole(link, b"own")
    assert not link.is_symlink()
    assert target.read_bytes() == b"told"


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
def test_a_file_has_the_rights_of_any_new_file_and_a_device_can_be_named(tmp_path):
    write_whole(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"}
    assert len(modes) == 1
    read, write = os.pipe()
    write_over(type(tmp_path)(f"/dev/fd/{write}"), b"piped")
    os.close(write)
    assert os.read(read, 10) == b"piped"
    os.close(read)
